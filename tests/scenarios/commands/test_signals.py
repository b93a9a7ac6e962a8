"""What a signal does to each command, whenever it comes: its exit code, nothing that frightens, nothing left behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.campaign import examples

AUDITED = """
import os, re, runpy, signal, sys
number, event, part, group = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "group"
event, _, times = event.partition("*")
times = int(times or 1)
signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []
def heard(name, values):
    if name == event and len(sent) < times and re.search(part, str(values[:2])):
        sent.append(name)
        if len(sent) == times:
            os.killpg(0, number) if group else os.kill(os.getpid(), number)
sys.argv[:] = ["pfxlab", *sys.argv[5:]]
sys.addaudithook(heard)
runpy.run_module("pfxlab", run_name="__main__", alter_sys=True)
"""
"""Runs a command in a process that signals itself at a moment of its own work: no clock is asked.

`event*3` is the third event of that name.
"""

IMPORTING = [("import", "click"), ("import", "pfxlab.scenarios.cli"), ("import", "pfxlab.scenarios.commands.")]
LAB = [("import", "pfxlab.emulator.server"), ("tempfile.mkdtemp", ""), ("socket.bind", ""), ("socket.connect", "")]
CHILD = ("open", r"^\(\d+, ")
"""A pipe to a process just started is opened."""

COMMANDS = {
    "demo": (["demo"], [*LAB, ("sqlite3.connect", "")]),
    "exec": (["exec", "--", sys.executable, "-c", "import time; time.sleep(60)"], [*LAB[:3], ("subprocess.Popen", "")]),
    "scenario": (["scenario", "run", "connector-down-and-back"], LAB),
    "conformance": (["conformance", "run", "--plan", "import", "--module", "plain", "--", "sleep", "60"], [*LAB[:3], ("subprocess.Popen", "")]),
    "plan": (["plan", "--users", "20000"], [("import", "pfxlab.scenarios.load")]),
    "up": (["up", "--with", "connector,devices"], LAB[:2]),
    "load": (["load", "connector", "--duration", "60s"], [("subprocess.Popen", "")]),
    "load with two": (["load", "graph", "--duration", "60s", "--jobs", "2"], [("subprocess.Popen", ""), ("open", "samples")]),
    "bench connector": (["bench", "connector", "--turns", "1", "--requests", "1000"], [("subprocess.Popen", ""), CHILD, LAB[1], LAB[3]]),
    "bench devices": (["bench", "devices", "--devices", "50", "--sample", "10", "--turns", "1"], [LAB[1], CHILD, LAB[3], ("sqlite3.connect", "")]),
    "bench graph": (["bench", "graph", "--imports", "400", "--records", "2000", "--turns", "1"], [LAB[1], CHILD, ("socket.connect", "")]),
    "bench admin": (["bench", "admin", "--certificates", "100", "--devices", "10", "--viewers", "2"], [LAB[1], CHILD, LAB[3]]),
    "keys": (["keys", "add", "--keys", "keys", "--name", "K", "--make-exportable"], [("os.mkdir", "keys"), ("os.link", "")]),
    "soak": (["soak", "--duration", "5m"], LAB),
}  # fmt: skip
"""A command's name → its words, and audit events of its start and its work."""

MOMENTS = [(name, moment) for name, (_, own) in COMMANDS.items() for moment in (*IMPORTING, *own)]
SAMPLE = [("demo", IMPORTING[1]), ("demo", LAB[3]), ("exec", LAB[2])]


def signalled(
    number: signal.Signals, words: list[str], moment: tuple[str, str], folder: Path, to: str = "group"
) -> tuple[int, str]:
    """Return a command's exit code and what it wrote to standard error; fail if it leaves a process behind.

    `to`: the whole process group, as Ctrl-C in a terminal does, or the command `alone`.
    """
    command = [sys.executable, "-c", AUDITED, str(int(number)), *moment, to, *words]
    with (folder / "errors").open("wb") as errors:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)}, start_new_session=True,
        )  # fmt: skip
    try:
        code = running.wait(120)
        assert gone(running.pid), "a process of the command still runs"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    return code, (folder / "errors").read_text("utf-8", "replace")


def gone(group: int) -> bool:
    """Return whether no process of a group runs: those that see their parent gone have a moment to end."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("whole")
@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals to send")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("name", "moment"), MOMENTS if examples(0, 1) else SAMPLE)
@pytest.mark.parametrize("to", ["group", pytest.param("alone", marks=pytest.mark.campaign)])
def test_first_signal_ends_a_command(
    number: signal.Signals, name: str, moment: tuple[str, str], to: str, tmp_path: Path
) -> None:
    """The first Ctrl-C or SIGTERM, at whatever moment, ends a command with 130 or 143, quietly, and without leftovers."""
    code, told = signalled(number, COMMANDS[name][0], moment, tmp_path, to)
    assert (code, re.findall("Traceback|Aborted|Warning|Error|never retrieved", told)) == (128 + number, []), told
    assert [path.name for path in tmp_path.glob("pfxlab-*")] == []
