"""Ends the wait for bodies that do not come: a head with Content-Length, then nothing, or a byte now and then.

As Apache's mod_reqtimeout does by default: a body has some seconds, and one more for every 500 bytes that came.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

BODY_SECONDS: "web.AppKey[float]" = web.AppKey("body_seconds")
"""Real seconds that a body has before it must have begun to come at the least rate."""

_LEAST_RATE: Final = 500.0
"""Bytes a second."""


class SlowBody(RequestPayloadError):
    """The body has not come in time: whoever reads it gets this."""


class _Watch:
    """Looks at one body each time that it may be late; when it is, its reader hears of it."""

    def __init__(self, request: web.Request, seconds: float) -> None:
        self._content, self._seconds = request.content, seconds
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time()
        self._timer = self._loop.call_at(self._begin + seconds, self._look)

    def _look(self) -> None:
        if self._content.is_eof():
            return
        due = self._begin + self._seconds + self._content.total_bytes / _LEAST_RATE
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._content.set_exception(SlowBody("the body did not come in time"))

    def stop(self) -> None:
        self._timer.cancel()


@web.middleware
async def body_timeout(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let nobody wait for a body longer than it may take."""
    if request.content.is_eof():
        return await handler(request)
    watch = _Watch(request, request.app[BODY_SECONDS])
    try:
        return await handler(request)
    finally:
        watch.stop()
