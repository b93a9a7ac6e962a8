"""Graph over HTTP: hands requests to `dispatch` and its answers back."""

from aiohttp import web

from emulator.edge import CLOUD, origin_of
from emulator.graph import errors
from emulator.graph.dispatch import Incoming, Outgoing, dispatch, refuse


async def handle(request: web.Request) -> web.Response:
    """Answer any request below /beta or /v1.0."""
    cloud = request.app[CLOUD]
    incoming = Incoming(
        method=request.method,
        origin=origin_of(request),
        version=request.match_info["version"].lower(),
        path=request.rel_url.raw_path.lstrip("/").partition("/")[2],
        query=request.rel_url.raw_query_string,
        headers={name.lower(): value for name, value in request.headers.items()},
    )
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return _response(refuse(cloud, incoming, errors.too_large()))
    return _response(dispatch(cloud, Incoming(**{**vars(incoming), "body": body})))


def _response(answer: Outgoing) -> web.Response:
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


async def no_version(request: web.Request) -> web.Response:
    """Answer a path that begins with no version: 404 with Graph's own text."""
    segment, _, rest = request.path.lstrip("/").partition("/")
    incoming = Incoming(request.method, origin_of(request), segment, rest)
    return _response(refuse(request.app[CLOUD], incoming, errors.invalid_version(segment)))


def add_routes(app: web.Application) -> None:
    """Register Graph; `no_version` must come after every other room."""
    app.router.add_route("*", "/{version:(?i:beta|v1\\.0)}{tail:/.*|$}", handle)
