"""What a key storage provider offers the connector, and the set of providers a server has installed."""

from collections.abc import Iterable
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from connector_sim.errors import ProviderUnknown
from emulator.wire.enums import PaddingScheme


class DecryptionKey(Protocol):
    """A key that decrypts but need not be readable."""

    def decrypt(self, ciphertext: bytes, scheme: PaddingScheme) -> bytes:
        """Return the plaintext.

        Raises:
            DecryptFailed: this key does not decrypt it.
            PaddingUnsupported: the scheme is one connectors do not process.

        """
        ...

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public half."""
        ...


class KeyStorageProvider(Protocol):
    """A CNG key storage provider by its name."""

    @property
    def name(self) -> str:
        """Return the provider's name as it stands in imported records."""
        ...

    def open(self, key_name: str) -> DecryptionKey:
        """Return a key by its container name.

        Raises:
            KeyNotFound: there is none.

        """
        ...


class Providers:
    """The providers installed on one server. Names compare without regard to case, as in CNG."""

    def __init__(self, installed: Iterable[KeyStorageProvider]) -> None:
        self._installed = {provider.name.casefold(): provider for provider in installed}

    def open(self, provider_name: str, key_name: str) -> DecryptionKey:
        """Return a key of a provider.

        Raises:
            ProviderUnknown: no such provider here.
            KeyNotFound: the provider has no such key.

        """
        provider = self._installed.get(provider_name.casefold())
        if provider is None:
            have = ", ".join(p.name for p in self._installed.values()) or "none"
            raise ProviderUnknown(f"expected one of the installed providers ({have}), got {provider_name!r}")
        return provider.open(key_name)
