"""What a signal does to each command, whenever it comes: its exit code, and nothing on the terminal that frightens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign import examples

AUDITED = """
import os, runpy, signal, sys
number, event, part, group = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "group"
signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []
def heard(name, values):
    if name == event and not sent and part in str(values[:1]):
        sent.append(name)
        os.killpg(0, number) if group else os.kill(os.getpid(), number)
sys.argv[:] = ["pfxlab", *sys.argv[5:]]
sys.addaudithook(heard)
runpy.run_module("pfxlab", run_name="__main__", alter_sys=True)
"""
"""Runs a command in a process that signals itself at a moment of its own work: no clock is asked."""

IMPORTING = [("import", "click"), ("import", "pfxlab.scenarios.cli"), ("import", "pfxlab.scenarios.commands.")]
LAB = [("import", "pfxlab.emulator.server"), ("tempfile.mkdtemp", ""), ("socket.bind", ""), ("socket.connect", "")]
COMMANDS = {
    "demo": (["demo"], [*LAB, ("sqlite3.connect", "")]),
    "exec": (["exec", "--", sys.executable, "-c", "import time; time.sleep(60)"], [*LAB[:3], ("subprocess.Popen", "")]),
    "scenario": (["scenario", "run", "connector-down-and-back"], LAB),
    "conformance": (["conformance", "run", "--plan", "import", "--module", "plain", "--", "sleep", "60"], [*LAB[:3], ("subprocess.Popen", "")]),
    "plan": (["plan", "--users", "20000"], [("import", "pfxlab.scenarios.load")]),
    "up": (["up", "--with", "connector,devices"], LAB[:2]),
    "load": (["load", "connector", "--duration", "60s"], [("subprocess.Popen", "")]),
    "soak": (["soak", "--duration", "1m"], LAB),
}  # fmt: skip
"""A command's name → its words, and audit events of its start and its work."""

MOMENTS = [(name, moment) for name, (_, own) in COMMANDS.items() for moment in (*IMPORTING, *own)]
SAMPLE = [("demo", IMPORTING[1]), ("demo", LAB[3]), ("exec", LAB[2])]


def signalled(number: signal.Signals, name: str, moment: tuple[str, str], folder: Path) -> tuple[int, str]:
    """Return a command's exit code and what it wrote to standard error."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    words = [sys.executable, "-c", AUDITED, str(int(number)), *moment, "group", *COMMANDS[name][0]]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, cwd=folder, env=environment, start_new_session=True
    )
    return done.returncode, done.stderr


@pytest.mark.usefixtures("whole")
@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals to send")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("name", "moment"), MOMENTS if examples(0, 1) else SAMPLE)
def test_first_signal_ends_a_command(
    number: signal.Signals, name: str, moment: tuple[str, str], tmp_path: Path
) -> None:
    """The first Ctrl-C or SIGTERM, at whatever moment, ends a command with 130 or 143, quietly, and without leftovers."""
    code, told = signalled(number, name, moment, tmp_path)
    assert (code, "Traceback" in told, "Aborted" in told) == (128 + number, False, False), told
    assert [path.name for path in tmp_path.glob("pfxlab-*")] == []
