"""Where output goes: a terminal gets boxes and tables, a pipe or a CI log gets plain lines, one fact a line.

`NO_COLOR`, `FORCE_COLOR`, `TERM=dumb` and `COLUMNS` are honoured; `FORCE_COLOR` colours plain lines as well.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pfxlab.emulator.wire.text import printable

_UNWRAPPED: Final = 100_000
"""Columns of an output that nobody wraps."""

_SECONDS_BETWEEN_LINES: Final = 5.0


@dataclass(frozen=True)
class Fact:
    """One line: what kind of fact (empty: none), the fact, how a terminal colours it."""

    kind: str
    text: str
    style: str = ""


@dataclass(frozen=True)
class Box:
    """Facts about one thing, named by title and heading: in the border and below it, or at the head of each line."""

    title: str
    facts: Sequence[Fact]
    style: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Rows:
    """A table. `right`: columns of numbers; `styles`: one for each row, or none."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str] = ()
    styles: Sequence[str] = ()


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return where a command prints; what is no terminal is never wrapped."""
    found = Console(stderr=stderr, quiet=quiet, highlight=False)
    return found if found.file.isatty() else Console(stderr=stderr, quiet=quiet, highlight=False, width=_UNWRAPPED)


def is_plain(where: Console) -> bool:
    """Return whether boxes and tables would be in the way of whoever reads."""
    return not where.file.isatty()


def print_box(where: Console, box: Box) -> None:
    """Print a box, or a line for each of its facts."""
    width = max((len(fact.kind) for fact in box.facts), default=0)
    if is_plain(where):
        subject = f"{box.title}  {box.heading.removesuffix('.')}".rstrip()
        for fact in box.facts or [Fact("", "")]:
            kind = f"{fact.kind.strip()} " if fact.kind else ""
            line = _text(f"{subject}: {kind}" if fact.text else subject).append(_one_line(fact.text), fact.style)
            where.print(line, soft_wrap=True)
        return
    lines = [_text(box.heading, "bold")] if box.heading else []
    lines += [
        Text(f"{fact.kind:<{width}}  " if fact.kind else "").append(printable(fact.text), fact.style)
        for fact in box.facts
    ]
    where.print(Panel(Group(*lines), title=_text(box.title), title_align="left", border_style=box.style))


def print_rows(where: Console, table: Rows) -> None:
    """Print a table, or a line for each row with the names of its columns in it."""
    styles = table.styles or [""] * len(table.rows)
    if is_plain(where):
        for row, style in zip(table.rows, styles, strict=True):
            first, *rest = (
                f"{name} {value}" for name, value in zip(table.columns, map(_one_line, row), strict=True) if value
            )
            where.print(_text(", ".join((first, *rest)), style), soft_wrap=True)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in table.columns:
        shown.add_column(name, justify="right" if name in table.right else "left")
    for row, style in zip(table.rows, styles, strict=True):
        shown.add_row(*(_text(value) for value in row), style=style)
    where.print(shown)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split("\n")))


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


@contextlib.contextmanager
def stages(*, quiet: bool) -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
    """Show on standard error how far work is: bars on a terminal, else a line now and then and one at the end.

    Yields a function that begins a stage with a title; it returns another that reports how many are done, of how many.
    """
    where = console(stderr=True, quiet=quiet)
    if not is_plain(where):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=where, disable=quiet) as bar:

            def begin(title: str) -> Callable[[int, int | None], None]:
                task = bar.add_task(title, total=None)
                return lambda done, total: bar.update(task, completed=done, total=total)

            yield begin
        return

    def begin_plain(title: str) -> Callable[[int, int | None], None]:
        spoke = time.monotonic()

        def report(done: int, total: int | None) -> None:
            nonlocal spoke
            if done == total or time.monotonic() - spoke >= _SECONDS_BETWEEN_LINES:
                spoke = time.monotonic()
                where.print(f"{title}: {done:,}" + ("" if total is None else f" of {total:,}"), markup=False)

        return report

    yield begin_plain
