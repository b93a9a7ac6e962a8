"""What a loop says when it cannot take new connections, for want of file descriptors: one line, once a minute.

asyncio reports each connection that it cannot accept with a traceback, a hundred a second for every listening socket.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 60.0
_OUT_OF_RESOURCE: Final = "socket.accept() out of system resource"
"""The message asyncio gives to a loop's exception handler (selector_events.py)."""

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class AcceptErrors:
    """The exception handler of a loop that serves; whatever else happens is for the handler that was there before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._before = loop, loop.get_exception_handler()
        self._last: float | None = None
        self._handler: Handler = self._handle
        loop.set_exception_handler(self._handler)

    def remove(self) -> None:
        """Put the former handler back, unless another one has come since."""
        if self._loop.get_exception_handler() is self._handler:
            self._loop.set_exception_handler(self._before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") == _OUT_OF_RESOURCE:
            self._warn(loop.time(), context.get("exception"))
        elif self._before is not None:
            self._before(loop, context)
        else:
            loop.default_exception_handler(context)

    def _warn(self, now: float, error: object) -> None:
        if self._last is not None and now - self._last < _PAUSE_SECONDS:
            return
        self._last = now
        reason = error.strerror if isinstance(error, OSError) else "no resources"
        _LOG.error("no new connection can be accepted (%s): close clients, or raise the limit of open files", reason)
