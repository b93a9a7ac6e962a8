"""Measures what each step of a server's request takes of its loop's thread: while it runs, every other client waits.

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

LIMIT: Final = 0.2
"""Seconds of CPU time for one step."""

_TRACED: Final = 10
_LAB_API: Final = "/lab/"
"""Addresses of the lab's own: there a test drives connectors and devices, which a real lab has elsewhere."""


@dataclass(frozen=True)
class SlowStep:
    """A step that took too long: of which request, and how many seconds."""

    request: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.request} held the loop for {self.seconds * 1000:.0f} ms of CPU time"


def limit() -> float:
    """Return the seconds that a step may take."""
    return LIMIT * (_TRACED if sys.gettrace() is not None else 1)


def _request_of(handle: Any) -> str | None:
    """Return method and path of the request that a callback is a step of; None for any other callback."""
    task = getattr(handle._callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return None
    coroutine: Any = task.get_coro()
    # The end of an asynchronous generator is a step too; it has no name.
    if not getattr(coroutine, "__qualname__", "").startswith("RequestHandler.") or coroutine.cr_frame is None:
        return None
    request = coroutine.cr_frame.f_locals.get("request")
    return "a request that is being read" if request is None else f"{request.method} {request.path}"


@contextmanager
def watching() -> Iterator[list[SlowStep]]:
    """Collect the slow steps of all servers of this process while the block runs."""
    slow: list[SlowStep] = []
    patched: Any = events.Handle
    run = patched._run

    def measured(handle: Any) -> None:
        request = _request_of(handle)
        begin = time.thread_time()
        run(handle)
        spent = time.thread_time() - begin
        if request is not None and spent > limit() and _LAB_API not in request:
            slow.append(SlowStep(request, spent))

    patched._run = measured
    try:
        yield slow
    finally:
        patched._run = run
