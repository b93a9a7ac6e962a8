"""`pfxlab bundle` and `pfxlab replay`: share a run as one file, and run it again."""

from collections.abc import Sequence
from pathlib import Path

import click

from pfxlab.scenarios.commands.common import FILE, NEW_FILE
from pfxlab.scenarios.commands.ready_file import READY_FILE


@click.command(name="bundle")
@READY_FILE
@click.option(
    "--out", "target", type=NEW_FILE, default=Path("run.pfxlab.zip"), show_default=True, help="File to write."
)
def bundle_command(ready_file: Path | None, target: Path) -> None:
    """Write a running lab's seed, clock, faults, switches, configuration and journal to one file, without secrets."""
    from pfxlab.scenarios.commands.lab import replay_run as work

    work.bundle_command(ready_file, target)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--journal", type=NEW_FILE, help="Write the replay's journal to this file, for comparison with the recorded one."
)
@click.option(
    "--command-asks", is_flag=True, help="COMMAND calls the control API itself; do not repeat the recorded calls."
)
@click.argument("file", type=FILE)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def replay(file: Path, journal: Path | None, command: Sequence[str], *, command_asks: bool) -> None:
    """Repeat the run recorded in a bundle, and compare the journals. Exit code 1: they differ.

    A scenario needs no COMMAND. If a tool drove the lab, run it again: `pfxlab replay FILE -- COMMAND`. Recorded calls
    of the control API are repeated, each after as many requests as had come before it.
    """
    from pfxlab.scenarios.commands.lab import replay_run as work

    work.replay(file, journal, command, command_asks=command_asks)
