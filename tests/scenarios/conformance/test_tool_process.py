"""The command under test runs in its own process, and no part of it outlives its run."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pfxlab.scenarios.conformance.tool import CommandTool


def alive(number: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition is true, at most thirty seconds."""
    for _ in range(1500):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to hold")


async def ran(script: str, seconds: float) -> tuple[int | None, str, float]:
    """Return exit code, output and duration of a shell script."""
    begun = time.monotonic()
    done = await CommandTool(["sh", "-c", script])({}, {}, seconds)
    return done.exit_code, done.output, time.monotonic() - begun


async def test_children_hold_nothing_up(tmp_path: Path) -> None:
    """A command that leaves a child behind, with the output open, has ended when it has, and the child is stopped."""
    code, output, took = await ran(f"sleep 30 & echo $! > {tmp_path}/pid; echo done", 20)
    assert (code, output) == (0, "done\n")
    assert took < 10
    number = int((tmp_path / "pid").read_text())
    await asyncio.to_thread(wait_until, lambda: not alive(number))


async def test_too_late() -> None:
    """A command that does not end is stopped with its children, and its output until then is kept."""
    code, output, took = await ran("echo said before; sleep 30; true", 1)
    assert (code, output) == (None, "said before\n")
    assert took < 10


async def test_flood() -> None:
    """The first part of an endless output is kept, and the rest is counted."""
    code, output, _ = await ran("yes", 1)
    assert code is None
    assert 1024 * 1024 < len(output) < 1024 * 1024 + 100
    assert output.endswith("bytes more)")


async def test_cancelled(tmp_path: Path) -> None:
    """When the lab is interrupted, the command is stopped."""
    script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 30; true"
    task = asyncio.create_task(CommandTool(["sh", "-c", script])({}, dict(os.environ), 60))
    await asyncio.to_thread(wait_until, (tmp_path / "pid").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    number = int((tmp_path / "pid").read_text())
    await asyncio.to_thread(wait_until, lambda: not alive(number))
