"""The key storage providers of a server by where their keys are: what another process needs to open the same keys."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import msgspec

from pfxlab.connector_sim.keys.provider import KeyStorageProvider, Providers
from pfxlab.connector_sim.keys.software import SoftwareKsp


class SoftwarePlace(msgspec.Struct, frozen=True, tag="software"):
    """The software provider over a folder."""

    folder: str


class TokenPlace(msgspec.Struct, frozen=True, tag="token"):
    """A PKCS#11 token under a provider's name; the PIN stays in its file."""

    name: str
    module: str
    token_label: str
    pin_file: str


Place: TypeAlias = SoftwarePlace | TokenPlace


class InstalledProviders(Providers):
    """Providers whose places are known, so that another process can open the same keys."""

    def __init__(self, places: Iterable[Place]) -> None:
        """Take the providers at these places; nothing is opened yet.

        Raises:
            ImportError: a token is named and python-pkcs11 is not installed.

        """
        self.places = tuple(places)
        super().__init__(map(_provider, self.places))


def _provider(place: Place) -> KeyStorageProvider:
    if isinstance(place, SoftwarePlace):
        return SoftwareKsp(Path(place.folder))
    from pfxlab.connector_sim.keys.pkcs11 import Pkcs11Ksp, TokenSettings

    return Pkcs11Ksp(place.name, TokenSettings(Path(place.module), place.token_label, Path(place.pin_file)))
