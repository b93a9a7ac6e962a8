"""The imported-PFX profile types: which platform each is for. Source: reference graph-intune 3.1."""

from pfxlab.emulator.intune.targeting import Profile, Target
from pfxlab.emulator.store.device_configurations import Assignment, DeviceConfiguration
from pfxlab.emulator.wire.enums import IntendedPurpose, parse_member

PLATFORM_OF_TYPE = {
    "#microsoft.graph.iosImportedPFXCertificateProfile": "ios",
    "#microsoft.graph.macOSImportedPFXCertificateProfile": "macos",
    "#microsoft.graph.windows10ImportedPFXCertificateProfile": "windows",
    "#microsoft.graph.androidImportedPFXCertificateProfile": "android",
    "#microsoft.graph.androidForWorkImportedPFXCertificateProfile": "androidForWork",
    "#microsoft.graph.androidDeviceOwnerImportedPFXCertificateProfile": "androidDeviceOwner",
}
"""@odata.type of a profile and the platform of the devices it applies to."""


def target_profile(profile: DeviceConfiguration, assignments: list[Assignment]) -> Profile | None:
    """Return a stored profile as targeting sees it, or None when it delivers no imported certificate."""
    platform = PLATFORM_OF_TYPE.get(profile.odata_type)
    purpose = profile.properties.get("intendedPurpose")
    if platform is None or purpose is None:
        return None
    targets = tuple(Target(a.target_type, a.group_id) for a in assignments if a.intent == "apply")
    return Profile(profile.id, platform, parse_member(IntendedPurpose, purpose), targets)
