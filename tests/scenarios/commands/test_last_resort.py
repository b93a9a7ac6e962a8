"""What no part of a command foresaw: a sentence and exit code 3, whatever it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
BROKEN = """
import runpy, sys
import pfxlab.scenarios.commands.parties.keys as keys
def broken(*_):
    raise RuntimeError("canary-of-a-secret")
keys.installed = broken
sys.argv[:] = ["pfxlab", "keys", "list", "--keys", "keys"]
runpy.run_module("pfxlab", run_name="__main__", alter_sys=True)
"""
"""The command, with a bug in one part of it."""


def ended(code: str, *, shown: bool = False) -> subprocess.CompletedProcess[str]:
    """Return how a process with a broken command ended."""
    environment = {**os.environ, "PFXLAB_TRACEBACK": "1"} if shown else dict(os.environ)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "words",
    [("scenario", "list"), ("conformance", "rules", "--json"), ("keys", "list", "--keys", "keys"), ("--version",)],
)
def test_output_that_cannot_be_written(words: tuple[str, ...], tmp_path: Path) -> None:
    """A command whose output cannot be written says so in a sentence, and ends with 3."""
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pfxlab", *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "expected to write the output, got: No space left on device\n")


def test_bug_in_a_command() -> None:
    """A bug in a command is one line that says where and what to do, without what the command was given."""
    done = ended(BROKEN)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("bug in the lab: RuntimeError in broken, line 5; report it with this line")
    assert (done.stderr.count("\n"), "canary" in done.stderr) == (1, False)
    assert "Traceback (most recent call last)" in ended(BROKEN, shown=True).stderr
