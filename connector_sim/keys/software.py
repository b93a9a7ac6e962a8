"""Microsoft Software Key Storage Provider: a folder with one file for each key, readable by its owner only.

A file is PEM with two lines before it (RFC 7468 lets text stand there): the key's name and whether it may be exported.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import private_file
from pfxlab.connector_sim.errors import DecryptFailed, FileDamaged, KeyExists, KeyNotFound, KeyStoreError, NotExportable
from pfxlab.connector_sim.keys.padding import oaep
from pfxlab.connector_sim.keys.provider import KeyInfo, check
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.emulator.wire.files.key_pem import read_key, to_pem

PROVIDER_NAME: Final = "Microsoft Software Key Storage Provider"
_HEAD: Final = "PFXLab-Key: "
_REMEDY: Final = "put it back from a copy, or delete it, make another key and import the certificates again"


@dataclass(frozen=True, repr=False)
class SoftwareKey:
    """A key held in memory while the connector runs."""

    name: str
    _key: rsa.RSAPrivateKey
    exportable: bool = False

    def __repr__(self) -> str:
        """Name the key without its numbers."""
        return f"SoftwareKey({self.name!r}, RSA-{self._key.key_size})"

    def decrypt(self, ciphertext: bytes, scheme: PaddingScheme) -> bytes:
        """Return the plaintext; see `DecryptionKey`."""
        scheme_padding = oaep(scheme)
        try:
            return self._key.decrypt(ciphertext, scheme_padding)
        except ValueError:
            raise DecryptFailed(
                f"expected a password encrypted to the key {self.name!r} with {scheme.name}, got one that is not"
            ) from None

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public half."""
        return self._key.public_key()

    def private_key(self) -> rsa.RSAPrivateKey:
        """Return the key itself.

        Raises:
            NotExportable: it was made without leave for that.

        """
        if not self.exportable:
            raise NotExportable(
                f"expected an exportable key, got {self.name!r}, which was made without leave to export"
            )
        return self._key


class SoftwareKsp:
    """The software provider over one folder. Key names may be any text; files are named after their hash."""

    name: Final = PROVIDER_NAME

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, tuple[tuple[int, int], SoftwareKey]] = {}

    def path(self, key_name: str) -> Path:
        """Return the file of a key, whether or not it exists."""
        return self._folder / f"{hashlib.sha256(key_name.casefold().encode()).hexdigest()[:32]}.pem"

    def add(self, key_name: str, bits: int = 2048, *, exportable: bool = False) -> SoftwareKey:
        """Make a key.

        Raises:
            KeyExists: one of that name is there.
            KeyStoreError: a size other than 2048 to 4096 in steps of 1024, or no name.

        """
        check(key_name, bits)
        if self.path(key_name).exists():
            raise self._exists(key_name)
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        return self.store(key_name, key, exportable=exportable)

    def store(self, key_name: str, key: rsa.RSAPrivateKey, *, exportable: bool = False) -> SoftwareKey:
        """Keep an existing key under a name.

        Raises:
            KeyExists: one of that name is there.
            KeyStoreError: a key of a size the provider does not take, or no name.

        """
        check(key_name, key.key_size)
        head = f"{_HEAD}{json.dumps({'name': key_name, 'exportable': exportable})}\n".encode()
        try:
            private_file.create(self.path(key_name), head + to_pem(key))
        except FileExistsError:
            raise self._exists(key_name) from None
        return self.open(key_name)

    @staticmethod
    def _exists(key_name: str) -> KeyExists:
        return KeyExists(f"expected a new name, got {key_name!r}, which exists; choose another one")

    def open(self, key_name: str) -> SoftwareKey:
        """Return a key; see `KeyStorageProvider`."""
        path = self.path(key_name)
        try:
            # A key costs far more to read than to look at; one that was removed or replaced meanwhile is not used.
            seen = path.stat()
            mark = (seen.st_ino, seen.st_mtime_ns)
            opened = self._opened.get(key_name)
            if opened is None or opened[0] != mark:
                opened = self._opened[key_name] = (mark, self._read(path, key_name))
        except FileNotFoundError:
            self._opened.pop(key_name, None)
            raise KeyNotFound(f"expected the key {key_name!r} in {self.name}, got none of that name") from None
        except OSError as error:
            raise KeyStoreError(f"expected to read the key {key_name!r}, got: {error.strerror}") from None
        return opened[1]

    @staticmethod
    def _read(path: Path, key_name: str) -> SoftwareKey:
        with reading(path, f"the RSA key {key_name!r}", _REMEDY, FileDamaged):
            data = path.read_bytes()
            return SoftwareKey(key_name, read_key(data), bool(_head(data).get("exportable", False)))

    def list_keys(self) -> list[KeyInfo]:
        """Return what keys there are, by name, damaged ones too; a file of an older lab has no name of its own."""
        found = []
        for path in sorted(self._folder.glob("*.pem")):
            name = f"(unnamed: {path.name})"
            with contextlib.suppress(OSError):
                name = str(_head(path.read_bytes()).get("name", name))
            try:
                key = self._read(path, name)
                found.append(KeyInfo(name, key.public_key().key_size, key.exportable))
            except FileDamaged as problem:
                found.append(KeyInfo(name, 0, exportable=False, damaged=problem))
        return sorted(found, key=lambda info: info.name.casefold())

    def remove(self, key_name: str) -> None:
        """Delete a key; records that name it can be processed no more.

        Raises:
            KeyNotFound: there is none of that name.

        """
        try:
            self.path(key_name).unlink()
        except FileNotFoundError:
            raise KeyNotFound(f"expected the key {key_name!r} in {self.name}, got none of that name") from None


def _head(data: bytes) -> dict[str, object]:
    first = data.partition(b"\n")[0].decode("utf-8", "replace")
    if not first.startswith(_HEAD):
        return {}
    try:
        head = json.loads(first.removeprefix(_HEAD))
    except ValueError:
        return {}
    return head if isinstance(head, dict) else {}
