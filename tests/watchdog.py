"""Measures what each step of a server takes of its loop's thread: while it runs, every other client waits.

A step is one callback of the loop: a part of a request's handler, the control API's too, or bytes that came and are parsed.

CPU time of the thread, not time of the clock, so that a busy machine changes nothing; a tracer (coverage, a debugger)
slows Python down several times, and the limit grows with it.
"""

import asyncio
import sys
import time
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

WATCHED: Final = "watched: "
"""How the name of a task begins whose steps count although it is no request's: a device of the lab, for one."""

LIMIT: Final = 0.2
"""Seconds of CPU time for one step."""

_TRACED: Final = 10


@dataclass(frozen=True)
class SlowStep:
    """A step that took too long: of which request or connection, and how many seconds."""

    what: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.what} held the loop for {self.seconds * 1000:.0f} ms of CPU time"


def limit() -> float:
    """Return the seconds that a step may take."""
    return LIMIT * (_TRACED if sys.gettrace() is not None else 1)


def _step_of(handle: Any) -> str | None:
    """Return what of a server's a callback is a step of, in words; None for any other callback."""
    owner = getattr(handle._callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        name = owner.get_name()
        return name.removeprefix(WATCHED) if name.startswith(WATCHED) else _request_of(owner)
    if isinstance(owner, asyncio.Transport) and isinstance(_application(owner), web.RequestHandler):
        return f"a connection's {getattr(handle._callback, '__name__', 'callback')}"
    return None


def _request_of(task: "asyncio.Task[Any]") -> str | None:
    """Return method and path of the request that a task answers; None for any other task."""
    coroutine: Any = task.get_coro()
    # The end of an asynchronous generator is a step too; it has no name.
    if not getattr(coroutine, "__qualname__", "").startswith("RequestHandler.") or coroutine.cr_frame is None:
        return None
    request = coroutine.cr_frame.f_locals.get("request")
    return "a request that is being read" if request is None else f"{request.method} {request.path}"


def _application(transport: asyncio.Transport) -> object:
    """Return what a transport's bytes go to in the end: below TLS lies asyncio's own protocol."""
    protocol = transport.get_protocol()
    return getattr(protocol, "_app_protocol", protocol)


@contextmanager
def watching() -> Iterator[list[SlowStep]]:
    """Collect the slow steps of all servers of this process while the block runs."""
    slow: list[SlowStep] = []
    patched: Any = events.Handle
    run = patched._run

    def measured(handle: Any) -> None:
        what = _step_of(handle)
        begin = time.thread_time()
        run(handle)
        spent = time.thread_time() - begin
        if what is not None and spent > limit():
            slow.append(SlowStep(what, spent))

    patched._run = measured
    try:
        yield slow
    finally:
        patched._run = run
