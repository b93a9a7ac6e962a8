"""The README's commands, snippet and transcript, run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}


def blocks(marker: str, language: str) -> list[str]:
    """Return the fenced blocks that follow a marker."""
    return re.findall(rf"<!-- {marker}[^>]*-->\n```{language}\n(.*?)```", README, re.DOTALL)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Return a finished command."""
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)


def masked(text: str) -> list[str]:
    """Return lines with times, ports, sizes and thumbprints made alike."""
    lines = [re.sub(r"[0-9a-f]{8}\b|\d[\d,.]*", "#", line).strip() for line in text.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("block", blocks("run", "sh"))
def test_shell_blocks_run(block: str) -> None:
    """Every shell block marked as run ends with exit code 0."""
    done = run("sh", "-ec", block)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("fails", "sh"))
def test_failing_blocks_fail(block: str) -> None:
    """Every shell block marked as failing ends with exit code 1, a failed verdict."""
    assert run("sh", "-c", block).returncode == 1


def test_python_block_runs() -> None:
    """The Python snippet runs unchanged under `pfxlab exec` and prints what it promises."""
    (block,) = blocks("run with", "python")
    done = run("pfxlab", "exec", "--", sys.executable, "-c", block)
    assert done.stdout.strip() == "0 imported certificates", done.stderr


def test_transcript_is_what_the_demo_prints() -> None:
    """The transcript is the demo's output line by line, but for times, addresses, sizes and thumbprints."""
    (transcript,) = re.findall(r"What `make demo` shows:\n\n```text\n(.*?)```", README, re.DOTALL)
    done = run("pfxlab", "demo")
    assert done.returncode == 0
    assert masked(done.stdout)[: len(masked(transcript))] == masked(transcript)


def test_make_targets_exist() -> None:
    """Both commands of the first screen are targets of the Makefile, and `make demo` runs the demo."""
    done = run("make", "--dry-run", "demo")
    assert done.returncode == 0
    assert "pfxlab demo" in done.stdout
    assert "pytest" in run("make", "--dry-run", "test").stdout


def test_ci_runs_what_make_test_runs() -> None:
    """The CI script ends in `make test` and adds no check of its own."""
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec make test")


def test_links_lead_somewhere() -> None:
    """Every relative link of the README exists."""
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
