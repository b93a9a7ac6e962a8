"""Faults of an HTTP connection, and error statuses of every service but Graph.

Each kind is a row of faults/kinds.py and a function in one of the tables at the end of this file; what Graph answers
is executed in graph/injected.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, client_certificate
from pfxlab.emulator.faults.apply import actor_of, mark, retry_headers
from pfxlab.emulator.faults.kinds import HTTP
from pfxlab.emulator.faults.plan import Occasion, Planned
from pfxlab.emulator.graph import injected
from pfxlab.emulator.journal.exchanges import LABS_OWN

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Pending:
    """A request that is not answered yet; `carry_out` answers it."""

    cloud: Cloud
    request: web.Request
    carry_out: Callable[[], Awaitable[web.StreamResponse]]


Delay: TypeAlias = Callable[[Planned], Awaitable[None]]
BeforeAnswer: TypeAlias = Callable[[Pending, Planned], Awaitable[web.StreamResponse]]
AfterAnswer: TypeAlias = Callable[[web.Request, web.Response], Awaitable[web.StreamResponse]]

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
        except (web.HTTPRequestEntityTooLarge, RequestPayloadError):
            body = ""
    if "/oauth2/" in request.path:
        # An application that asks for a token has none yet: it says who it is in the form.
        client = [part.partition("=")[2] for part in body.split("&") if part.startswith("client_id=")]
        actor = " ".join([actor, *client])
    spoken_of = f"{request.path} {request.rel_url.raw_query_string} {body}"
    return Occasion(HTTP, request.method, request.path, actor, spoken_of)


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Apply planned faults to a request."""
    cloud = request.app[CLOUD]
    if not cloud.faults.any or request.path.startswith(LABS_OWN):
        return await handler(request)
    occasion, facts = await _occasion(request), {"on": f"{request.method} {request.path}"[:500]}
    pending = Pending(cloud, request, lambda: handler(request))

    late = cloud.faults.strike(occasion, DELAYS)
    if late is not None:
        mark(cloud.journal, late, **facts)
        await DELAYS[late.fault.kind](late)

    # Graph executes its own kinds, for each request of a batch.
    kinds = [kind for kind in BEFORE_ANSWER if kind not in injected.EXECUTORS or not _is_graph(request.path)]
    struck = cloud.faults.strike(occasion, kinds)
    if struck is not None:
        mark(cloud.journal, struck, **facts)
        return await BEFORE_ANSWER[struck.fault.kind](pending, struck)

    answer = await handler(request)
    spoiled = cloud.faults.strike(occasion, AFTER_ANSWER)
    if spoiled is None or not isinstance(answer, web.Response):
        return answer
    mark(cloud.journal, spoiled, **facts)
    return await AFTER_ANSWER[spoiled.fault.kind](request, answer)


async def _latency(planned: Planned) -> None:
    await asyncio.sleep(float(planned.fault.settings["seconds"]))


async def _reset(pending: Pending, _: Planned) -> web.StreamResponse:
    return _close(pending.request)


async def _status(pending: Pending, planned: Planned) -> web.StreamResponse:
    """Return an error of a service other than Graph: Entra ID's JSON, or what a gateway in front of a service says."""
    settings = planned.fault.settings
    if settings["after_write"]:
        await pending.carry_out()
    headers = retry_headers(pending.cloud.wall.now(), settings)
    if "/oauth2/" in pending.request.path:
        body = {
            "error": "temporarily_unavailable",
            "error_description": "AADSTS90033: A transient error has occurred. Please try again.",
            "error_codes": [90033],
        }
        return web.json_response(body, status=settings["status"], headers=headers)
    return web.Response(text="The service is unavailable.", status=settings["status"], headers=headers)


async def _lost_answer(request: web.Request, _: web.Response) -> web.StreamResponse:
    return _close(request)


async def _truncated(request: web.Request, answer: web.Response) -> web.StreamResponse:
    body = answer.body if isinstance(answer.body, bytes) else b""
    headers = {**_headers_without(answer, "content-length"), "Content-Length": str(len(body) or 1)}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    _close(request)
    return response


async def _malformed(_: web.Request, answer: web.Response) -> web.StreamResponse:
    headers = _headers_without(answer, "content-length", "content-type", "content-encoding")
    return web.Response(status=answer.status, headers=headers, body=_GATEWAY_PAGE, content_type="text/html")


def _close(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def _headers_without(answer: web.Response, *left_out: str) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() not in left_out}


DELAYS: Final[Mapping[str, Delay]] = {"latency": _latency}
"""Kind → what happens before a request is looked at."""

BEFORE_ANSWER: Final[Mapping[str, BeforeAnswer]] = {"reset": _reset, "status": _status}
"""Kind → what happens in place of an answer."""

AFTER_ANSWER: Final[Mapping[str, AfterAnswer]] = {
    "lost_answer": _lost_answer,
    "truncated": _truncated,
    "malformed": _malformed,
}
"""Kind → what happens to an answer."""

EXECUTORS: Final = {**DELAYS, **BEFORE_ANSWER, **AFTER_ANSWER}
"""Every kind that is executed here."""
