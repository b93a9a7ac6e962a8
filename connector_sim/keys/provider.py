"""What a key storage provider offers the connector, and the set of providers a server has installed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.errors import KeyStoreError, ProviderUnknown
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.files.damaged import Damaged

SIZES: Final = (2048, 3072, 4096)
"""Bits of the keys that imported certificates are encrypted to (sources.md#ksp-keys)."""


def check(key_name: str, bits: int) -> None:
    """Let a name and a size pass that a provider takes.

    Raises:
        KeyStoreError: no name, or a size other than 2048 to 4096 in steps of 1024.

    """
    if not key_name.strip():
        raise KeyStoreError("expected a key name, got none")
    if bits not in SIZES:
        raise KeyStoreError(f"expected a key of {', '.join(map(str, SIZES))} bits, got {bits}")


@dataclass(frozen=True)
class KeyInfo:
    """A key as it is listed. `damaged`: what is wrong with its file, which holds no key then; its size is unknown."""

    name: str
    bits: int
    exportable: bool
    damaged: Damaged | None = None


class DecryptionKey(Protocol):
    """A key that decrypts but need not be readable."""

    def decrypt(self, ciphertext: bytes, scheme: PaddingScheme) -> bytes:
        """Return the plaintext.

        Raises:
            DecryptFailed: this key does not decrypt it.
            PaddingUnsupported: the scheme is one connectors do not process.
            HsmUnavailable: the token that holds the key does not answer.

        """
        ...

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public half."""
        ...


class StoredKey(DecryptionKey, Protocol):
    """A key as its provider keeps it."""

    def private_key(self) -> rsa.RSAPrivateKey:
        """Return the key itself.

        Raises:
            NotExportable: it may not leave the provider.

        """
        ...


class KeyStorageProvider(Protocol):
    """A CNG key storage provider by its name."""

    @property
    def name(self) -> str:
        """Return the provider's name as it stands in imported records."""
        ...

    def open(self, key_name: str) -> StoredKey:
        """Return a key by its container name.

        Raises:
            KeyNotFound: there is none.

        """
        ...

    def add(self, key_name: str, bits: int = 2048, *, exportable: bool = False) -> StoredKey:
        """Make a key.

        Raises:
            KeyExists: one of that name is there.
            KeyStoreError: a size or a wish the provider does not take.

        """
        ...

    def store(self, key_name: str, key: rsa.RSAPrivateKey, *, exportable: bool = False) -> StoredKey:
        """Keep an existing key under a name.

        Raises:
            KeyExists: one of that name is there.
            KeyStoreError: a key or a wish the provider does not take.

        """
        ...

    def list_keys(self) -> list[KeyInfo]:
        """Return what keys there are, by name."""
        ...

    def remove(self, key_name: str) -> None:
        """Delete a key.

        Raises:
            KeyNotFound: there is none.

        """
        ...


class Providers:
    """The providers installed on one server. Names compare without regard to case, as in CNG."""

    def __init__(self, installed: Iterable[KeyStorageProvider]) -> None:
        self._installed = {provider.name.casefold(): provider for provider in installed}

    def provider(self, name: str) -> KeyStorageProvider:
        """Return a provider by its name.

        Raises:
            ProviderUnknown: no such provider here.

        """
        provider = self._installed.get(name.casefold())
        if provider is None:
            have = ", ".join(p.name for p in self._installed.values()) or "none"
            raise ProviderUnknown(f"expected one of the installed providers ({have}), got {name!r}")
        return provider

    def open(self, provider_name: str, key_name: str) -> StoredKey:
        """Return a key of a provider.

        Raises:
            ProviderUnknown: no such provider here.
            KeyNotFound: the provider has no such key.

        """
        return self.provider(provider_name).open(key_name)
