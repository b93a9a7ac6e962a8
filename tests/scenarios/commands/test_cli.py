"""The `pfxlab` command itself: its list of commands, and what it takes to show it."""

import json
import os
import subprocess
import sys

import click
import pytest

from pfxlab.scenarios.cli import COMMANDS, main


def test_list_of_commands_says_what_each_command_says() -> None:
    """The summary of each command in the list is the first sentence of its own help."""
    context = click.Context(main)
    for name, (_, summary) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(200) == summary, name


def test_help_imports_no_command() -> None:
    """`pfxlab --help` imports the list of commands and click, none of the packages that commands need."""
    script = (
        "import sys, json, contextlib, io\n"
        "from pfxlab.scenarios.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['--help'], standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    # What measures coverage imports for itself.
    untraced = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "COVERAGE"))}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=untraced)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"aiohttp", "asyncio", "cryptography", "jinja2", "jsonschema", "rich", "yaml", "sqlite3"}
    ours = {name for name in json.loads(done.stdout) if name.startswith("pfxlab.")}
    assert ours <= {
        "pfxlab.scenarios",
        "pfxlab.scenarios.cli",
        "pfxlab.scenarios.commands",
        "pfxlab.scenarios.commands.common",
    }


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
    """Each shell is offered commands, scenarios and plans that begin with what was typed."""
    words = line.split()
    variables = {"_PFXLAB_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        variables["COMP_CWORD"] = words[-1]
    done = subprocess.run(
        [sys.executable, "-c", "from pfxlab.scenarios.cli import main; main(prog_name='pfxlab')"],
        env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert offered in done.stdout.replace(",", "\n").replace("\t", "\n").splitlines(), done.stdout + done.stderr
