"""The `pfxlab` command. Exit codes: 0 ok, 1 verdict failed, 2 usage, 3 could not run, 130 Ctrl-C, 143 SIGTERM.

Each command is loaded when it is asked for: one that asks Graph needs no server, and starts in half the time.
"""

import importlib
import io
import sys
from typing import Final

import click

from pfxlab.scenarios.commands.suggest import Group
from pfxlab.scenarios.ending import end_on_signals

COMMANDS: Final = {
    "bench": ("load.bench:bench", "Benchmark the lab against a baseline measured in the same run."),
    "bundle": (
        "lab.replay:bundle_command",
        "Write a running lab's seed, clock, faults, switches, configuration and journal to one file, without secrets.",
    ),
    "conformance": (
        "conformance:conformance",
        "Test whether a tool follows the rules of the real service, with evidence and a source for each verdict.",
    ),
    "connector": (
        "parties.connector:connector",
        "Enrol certificate connectors in a running lab and run them.",
    ),
    "demo": (
        "lab.demo:demo",
        "Send imported certificates through every party and prove that each device can use them.",
    ),
    "devices": (
        "parties.devices:devices",
        "Enrol a fleet of simulated devices in a running lab, check them in, and list their certificates.",
    ),
    "exec": (
        "lab.up_exec:exec_command",
        "Run COMMAND against a temporary lab; the exit code is that of COMMAND.",
    ),
    "explain": ("lab.ask:explain", "Explain why a user's certificates have or have not arrived, and what to do."),
    "journal": (
        "lab.ask:journal",
        "Show the requests to a running lab, its answers, and the true reason of each refusal.",
    ),
    "keys": (
        "parties.keys:keys",
        "Create, list, export, import and remove the keys that PFX passwords are encrypted to.",
    ),
    "load": (
        "load.load:load",
        "Run a load test: where the lab saturates, what limits it, and whether it meets the thresholds.",
    ),
    "load-worker": (
        "load.load:load_worker",
        "Run a load generator for `pfxlab load --workers N`, with a copy of its kit.",
    ),
    "pfx": ("parties.pfx:pfx", "Import PFX certificates through Graph; list, update and remove imported ones."),
    "plan": (
        "load.plan:plan",
        "Estimate how many connectors a tenant needs if all its devices check in within a time window.",
    ),
    "replay": ("lab.replay:replay", "Repeat the run recorded in a bundle, and compare the journals."),
    "scenario": (
        "lab.scenario:scenario",
        "Run scenarios: scripted steps in a new lab, with the results they must have.",
    ),
    "soak": (
        "load.soak:soak",
        "Run the whole lab at a high rate for an hour of lab time, and plot memory and database size.",
    ),
    "up": ("lab.up_exec:up", "Run a lab until Ctrl-C or SIGTERM."),
    "world": ("lab.world:world", "Control a running lab: its clock, its faults, its state."),
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
    end_on_signals()


if __name__ == "__main__":
    main()
