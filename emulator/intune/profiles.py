"""Stored profiles, filters and devices as targeting sees them.

Sources: sources.md#filter-properties, sources.md#filter-platforms, sources.md#filter-values-of-the-lab.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from pfxlab.emulator.intune.filter_rules import Properties, read_rule
from pfxlab.emulator.intune.targeting import Filter, FilterMode, Profile, Subject, Target
from pfxlab.emulator.store.device_configurations import Assignment, AssignmentFilter, DeviceConfiguration
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.wire.enums import IntendedPurpose, parse_member
from pfxlab.emulator.wire.platforms import PLATFORM_OF_TYPE

FILTER_PLATFORMS: Final[Mapping[str, frozenset[str]]] = {
    "android": frozenset({"android"}),
    "androidForWork": frozenset({"androidForWork", "androidDeviceOwner"}),
    "androidWorkProfile": frozenset({"androidForWork"}),
    "iOS": frozenset({"ios"}),
    "macOS": frozenset({"macos"}),
    "windows10AndLater": frozenset({"windows"}),
}
"""Platform of an assignment filter → the lab's platforms it is about; any other is about none of them."""

_OWNERSHIP: Final = {"company": "Corporate", "personal": "Personal"}


def filter_properties(device: Device) -> Properties:
    """Return what assignment filters can ask about a device; what the lab's devices do not have is None."""
    windows = device.platform == "windows"
    return {
        "devicename": device.device_name,
        "manufacturer": device.manufacturer,
        "model": device.model,
        "osversion": device.os_version,
        "operatingsystemversion": device.os_version,
        "deviceownership": _OWNERSHIP.get(device.owner_type, "Unknown"),
        "isrooted": "Unknown",
        "devicetrusttype": "Unknown" if windows else None,
        "cpuarchitecture": "unknown" if windows or device.platform == "macos" else None,
    }


def subject_of(device: Device, groups: frozenset[str]) -> Subject:
    """Return a device as targeting sees it; `groups`: its user's and its own."""
    return Subject(device.platform, groups, filter_properties(device))


def targeting_filter(stored: AssignmentFilter) -> Filter:
    """Return a stored filter as targeting sees it; one for apps is about no device."""
    apps = stored.management_type != "devices"
    platforms = frozenset() if apps else FILTER_PLATFORMS.get(stored.platform, frozenset())
    return Filter(stored.display_name, platforms, read_rule(stored.rule))


def target_profile(
    profile: DeviceConfiguration, assignments: Iterable[Assignment], filters: Mapping[str, AssignmentFilter]
) -> Profile | None:
    """Return a stored profile as targeting sees it, or None when it delivers no imported certificate.

    `filters`: those of its tenant by id.
    """
    platform = PLATFORM_OF_TYPE.get(profile.odata_type)
    purpose = profile.properties.get("intendedPurpose")
    if platform is None or purpose is None:
        return None
    targets = tuple(_target(a, filters) for a in assignments if a.intent == "apply")
    return Profile(profile.id, platform, parse_member(IntendedPurpose, purpose), targets)


def _target(assignment: Assignment, filters: Mapping[str, AssignmentFilter]) -> Target:
    stored = filters.get(assignment.filter_id or "")
    if stored is None:
        return Target(assignment.target_type, assignment.group_id)
    mode: FilterMode = "exclude" if assignment.filter_mode == "exclude" else "include"
    return Target(assignment.target_type, assignment.group_id, mode, targeting_filter(stored))
