"""The error boundary of the command: what no part of it foresaw ends it with a sentence and exit code 3."""

import contextlib
import os
import sys
from collections.abc import Iterator

import click

_TRACEBACK = "PFXLAB_TRACEBACK"
_COULD_NOT_RUN = 3


@contextlib.contextmanager
def boundary() -> Iterator[None]:
    """End the process when the block raises what is no exit, or when its output cannot be written.

    With `PFXLAB_TRACEBACK` set, a bug in the lab is shown with its traceback, which may hold secrets.
    """
    try:
        try:
            yield
        finally:
            # Written now: at the end of the process Python could only complain.
            sys.stdout.flush()
    except Exception as error:
        if os.environ.get(_TRACEBACK):
            raise
        # Python would try to write the rest once more when the process ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(OSError):
            click.echo(_sentence(error), err=True)
        sys.exit(_COULD_NOT_RUN)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        what = f"read and write {error.filename}" if error.filename else "write the output"
        return f"expected to {what}, got: {error.strerror}"
    # Loaded when there is something to say.
    from pfxlab.emulator.wire.text import describe_defect

    report = "report it with this line, the command, and the output of `pfxlab --version`"
    return f"{describe_defect(error)}; {report}. {_TRACEBACK}=1 shows the traceback, which may hold secrets"
