"""The `pfxlab` command itself: its list of commands, and the imports needed to show it."""

import json
import os
import subprocess
import sys

import click
import pytest

from pfxlab.scenarios.cli import COMMANDS, main


def test_list_of_commands_matches_their_help() -> None:
    """The summary of each command in the list is the first sentence of its own help."""
    context = click.Context(main)
    for name, (_, summary) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(200) == summary, name


@pytest.mark.parametrize("group", ["bench", "conformance", "connector", "devices", "keys", "pfx", "scenario", "world"])
def test_list_of_a_group_cuts_no_sentence(group: str) -> None:
    """The help of each group shows the whole first sentence of each command."""
    command = main.get_command(click.Context(main), group)
    assert isinstance(command, click.Group)
    narrow = click.Context(command, info_name=group, terminal_width=80)
    shown = "".join(command.get_help(narrow).split())
    for name in command.list_commands(click.Context(command)):
        one = command.get_command(click.Context(command), name)
        assert one is not None
        assert "".join(f"{name}{one.get_short_help_str(500)}".split()) in shown


def test_help_imports_no_command() -> None:
    """`pfxlab --help` imports the list of commands and click, and no package that only commands need."""
    script = (
        "import sys, json, contextlib, io\n"
        "from pfxlab.scenarios.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['--help'], standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    # What measures coverage imports for itself.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"aiohttp", "asyncio", "cryptography", "jinja2", "jsonschema", "rich", "yaml", "sqlite3"}
    ours = {name for name in json.loads(done.stdout) if name.startswith("pfxlab.")}
    assert ours <= {
        "pfxlab.scenarios",
        "pfxlab.scenarios.cli",
        "pfxlab.scenarios.commands",
        "pfxlab.scenarios.commands.common",
        "pfxlab.scenarios.commands.suggest",
        "pfxlab.scenarios.ending",
        "pfxlab.scenarios.nearest",
    }


def test_help_of_a_command_loads_nothing_that_works() -> None:
    """Reading the options of every command loads no server, client, template or plotting library, so help is fast."""
    script = (
        "import sys, json, click\n"
        "from pfxlab.scenarios.cli import COMMANDS, main\n"
        "context = click.Context(main)\n"
        "for name in COMMANDS:\n"
        "    command = main.get_command(context, name)\n"
        "    for one in command.list_commands(context) if isinstance(command, click.Group) else ():\n"
        "        command.get_command(context, one)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    heavy = {"aiohttp", "jinja2", "jsonschema", "locust", "matplotlib", "numpy", "odata_query", "sqlite_utils"}
    assert {name.partition(".")[0] for name in loaded} & heavy == set()
    assert {"pfxlab.emulator.server", "pfxlab.scenarios.lab.lab", "pfxlab.connector_sim.service"} & loaded == set()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pfxlab sce", "scenario"),
        ("pfxlab scenario run connector-d", "connector-down-and-back"),
        ("pfxlab scenario show hsm", "hsm-key"),
        ("pfxlab load mon", "monday-morning"),
        ("pfxlab conformance run --plan imp", "import"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completes_names(shell: str, line: str, offered: str) -> None:
    """Each shell completes commands, scenarios and plans from their first letters."""
    words = line.split()
    variables = {"_PFXLAB_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        variables["COMP_CWORD"] = words[-1]
    done = subprocess.run(
        [sys.executable, "-c", "from pfxlab.scenarios.cli import main; main(prog_name='pfxlab')"],
        env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert offered in done.stdout.replace(",", "\n").replace("\t", "\n").splitlines(), done.stdout + done.stderr
