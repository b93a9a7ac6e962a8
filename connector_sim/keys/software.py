"""Microsoft Software Key Storage Provider: a folder with one file for each key, readable by its owner only."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connector_sim import private_file
from connector_sim.errors import DecryptFailed, KeyExists, KeyNotFound, KeyStoreError
from connector_sim.keys.padding import oaep
from emulator.wire.enums import PaddingScheme

PROVIDER_NAME: Final = "Microsoft Software Key Storage Provider"


@dataclass(frozen=True, repr=False)
class SoftwareKey:
    """A key held in memory while the connector runs."""

    name: str
    _key: rsa.RSAPrivateKey

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


class SoftwareKsp:
    """The software provider over one folder. Key names may be any text; files are named after their hash."""

    name: Final = PROVIDER_NAME

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, SoftwareKey] = {}

    def path(self, key_name: str) -> Path:
        """Return the file of a key, whether or not it exists."""
        return self._folder / f"{hashlib.sha256(key_name.casefold().encode()).hexdigest()[:32]}.pem"

    def add(self, key_name: str, bits: int = 2048) -> SoftwareKey:
        """Make a key.

        Raises:
            KeyExists: one of that name is there.
            KeyStoreError: a size other than 2048 to 4096 in steps of 1024.

        """
        if bits not in (2048, 3072, 4096):
            raise KeyStoreError(f"expected 2048, 3072 or 4096 bits, got {bits}")
        return self.store(key_name, rsa.generate_private_key(public_exponent=65537, key_size=bits))

    def store(self, key_name: str, key: rsa.RSAPrivateKey) -> SoftwareKey:
        """Keep an existing key under a name.

        Raises:
            KeyExists: one of that name is there.

        """
        try:
            private_file.create(self.path(key_name), private_file.pkcs8_pem(key))
        except FileExistsError:
            raise KeyExists(f"expected a name not yet used, got {key_name!r}, which exists") from None
        return self.open(key_name)

    def open(self, key_name: str) -> SoftwareKey:
        """Return a key; see `KeyStorageProvider`."""
        if key_name not in self._opened:
            try:
                pem = self.path(key_name).read_bytes()
            except FileNotFoundError:
                raise KeyNotFound(f"expected the key {key_name!r} in {self.name}, got none of that name") from None
            except OSError as error:
                raise KeyStoreError(f"expected to read the key {key_name!r}, got: {error.strerror}") from None
            try:
                key = serialization.load_pem_private_key(pem, None)
            except (ValueError, TypeError):
                raise KeyStoreError(f"expected an RSA key in the file of {key_name!r}, got something else") from None
            if not isinstance(key, rsa.RSAPrivateKey):
                raise KeyStoreError(f"expected an RSA key under {key_name!r}, got {type(key).__name__}")
            self._opened[key_name] = SoftwareKey(key_name, key)
        return self._opened[key_name]
