"""Stored profiles as targeting sees them."""

from pfxlab.emulator.intune.targeting import Profile, Target
from pfxlab.emulator.store.device_configurations import Assignment, DeviceConfiguration
from pfxlab.emulator.wire.enums import IntendedPurpose, parse_member
from pfxlab.emulator.wire.platforms import PLATFORM_OF_TYPE


def target_profile(profile: DeviceConfiguration, assignments: list[Assignment]) -> Profile | None:
    """Return a stored profile as targeting sees it, or None when it delivers no imported certificate."""
    platform = PLATFORM_OF_TYPE.get(profile.odata_type)
    purpose = profile.properties.get("intendedPurpose")
    if platform is None or purpose is None:
        return None
    targets = tuple(Target(a.target_type, a.group_id) for a in assignments if a.intent == "apply")
    return Profile(profile.id, platform, parse_member(IntendedPurpose, purpose), targets)
