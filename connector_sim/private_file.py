"""Files with keys: readable by their owner only, complete or not there."""

import errno
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def pkcs8_pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return a key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def create(path: Path, data: bytes) -> None:
    """Write a new file.

    Raises:
        FileExistsError: the name is taken; that file is left as it is.

    """
    part = _part(path, data)
    try:
        # A hard link fails when the name exists, so that two processes cannot overwrite each other's key.
        os.link(part, path)
    finally:
        part.unlink()


def replace(path: Path, data: bytes) -> None:
    """Write a file in place of the one before; a reader sees the old or the new one whole."""
    _part(path, data).replace(path)


def _part(path: Path, data: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    try:
        part.write_bytes(data)
    except OSError:
        # Half a key on a full disk is a key nobody looks after.
        part.unlink()
        raise
    return part
