"""How commands end on a signal: by an exception, so that temporary folders with keys are removed on the way out.

Imports nothing that takes time: the command's first line installs it.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
        signal.signal(signal.SIGINT, _interrupt)


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def _interrupt(number: int, _: object) -> None:
    raise Interrupted(128 + number)


@contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Start a child within this block: it never sees Ctrl-C, even while it starts. Ours is delivered afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
