"""Replaces files of a lab together with its database: all of it or nothing, whenever the process dies.

A write-ahead intent. New files are staged in a folder of their own on the same file system, then the intent that lists
them is written, each of it flushed to the disk. The commit of the database decides: the transaction that replaces its
content notes the intent's number. Files are renamed into place after that commit; before it only the staging folder
has changed. A start that finds an intent finishes it if the database has its number, and else discards it.
"""

import contextlib
import json
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pfxlab import private_file
from pfxlab.emulator.store.database import Store

NOTE: Final = "files_to_switch"
"""Setting of the database that holds the number of the intent whose files belong to its content."""

_STAGING: Final = "restoring"
_INTENT: Final = "intent.json"


class BadIntent(ValueError):
    """An intent that cannot be read; the text says which file, and what to do."""


@dataclass(frozen=True)
class FileSwitch:
    """Files that are staged. `staged`: name in the staging folder → path in the lab's folder; `removed`: such paths."""

    folder: Path
    number: str
    staged: Mapping[str, str]
    removed: tuple[str, ...]

    @property
    def note(self) -> dict[str, str]:
        """Return the setting that the transaction must write."""
        return {NOTE: self.number} if self.staged or self.removed else {}

    def finish(self, store: Store) -> None:
        """Put the files into place, after the commit. May be repeated after it was cut short.

        Raises:
            OSError: a file cannot be renamed or removed; the next start tries again.

        """
        if not self.note:
            return
        for name, path in self.staged.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileNotFoundError):  # renamed before a start that repeats this
                (self.folder / _STAGING / name).replace(target)
        for path in self.removed:
            (self.folder / path).unlink(missing_ok=True)
        touched = {(self.folder / path).parent for path in (*self.staged.values(), *self.removed)}
        for parent in filter(Path.is_dir, sorted(touched, reverse=True)):
            private_file.flush_folder(parent)
            _remove_if_empty(parent, self.folder)
        self.discard()
        # Without its intent the note means nothing: on a full disk it waits for the next start.
        with contextlib.suppress(sqlite3.Error):
            store.forget_meta(NOTE)

    def discard(self) -> None:
        """Let go of everything staged: the intent first, without which the rest means nothing."""
        (self.folder / _STAGING / _INTENT).unlink(missing_ok=True)
        shutil.rmtree(self.folder / _STAGING, ignore_errors=True)


def prepare(folder: Path, changes: Mapping[str, bytes | None]) -> FileSwitch:
    """Stage files of a lab's folder; `changes`: path → new content, None to remove it. Nothing is changed yet.

    `recover` comes first: there can be one intent at a time.

    Raises:
        OSError: they cannot be written, such as on a full disk; what was staged is gone.

    """
    present = [path for path, data in changes.items() if data is not None]
    written = {str(number): path for number, path in enumerate(present)}
    removed = tuple(path for path, data in changes.items() if data is None)
    switch = FileSwitch(folder, secrets.token_hex(8), written, removed)
    if not changes:
        return switch
    staging = folder / _STAGING
    staging.mkdir(mode=0o700)
    try:
        for name, path in written.items():
            private_file.replace(staging / name, changes[path] or b"", flush=True)
            with contextlib.suppress(FileNotFoundError):  # a new file stays its owner's only
                (staging / name).chmod((folder / path).stat().st_mode & 0o777)
        intent = {"number": switch.number, "staged": written, "removed": removed}
        private_file.replace(staging / _INTENT, json.dumps(intent).encode(), flush=True)
        private_file.flush_folder(folder)
    except BaseException:
        switch.discard()
        raise
    return switch


def recover(folder: Path, store: Store) -> None:
    """Finish or discard what a process that died has left of a switch.

    Raises:
        BadIntent: the intent is not as `prepare` wrote it.
        OSError: a file cannot be put into place.

    """
    switch = _left_over(folder)
    if switch is not None and store.meta(NOTE) == switch.number:
        switch.finish(store)
    elif switch is not None:
        switch.discard()
    shutil.rmtree(folder / _STAGING, ignore_errors=True)
    if store.meta(NOTE) is not None:
        store.forget_meta(NOTE)


def tidy(parts: Iterable[Path]) -> None:
    """Remove files that a process which died had begun to write, from folders that no other process writes to."""
    for part in parts:
        for path in part.rglob(".*.part"):
            path.unlink(missing_ok=True)


def _left_over(folder: Path) -> FileSwitch | None:
    path = folder / _STAGING / _INTENT
    try:
        body = json.loads(path.read_bytes())
        return FileSwitch(folder, str(body["number"]), dict(body["staged"]), tuple(body["removed"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise BadIntent(
            f"expected the files of a restore to be listed in {path}, got something else;"
            f" remove {path.parent} and restore the snapshot again"
        ) from None


def _remove_if_empty(place: Path, top: Path) -> None:
    """Remove a folder that has nothing in it any more, and those above it, but for the lab's own parts."""
    while place.parent != top and place != top:
        try:
            place.rmdir()
        except OSError:
            return
        place = place.parent
