"""Coverage of the commands that tests start: only where a test asks for it, since it makes them a third slower."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_kept: dict[str, str] = {}
"""What coverage.py leaves in the environment so that Python processes measure themselves."""


@contextmanager
def commands_untraced() -> Iterator[None]:
    """Take coverage's variables out of the environment that commands inherit."""
    _kept.update({name: value for name, value in os.environ.items() if name.startswith("COV")})
    with pytest.MonkeyPatch.context() as patch:
        for name in _kept:
            patch.delenv(name)
        yield


def traced() -> dict[str, str]:
    """Return the environment of a command whose code no test runs in its own process."""
    return {**os.environ, **_kept}
