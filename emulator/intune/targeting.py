"""Who gets what: which imported certificates a device should hold, under which profile. Pure.

Sources: sources.md#assignments, sources.md#intended-purpose, sources.md#several-certificates-of-a-user (what to select,
on which Microsoft's pages contradict each other), sources.md#encryption-history, sources.md#expired-certificates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pfxlab.emulator.wire.enums import IntendedPurpose

DeliverPolicy = Literal["by_purpose", "latest", "all"]


@dataclass(frozen=True)
class Target:
    """One assignment of a profile: its kind is the target's OData type name, `group_id` its group."""

    kind: str
    group_id: str


@dataclass(frozen=True)
class Profile:
    """An imported-PFX profile: the platform it is for, the purpose it asks for, whom it targets."""

    id: str
    platform: str
    purpose: IntendedPurpose
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Certificate:
    """An imported certificate of the device's user."""

    id: str
    purpose: IntendedPurpose
    start: datetime


@dataclass(frozen=True)
class Subject:
    """A device with its user's and its own groups."""

    platform: str
    groups: frozenset[str]


def is_targeted(profile: Profile, subject: Subject) -> bool:
    """Return whether a profile reaches a device: right platform, included, and in no excluded group."""
    if profile.platform != subject.platform:
        return False
    included = False
    for target in profile.targets:
        in_group = target.group_id in subject.groups
        if target.kind == "exclusionGroupAssignmentTarget" and in_group:
            return False
        everyone = target.kind in ("allLicensedUsersAssignmentTarget", "allDevicesAssignmentTarget")
        included = included or everyone or (target.kind == "groupAssignmentTarget" and in_group)
    return included


def select(purpose: IntendedPurpose, certificates: Iterable[Certificate], policy: DeliverPolicy) -> list[Certificate]:
    """Return which of a user's certificates a profile of that purpose delivers.

    `latest` keeps the one with the most recent start date, `all` keeps all, `by_purpose` keeps all encryption
    certificates (old mail must stay readable) and the latest of any other purpose.
    """
    matching = sorted((c for c in certificates if c.purpose == purpose), key=lambda c: (c.start, c.id))
    keep_all = policy == "all" or (policy == "by_purpose" and purpose is IntendedPurpose.smimeEncryption)
    return matching if keep_all else matching[-1:]
