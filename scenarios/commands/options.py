"""Options that several commands share: one name, one type and one meaning each."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from pfxlab.emulator.lab.moments import read_duration

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

KEPT: Final = click.Path(file_okay=False, path_type=Path)
"""A folder that need not be there yet."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_SHORTEST: Final = 0.001


class Duration(click.ParamType[float]):
    """A span of time such as 90s, 15m, 1h30m or 1.5h, within bounds; seconds."""

    name = "duration"

    def __init__(self, least: str = "0s", most: str = "24h") -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        seconds = _seconds(str(value))
        if not max(_seconds(self._least), _SHORTEST) <= seconds <= _seconds(self._most):
            bounds = f"from {self._least} to {self._most}" if _seconds(self._least) else f"up to {self._most}"
            self.fail(f"expected a time {bounds}, such as 90s, 15m or 2h, got {value!r}", param, ctx)
        return seconds


def _seconds(text: str) -> float:
    """Return the seconds of a span of time, 0 for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match:
        return float(match[1]) * _UNITS[match[2]]
    try:
        return read_duration(text).total_seconds()
    except ValueError:
        return 0.0


def as_json(what: str = "the result") -> Decorator:
    """Return the option `--json`: the command prints that as JSON and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON and nothing else.")


def data(what: str) -> Decorator:
    """Return the option `--data`: the folder in which a command keeps something over its runs."""
    return click.option("--data", type=KEPT, help=what)


def jobs(default: int, most: int, what: str) -> Decorator:
    """Return the option `--jobs`: how many of something are under way at once."""
    return click.option("--jobs", default=default, show_default=True, type=click.IntRange(1, most), help=what)
