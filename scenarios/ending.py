"""How commands end on a signal: by an exception, so that temporary folders with keys are removed on the way out.

Imports nothing that takes time: the command's first line installs it.
"""

import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn, TypeVar

_T = TypeVar("_T")

ENDING: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals by which a command is told to end, where the system has them."""


class Interrupted(SystemExit):
    """Ctrl-C. Exit code 130, as shells report it; click would turn a KeyboardInterrupt into code 1."""


def end_on_signals() -> None:
    """Let a signal end this process with 128 plus its number.

    Ctrl-C stays ignored if whoever started this process ignores it, as shells do for background jobs.
    """
    for number in ENDING:
        signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, _: object) -> NoReturn:
    raise Interrupted(128 + number) if number == signal.SIGINT else SystemExit(128 + number)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine as `asyncio.run` does. A signal cancels it, so that it ends in order, and then ends the process.

    An exception that a signal handler raises would break off one task's step and leave the others behind. A second
    signal does that, for what does not end in order. A coroutine may handle signals itself, by `add_signal_handler`.

    Raises:
        Interrupted: Ctrl-C came.
        SystemExit: another signal came.

    """
    # Whoever calls this has loaded it already; this module alone must cost nothing.
    import asyncio

    came: list[int] = []

    async def watched() -> _T:
        with _heard(asyncio.get_running_loop(), asyncio.current_task(), came):
            return await main

    try:
        return asyncio.run(watched())
    finally:
        if came:
            _end(came[0], None)


@contextmanager
def _heard(loop: Any, task: Any, came: list[int]) -> Iterator[None]:
    """Cancel a task when a signal comes, and note which; as asyncio's own runner does with Ctrl-C."""

    def heard(number: int, frame: object) -> None:
        came.append(number)
        if len(came) > 1:
            _end(number, frame)
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    handled = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    # Only the main thread may set handlers.
    with suppress(ValueError):
        for number in handled:
            signal.signal(number, heard)
    try:
        yield
    finally:
        for number, handler in handled.items():
            with suppress(NotImplementedError, RuntimeError, ValueError), _blocked(number):
                # One that the coroutine set would be reset with the loop, to what kills at once.
                with suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Start a child within this block: a signal that comes meanwhile counts when it has started; it never sees Ctrl-C.

    A child that is left while it starts would complain of it.
    """
    came: list[int] = []
    before: dict[int, Any] = {}
    # Only the main thread may set handlers.
    with suppress(ValueError):
        # Ctrl-C too: blocked here, it may come by another thread.
        for number in (signal.SIGINT, *ENDING):
            before[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        with _blocked(signal.SIGINT):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


@contextmanager
def _blocked(number: int) -> Iterator[None]:
    """Keep a signal waiting for the time of a block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
