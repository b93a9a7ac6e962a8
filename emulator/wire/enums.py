"""Names and numbers of the enumerations Graph and Intune share with their clients.

Sources: sources.md#purpose-and-padding-names, sources.md#retired-paddings, sources.md#imported-pfx-profiles,
sources.md#ndes-connectors.
"""

from enum import Enum, IntEnum
from functools import cache
from typing import Any, TypeVar

from pfxlab.emulator.wire.text import quoted

E = TypeVar("E", bound=Enum)


class IntendedPurpose(IntEnum):
    """userPfxIntendedPurpose of an imported record. The profile-side enum has other numbers: match by name."""

    unassigned = 0
    smimeEncryption = 1  # noqa: N815 - the wire name
    smimeSigning = 2  # noqa: N815
    vpn = 4
    wifi = 8


class PaddingScheme(IntEnum):
    """userPfxPaddingScheme: how the PFX password was encrypted to the connector's key."""

    none = 0
    pkcs1 = 1
    oaepSha1 = 2  # noqa: N815
    oaepSha256 = 3  # noqa: N815
    oaepSha384 = 4  # noqa: N815
    oaepSha512 = 5  # noqa: N815


class KeyStorageProviderOption(IntEnum):
    """keyStorageProviderOption of a Windows profile; its numbers are not the CSP's KeyLocation numbers."""

    useTpmKspOtherwiseUseSoftwareKsp = 0  # noqa: N815
    useTpmKspOtherwiseFail = 1  # noqa: N815
    usePassportForWorkKspOtherwiseFail = 2  # noqa: N815
    useSoftwareKsp = 3  # noqa: N815


class NdesConnectorState(IntEnum):
    """ndesConnectorState."""

    none = 0
    active = 1
    inactive = 2


def parse_member(enum: type[E], text: str) -> E:
    """Return the member whose name equals `text` without regard to case.

    Tools send `SmimeEncryption`, `VPN`, `OaepSha512`; the service answers camelCase.

    Raises:
        ValueError: no member has that name; the message lists those that exist.

    """
    member: E | None = _by_name(enum).get(text.casefold())
    if member is None:
        raise ValueError(f"expected one of {', '.join(m.name for m in enum)}, got {quoted(text)}")
    return member


@cache
def _by_name(enum: type[Any]) -> dict[str, Any]:
    return {member.name.casefold(): member for member in enum}
