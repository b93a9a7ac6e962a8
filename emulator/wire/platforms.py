"""What is decided by a device's platform: one row a platform. A new platform is a row here and a module in device_sim.

Sources: sources.md#imported-pfx-profiles, sources.md#check-in-times, sources.md#removal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Channel(StrEnum):
    """How the service talks to a device, and with it what a connector makes for it."""

    APPLE_MDM = "Apple MDM"
    """The connector encrypts a whole PKCS#12 payload (PayloadEncryption)."""

    OMA_DM = "OMA-DM"
    """The connector encrypts the password alone; PFX and password are nodes of their own (PasswordRecryption)."""


@dataclass(frozen=True)
class Platform:
    """One platform. `name` is the lab's own word for it, in options, scenarios and the store.

    `display_name`: what the portal calls it. `profile_type`: @odata.type of its imported-PFX profile.
    `operating_system`, `device_type`: of managedDevice. `status_platform`: devicePlatform of a certificate state.
    `mde2_device_type`: DeviceType in an MDE2 enrolment, empty for Apple. `kept_when_unassigned`: certificates stay on
    the device when no profile reaches it any more.
    """

    name: str
    channel: Channel
    display_name: str
    profile_type: str
    operating_system: str
    device_type: str
    status_platform: str
    mde2_device_type: str = ""
    kept_when_unassigned: bool = False


_ROWS: Final = (
    Platform(
        "ios", Channel.APPLE_MDM, "iOS/iPadOS", "#microsoft.graph.iosImportedPFXCertificateProfile",
        "iOS", "iPhone", "iOS",
    ),
    Platform(
        "macos", Channel.APPLE_MDM, "macOS", "#microsoft.graph.macOSImportedPFXCertificateProfile",
        "macOS", "macMDM", "macOS", kept_when_unassigned=True,
    ),
    Platform(
        "windows", Channel.OMA_DM, "Windows 10 and later", "#microsoft.graph.windows10ImportedPFXCertificateProfile",
        "Windows", "windowsRT", "windows10AndLater", "CIMClient_Windows", kept_when_unassigned=True,
    ),
    Platform(
        "android", Channel.OMA_DM, "Android device administrator",
        "#microsoft.graph.androidImportedPFXCertificateProfile", "Android", "android", "androidForWork", "Android",
    ),
    Platform(
        "androidForWork", Channel.OMA_DM, "Android Enterprise, personally-owned work profile",
        "#microsoft.graph.androidForWorkImportedPFXCertificateProfile", "Android", "android", "androidForWork",
        "AndroidForWork",
    ),
    Platform(
        "androidDeviceOwner", Channel.OMA_DM,
        "Android Enterprise, fully managed, dedicated and corporate-owned work profile",
        "#microsoft.graph.androidDeviceOwnerImportedPFXCertificateProfile", "Android", "android", "androidForWork",
        "AndroidDeviceOwner",
    ),
)  # fmt: skip

PLATFORMS: Final[Mapping[str, Platform]] = {row.name: row for row in _ROWS}
"""Name → platform."""

PLATFORM_OF_TYPE: Final[Mapping[str, str]] = {row.profile_type: row.name for row in _ROWS}
"""@odata.type of an imported-PFX profile → name of the platform it applies to."""

APPLE: Final = tuple(row.name for row in _ROWS if row.channel is Channel.APPLE_MDM)
"""Names of the platforms on Apple's channel."""
