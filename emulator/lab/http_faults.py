"""Faults on the way of an HTTP request: what Graph answers is decided in its own room, the rest here, at the edge."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, client_certificate
from pfxlab.emulator.faults.apply import actor_of, mark, retry_headers
from pfxlab.emulator.faults.kinds import HTTP
from pfxlab.emulator.faults.plan import Occasion, Planned
from pfxlab.emulator.graph.injected import KINDS as GRAPH_KINDS
from pfxlab.emulator.journal.exchanges import LABS_OWN

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BEFORE: Final = ("reset", "status")
_AFTER: Final = ("lost_answer", "truncated", "malformed")

_GATEWAY_PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1>"


def _is_graph(path: str) -> bool:
    return path.lower().startswith(("/beta", "/v1.0"))


async def _occasion(request: web.Request) -> Occasion:
    certificate = client_certificate(request)
    name = "" if certificate is None else certificate.subject.rfc4514_string()
    headers = request.headers
    actor = actor_of(headers.get("Authorization", ""), headers.get("User-Agent", ""), name)
    body = ""
    if _is_graph(request.path) or "/oauth2/" in request.path:
        try:
            body = (await request.read()).decode("utf-8", "replace")
        except web.HTTPRequestEntityTooLarge:
            body = ""
    if "/oauth2/" in request.path:
        # An application that asks for a token has none yet: it says who it is in the form.
        client = [part.partition("=")[2] for part in body.split("&") if part.startswith("client_id=")]
        actor = " ".join([actor, *client])
    spoken_of = f"{request.path} {request.rel_url.raw_query_string} {body}"
    return Occasion(HTTP, request.method, request.path, actor, spoken_of)


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let planned faults befall a request."""
    cloud = request.app[CLOUD]
    if not cloud.faults.any or request.path.startswith(LABS_OWN):
        return await handler(request)
    occasion = await _occasion(request)
    facts = {"on": f"{request.method} {request.path}"[:500]}
    late = cloud.faults.strike(occasion, ("latency",))
    if late is not None:
        mark(cloud.journal, late, **facts)
        await asyncio.sleep(float(late.fault.settings["seconds"]))
    kinds = [kind for kind in _BEFORE if kind not in GRAPH_KINDS or not _is_graph(request.path)]
    struck = cloud.faults.strike(occasion, kinds)
    if struck is not None:
        mark(cloud.journal, struck, **facts)
        if struck.fault.kind == "reset":
            return _close(request)
        if struck.fault.settings["after_write"]:
            await handler(request)
        return _refusal(cloud, request, struck)
    answer = await handler(request)
    spoiled = cloud.faults.strike(occasion, _AFTER)
    if spoiled is None or not isinstance(answer, web.Response):
        return answer
    mark(cloud.journal, spoiled, **facts)
    return await _spoil(request, answer, spoiled.fault.kind)


def _refusal(cloud: Cloud, request: web.Request, struck: Planned) -> web.Response:
    """Return an error of a room other than Graph: Entra ID's JSON, or what a gateway in front of a room says."""
    settings = struck.fault.settings
    headers = retry_headers(cloud.clock.now(), settings)
    if "/oauth2/" in request.path:
        body = {
            "error": "temporarily_unavailable",
            "error_description": "AADSTS90033: A transient error has occurred. Please try again.",
            "error_codes": [90033],
        }
        return web.json_response(body, status=settings["status"], headers=headers)
    return web.Response(text="The service is unavailable.", status=settings["status"], headers=headers)


def _close(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


async def _spoil(request: web.Request, answer: web.Response, kind: str) -> web.StreamResponse:
    if kind == "lost_answer":
        return _close(request)
    body = answer.body if isinstance(answer.body, bytes) else b""
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    if kind == "malformed":
        headers = {
            name: value for name, value in headers.items() if name.lower() not in ("content-type", "content-encoding")
        }
        return web.Response(status=answer.status, headers=headers, body=_GATEWAY_PAGE, content_type="text/html")
    response = web.StreamResponse(status=answer.status, headers={**headers, "Content-Length": str(len(body) or 1)})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    _close(request)
    return response
