"""What is decided by a device's platform: one row a platform. A new platform is a row here and a module in device_sim.

Sources: sources.md#imported-pfx-profiles, sources.md#any-purpose-eku, sources.md#check-in-times, sources.md#removal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


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
    the device when no profile reaches it any more. `profile_defaults`: properties of a new profile that its body left
    out. `adds_any_purpose`: whether the service appends the extended key usage Any Purpose to a profile.
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
    profile_defaults: Mapping[str, Any] = field(default_factory=dict)
    adds_any_purpose: bool = False


_CERTIFICATE: Final = MappingProxyType(
    dict.fromkeys(
        (
            "renewalThresholdPercentage",
            "subjectNameFormat",
            "subjectAlternativeNameType",
            "certificateValidityPeriodValue",
            "certificateValidityPeriodScale",
        )
    )
)
"""What every certificate profile but that of iOS inherits: null unless it is set."""

_ROWS: Final = (
    Platform(
        "ios", Channel.APPLE_MDM, "iOS/iPadOS", "#microsoft.graph.iosImportedPFXCertificateProfile",
        "iOS", "iPhone", "iOS",
    ),
    Platform(
        "macos", Channel.APPLE_MDM, "macOS", "#microsoft.graph.macOSImportedPFXCertificateProfile",
        "macOS", "macMDM", "macOS", kept_when_unassigned=True,
        profile_defaults={**_CERTIFICATE, "deploymentChannel": None},
    ),
    Platform(
        "windows", Channel.OMA_DM, "Windows 10 and later", "#microsoft.graph.windows10ImportedPFXCertificateProfile",
        "Windows", "windowsRT", "windows10AndLater", "CIMClient_Windows", kept_when_unassigned=True,
        profile_defaults={**_CERTIFICATE, "keyStorageProvider": "useSoftwareKsp"},
    ),
    Platform(
        "android", Channel.OMA_DM, "Android device administrator",
        "#microsoft.graph.androidImportedPFXCertificateProfile", "Android", "android", "androidForWork", "Android",
        profile_defaults={**_CERTIFICATE, "extendedKeyUsages": []},
    ),
    Platform(
        "androidForWork", Channel.OMA_DM, "Android Enterprise, personally-owned work profile",
        "#microsoft.graph.androidForWorkImportedPFXCertificateProfile", "Android", "android", "androidForWork",
        "AndroidForWork", profile_defaults={**_CERTIFICATE, "extendedKeyUsages": []}, adds_any_purpose=True,
    ),
    Platform(
        "androidDeviceOwner", Channel.OMA_DM,
        "Android Enterprise, fully managed, dedicated and corporate-owned work profile",
        "#microsoft.graph.androidDeviceOwnerImportedPFXCertificateProfile", "Android", "android", "androidForWork",
        "AndroidDeviceOwner",
        profile_defaults={
            **_CERTIFICATE,
            "certificateAccessType": None,
            "extendedKeyUsages": [],
            "silentCertificateAccessDetails": [],
        },
        adds_any_purpose=True,
    ),
)  # fmt: skip

PLATFORMS: Final[Mapping[str, Platform]] = {row.name: row for row in _ROWS}
"""Name → platform."""

PLATFORM_OF_TYPE: Final[Mapping[str, str]] = {row.profile_type: row.name for row in _ROWS}
"""@odata.type of an imported-PFX profile → name of the platform it applies to."""

APPLE: Final = tuple(row.name for row in _ROWS if row.channel is Channel.APPLE_MDM)
"""Names of the platforms on Apple's channel."""
