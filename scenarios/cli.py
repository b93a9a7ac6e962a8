"""The `pfxlab` command. Exit codes: 0 ok, 1 verdict failed, 2 usage, 3 could not run.

Each command is loaded when it is asked for: one that asks Graph needs no server, and starts in half the time.
"""

import importlib
import io
import signal
import sys
from typing import Final

import click

from pfxlab.scenarios.commands.common import ENDING
from pfxlab.scenarios.commands.suggest import Group

COMMANDS: Final = {
    "bench": ("load.bench:bench", "Measure the lab against a baseline of the same run."),
    "bundle": (
        "lab.replay:bundle_command",
        "Write a running lab's seed, clock, faults, switches, configuration and journal to one file, without secrets.",
    ),
    "conformance": (
        "conformance:conformance",
        "Judge a tool: which rules it keeps, which it breaks, with evidence and the sentence behind each.",
    ),
    "connector": (
        "parties.connector:connector",
        "Enrol and run certificate connectors beside a lab; start as many as you like.",
    ),
    "demo": (
        "lab.demo:demo",
        "Send imported certificates through every party and prove that each device can use them.",
    ),
    "devices": (
        "parties.devices:devices",
        "Enrol a fleet of simulated devices in a running lab, let it check in, look at what it holds.",
    ),
    "exec": (
        "lab.up_exec:exec_command",
        "Run COMMAND against a lab that lives as long as it; the exit code is the command's.",
    ),
    "explain": ("lab.ask:explain", "Say why a user's certificates have, or have not, arrived, and what to do."),
    "journal": (
        "lab.ask:journal",
        "Show what a running lab was asked, what it told the client, and why it really refused.",
    ),
    "keys": (
        "parties.keys:keys",
        "Make, list, export, import and remove the keys that PFX passwords are encrypted to.",
    ),
    "load": (
        "load.load:load",
        "Put a path of the lab under load and say where it saturates, what limits it, and whether that is good enough.",
    ),
    "load-worker": (
        "load.load:load_worker",
        "Be a load generator for a `pfxlab load --workers N`, with a copy of its kit.",
    ),
    "pfx": ("parties.pfx:pfx", "Import PFX certificates through Graph, and get, update and remove what is there."),
    "plan": (
        "load.plan:plan",
        "Say how many connectors a tenant needs when all its devices ask for their certificates within a window.",
    ),
    "replay": ("lab.replay:replay", "Run what a bundle recorded again, and compare the journals."),
    "scenario": (
        "lab.scenario:scenario",
        "Run scenarios: what happens in a lab, step by step, and what must be true at the end.",
    ),
    "soak": (
        "load.soak:soak",
        "Run the whole lab for an hour of its own time at a high rate, and plot what memory and database take.",
    ),
    "up": ("lab.up_exec:up", "Run a lab that stays, for your own tool."),
    "world": ("lab.world:world", "Move a running lab: its clock, its faults, its state."),
}
"""Name → module of scenarios.commands with the command in it, and the first sentence of its help."""


class _Loaded(Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(f"pfxlab.scenarios.commands.{module}"), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_Loaded, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pfxlab", prog_name="pfxlab")
def main() -> None:
    """Test Intune's imported PKCS (PFX) certificates without a tenant. Everything runs on this machine."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console that cannot show an arrow shows a question mark.
            stream.reconfigure(errors="replace")
    for number in ENDING:
        signal.signal(number, _end)


def _end(number: int, _: object) -> None:
    """Leave by an exception, so that temporary folders with keys are removed on the way out."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
