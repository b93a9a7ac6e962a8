"""Graph over HTTP: hands requests to `dispatch` and its answers back."""

import gzip
from dataclasses import replace
from typing import Final

from aiohttp import web

from pfxlab.emulator.boundary import Component, Problem
from pfxlab.emulator.edge import ADDRESS, CLOUD, origin_of
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.dispatch import dispatch_in_turns, refusal, refuse
from pfxlab.emulator.graph.request import Incoming, Outgoing
from pfxlab.emulator.hosts.microsoft import Service
from pfxlab.emulator.wire.text import whole_text

_WORTH_PACKING: Final = 2048


async def handle(request: web.Request) -> web.Response:
    """Answer any request below /beta or /v1.0."""
    cloud, url = request.app[CLOUD], request.rel_url
    version, _, path = url.raw_path.lstrip("/").partition("/")
    incoming = Incoming(
        method=request.method,
        origin=origin_of(request),
        version=version.lower(),
        path=path,
        query=url.raw_query_string,
        headers={name.lower(): whole_text(value) for name, value in request.headers.items()},
        body=await request.read(),
        address=request.app[ADDRESS],
    )
    return _response(await dispatch_in_turns(cloud, incoming), request.headers.get("Accept-Encoding", ""))


def _problem(request: web.Request, problem: Problem) -> web.Response:
    """Return what no resource answered as Graph's own error."""
    version, _, path = request.rel_url.raw_path.lstrip("/").partition("/")
    incoming = Incoming(request.method, "", version.lower(), path)
    return _response(
        refusal(request.app[CLOUD], incoming, errors.of_problem(problem.status, problem.code, problem.text))
    )


def _elsewhere(request: web.Request, problem: Problem) -> web.Response:
    """Return Graph's refusal of a path that begins with no version; nothing is written down."""
    segment, _, rest = request.path.lstrip("/").partition("/")
    error = replace(errors.invalid_version(segment), reason=problem.text, rule=problem.code)
    return _response(refusal(request.app[CLOUD], Incoming(request.method, "", segment, rest), error))


COMPONENT: Final = Component("graph", _problem, service=Service.GRAPH, elsewhere=_elsewhere)


def _response(answer: Outgoing, accepted: str = "") -> web.Response:
    body, headers = answer.body, answer.headers
    if len(body) > _WORTH_PACKING and "gzip" in accepted:
        body, headers = gzip.compress(body, compresslevel=1, mtime=0), {**headers, "Content-Encoding": "gzip"}
    return web.Response(status=answer.status, headers=headers, body=body)


async def no_version(request: web.Request) -> web.Response:
    """Answer a path that begins with no version: 404 with Graph's own text."""
    segment, _, rest = request.path.lstrip("/").partition("/")
    incoming = Incoming(request.method, origin_of(request), segment, rest)
    return _response(refuse(request.app[CLOUD], incoming, errors.invalid_version(segment)))


def add_routes(app: web.Application) -> None:
    """Register Graph; `no_version` must come after every other room."""
    # The usual spellings first: aiohttp finds a route with a fixed beginning at once.
    for version in ("/beta", "/v1.0"):
        app.router.add_route("*", f"{version}/{{tail:.*}}", handle)
    app.router.add_route("*", "/{version:(?i:beta|v1\\.0)}{tail:/.*|$}", handle)
