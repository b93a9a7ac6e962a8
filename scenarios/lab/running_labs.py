"""The user's folder of ready files, in which further commands find running labs.

Each holds a lock beside its ready file for as long as it runs. The system releases it however the process ends, so the
file of a dead lab is known at once, and removed by whoever looks next.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pfxlab.scenarios.user_folder import data_folder

if TYPE_CHECKING:
    from filelock import BaseFileLock

VARIABLE: Final = "PFXLAB_READY_FILE"
"""Environment variable that names the ready file of the lab to use."""

_PATIENCE: Final = 10
"""Seconds to wait for another command's lock on the folder, which it needs for milliseconds."""


@dataclass(frozen=True)
class RunningLab:
    """A running lab: its address and its ready file."""

    url: str
    ready_file: Path


def runtime_folder() -> Path:
    """Return the user's folder of ready files: below `XDG_RUNTIME_DIR` if the user owns that, else a private one."""
    chosen = os.environ.get("XDG_RUNTIME_DIR")
    if chosen and _is_own(Path(chosen)):
        return Path(chosen) / "pfxlab"
    return data_folder() / "run"


def _is_own(folder: Path) -> bool:
    """Return whether a folder exists and belongs to this user; Windows has separate folders for each user anyway."""
    try:
        return folder.is_dir() and (os.name != "posix" or folder.stat().st_uid == os.geteuid())
    except OSError:
        return False


@contextmanager
def announced(facts: dict[str, Any]) -> Iterator[Path]:
    """Publish the ready file of this process's lab for further commands; yield its path.

    Raises:
        OSError: it cannot be written there.

    """
    from pfxlab import private_file

    folder = runtime_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    with _guard(folder):
        path, lock = _claim(folder, f"lab-{urlsplit(str(facts['graph_url'])).port}")
        private_file.replace(path, json.dumps(facts, indent=2).encode())
    try:
        yield path
    finally:
        with _guard(folder):
            _forget(path)
            lock.release()


def running_labs() -> list[RunningLab]:
    """Return this user's running labs; ready files of labs that no longer run are removed.

    Raises:
        OSError: the folder cannot be used.

    """
    folder = runtime_folder()
    if not any(folder.glob("lab-*.json")):
        return []
    with _guard(folder):
        return [RunningLab(_url(path), path) for path in sorted(folder.glob("lab-*.json")) if _runs(path)]


def _guard(folder: Path) -> "BaseFileLock":
    """Return the folder's lock, which stops a lab from starting while another command removes stale files."""
    from filelock import FileLock

    return FileLock(folder / "lock", timeout=_PATIENCE)


def _claim(folder: Path, name: str) -> tuple[Path, "BaseFileLock"]:
    """Return a ready file's path and its acquired lock; a lab in another network namespace may have the same port."""
    from filelock import FileLock, Timeout

    for number in count():
        path = folder / f"{name}{f'-{number}' if number else ''}.json"
        lock = FileLock(_lock_of(path))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return path, lock
    raise AssertionError("the numbers do not end")


def _runs(path: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(_lock_of(path), timeout=0):
            _forget(path)
    except Timeout:
        return True
    return False


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    if os.name == "posix":
        # Windows does not remove an open file, so the empty lock file stays.
        _lock_of(path).unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _url(path: Path) -> str:
    try:
        return str(json.loads(path.read_text("utf-8"))["graph_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return "an address unknown"
