"""How every party writes files: keys and secrets for the owner only, complete or not there, never through a link.

A new file gets a name that nobody can foresee and must not exist (`tempfile.mkstemp`: O_EXCL, O_NOFOLLOW, mode 0600),
then takes the place of the one before. So nothing that somebody else left in a shared folder receives what is written.
"""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)


class NotOurs(OSError):
    """A name where a regular file was expected is a link, a device or a pipe."""


def create(path: Path, data: bytes) -> None:
    """Write a new file, 0600.

    Raises:
        FileExistsError: the name is taken; that file is left as it is.

    """
    with _part(path, data, _PRIVATE) as part:
        # A hard link fails when the name exists, so that two processes cannot overwrite each other's key.
        os.link(part, path)


def replace(path: Path, data: bytes, *, flush: bool = False) -> None:
    """Write a file, 0600, in place of the one before; a reader sees the old or the new one whole.

    `flush`: wait until the disk has it, so that a power failure does not undo it.
    """
    with _part(path, data, _PRIVATE, flush=flush) as part:
        part.replace(path)
    if flush:
        flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder. Windows does not open folders, and writes names by itself."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_public(path: Path, data: bytes) -> None:
    """Write a file as `replace` does, for everybody to read: a certificate, a public key."""
    with _part(path, data, _PUBLIC) as part:
        part.replace(path)


def append(path: Path) -> BinaryIO:
    """Open a file to add to it, for its owner only when it is new.

    Raises:
        NotOurs: the name is a link, a device or a pipe.

    """
    return os.fdopen(_open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")


def prepare(path: Path) -> None:
    """Make sure that a file of that name is there and its owner's only; a library then opens it by its name.

    Raises:
        NotOurs: the name is a link, a device or a pipe.

    """
    descriptor = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        path.chmod(_PRIVATE)
    finally:
        os.close(descriptor)


def read_no_link(path: Path) -> bytes:
    """Return what is in a regular file.

    Raises:
        NotOurs: the name is a link, a device or a pipe.

    """
    with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
        return file.read()


def _open(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | _NO_LINK | _NO_WAIT | getattr(os, "O_BINARY", 0), _PRIVATE)
    except OSError as error:
        # A link (ELOOP), or a pipe that nobody reads (ENXIO).
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _not_ours(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_ours(path)
    return descriptor


def _not_ours(path: Path) -> NotOurs:
    return NotOurs(errno.EPERM, "expected a regular file, got a link, a device or a pipe; remove it", str(path))


@contextlib.contextmanager
def _part(path: Path, data: bytes, mode: int, *, flush: bool = False) -> Iterator[Path]:
    """Give a new file beside the final one, whole and on its way there; nothing of it stays when that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if mode != _PRIVATE:
            part.chmod(mode)
        yield part
    finally:
        # Gone already where it took the final name. Half a key on a full disk is a key nobody looks after.
        part.unlink(missing_ok=True)
