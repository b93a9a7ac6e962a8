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

_COMMANDS: Final = {
    "bench": "load.bench:bench",
    "bundle": "lab.replay:bundle_command",
    "conformance": "conformance:conformance",
    "connector": "parties.connector:connector",
    "demo": "lab.demo:demo",
    "devices": "parties.devices:devices",
    "exec": "lab.up_exec:exec_command",
    "explain": "lab.ask:explain",
    "journal": "lab.ask:journal",
    "keys": "parties.keys:keys",
    "load": "load.load:load",
    "load-worker": "load.load:load_worker",
    "pfx": "parties.pfx:pfx",
    "plan": "load.plan:plan",
    "replay": "lab.replay:replay",
    "scenario": "lab.scenario:scenario",
    "soak": "load.soak:soak",
    "up": "lab.up_exec:up",
    "world": "lab.world:world",
}
"""Name → module of pfxlab.scenarios.commands, and the command in it."""


class _Loaded(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None when there is none of that name."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        found: click.Command = getattr(importlib.import_module(f"pfxlab.scenarios.commands.{module}"), name)
        return found


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
