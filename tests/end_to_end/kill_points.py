"""Kills a process before each system call that changes what is on the disk, or lets the call fail, one after the other.

strace attaches to a process that waits, counts its calls in a first run, and kills it at the entry of a given one in
every further run. Writes to memory that a file is mapped into are no system calls, and are not among the points.
"""

import multiprocessing
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_TRACE = (
    "?open,?openat,?creat,?write,?writev,?pwrite64,?pwritev,?pwritev2,?sendfile,?copy_file_range,?truncate,?ftruncate,"
    "?fallocate,?rename,?renameat,?renameat2,?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?mkdir,?mkdirat,"
    "?rmdir,?fsync,?fdatasync,?sync_file_range,?chmod,?fchmod,?fchmodat,?fchmodat2,?utimensat"
)
"""Calls that can change what is on a disk; `?`: not every architecture has them."""

_LINE = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<rest>.*)")
Action = Callable[[str, Connection], None]
"""Given a folder and a connection: prepares, calls `wait`, acts."""


@dataclass(frozen=True)
class Point:
    """The call of that name, and which one of them in its thread, from 1."""

    call: str
    number: int


def wait(connection: Connection) -> None:
    """Tell that what comes now is to be watched, and wait until it is."""
    connection.send("prepared")
    connection.recv()


@contextmanager
def _waiting(action: Action, folder: Path) -> Iterator[tuple[Any, Connection]]:
    """Yield a process that has prepared an action, and what lets it go on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([action.__module__])
    ours, theirs = context.Pipe()
    process = context.Process(target=action, args=(str(folder), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.recv() == "prepared"
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(action: Action, folder: Path, *options: str) -> tuple[int, str]:
    """Carry an action out under strace; return how the process ended, and what strace wrote."""
    with _waiting(action, folder) as (process, connection), tempfile.TemporaryDirectory() as place:
        out = Path(place) / "trace"
        command = [
            "strace",
            "-q",
            "-f",
            "-y",
            "-o",
            str(out),
            "-e",
            f"trace={_TRACE}",
            *options,
            "-p",
            str(process.pid),
        ]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while _untraced(process.pid):
            if tracer.poll() is not None:
                raise RuntimeError(f"strace ended: {tracer.stderr.read() if tracer.stderr else ''}")
            time.sleep(0.002)
        connection.send("go on")
        process.join()
        tracer.communicate()
        return int(process.exitcode), out.read_text()


def _untraced(pid: int) -> bool:
    """Return whether a thread of a process has no tracer yet."""
    threads = Path(f"/proc/{pid}/task").glob("*/status")
    return any("TracerPid:\t0\n" in one.read_text() for one in threads)


def points(action: Action, folder: Path) -> list[Point]:
    """Carry an action out, and return every call in it that changes something below its folder.

    Raises:
        AssertionError: more than one thread did.

    """
    code, trace = _run(action, folder)
    assert code == 0, code
    counted: Counter[tuple[str, str]] = Counter()
    found: list[tuple[str, Point]] = []
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call, rest = match.group("thread", "call", "rest")
        counted[thread, call] += 1
        reads = call in ("open", "openat") and not re.search("O_CREAT|O_TRUNC", rest)
        if str(folder) in rest and not reads:
            found.append((thread, Point(call, counted[thread, call])))
    assert len({thread for thread, _ in found}) == 1, Counter(thread for thread, _ in found)
    return [point for _, point in found]


def kill_at(action: Action, folder: Path, point: Point) -> bool:
    """Carry an action out until a call of its is reached, and kill it there; return whether it was reached."""
    inject = f"inject={point.call}:signal=KILL:when={point.number}"
    code, _ = _run(action, folder, "-e", inject)
    assert code in (0, -9), code
    return code == -9


def fail_at(action: Action, folder: Path, point: Point, error: str) -> int:
    """Carry an action out, with one call of its failing; return how the process ended."""
    code, _ = _run(action, folder, "-e", f"inject={point.call}:error={error}:when={point.number}")
    return code


def possible() -> bool:
    """Return whether strace is there and may trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-q", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0
