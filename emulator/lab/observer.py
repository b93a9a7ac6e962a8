"""Tells whoever observes of each request and its answer as they went over the wire."""

import gzip
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from pfxlab.emulator.edge import CLOUD, CONNECTIONS, OBSERVER
from pfxlab.emulator.journal.exchanges import LABS_OWN, Exchange
from pfxlab.emulator.wire.text import whole_text

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell an observer, where there is one, what was asked and what the client got."""
    socket = request.get_extra_info("socket")
    if socket is not None:
        request.app[CONNECTIONS][socket.fileno()] = socket
    observer = request.app.get(OBSERVER)
    if observer is None or request.path.startswith(LABS_OWN):
        return await handler(request)
    cloud = request.app[CLOUD]
    began, certificate = cloud.wall.now(), _shows_certificate(request)
    try:
        body = await request.read()
    except (web.HTTPRequestEntityTooLarge, RequestPayloadError):
        body = b""
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        return response
    finally:
        transport = request.transport
        lost = transport is None or transport.is_closing()
        answer = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
        observer(
            Exchange(
                number=cloud.next_exchange(),
                began=began,
                ended=cloud.wall.now(),
                method=request.method,
                host=request.host,
                path=request.path,
                query=request.rel_url.raw_query_string,
                headers={name.lower(): whole_text(value) for name, value in request.headers.items()},
                body=body,
                status=0 if lost or response is None else response.status,
                answer_headers={} if response is None else {n.lower(): v for n, v in response.headers.items()},
                answer=_unpacked(response, answer),
                certificate=certificate,
            )
        )


def _unpacked(response: web.StreamResponse | None, answer: bytes) -> bytes:
    packed = response is not None and response.headers.get("Content-Encoding") == "gzip"
    return gzip.decompress(answer) if packed and answer else answer


def _shows_certificate(request: web.Request) -> bool:
    transport = request.transport
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    return tls is not None and bool(tls.getpeercert(binary_form=True))
