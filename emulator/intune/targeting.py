"""Who gets what: which imported certificates a device should hold, under which profile. Pure.

Sources: sources.md#assignments, sources.md#intended-purpose, sources.md#several-certificates-of-a-user (what to select,
on which Microsoft's pages contradict each other), sources.md#encryption-history, sources.md#expired-certificates.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pfxlab.emulator.intune.filter_rules import FilterRule, Properties
from pfxlab.emulator.wire.enums import IntendedPurpose

DeliverPolicy = Literal["by_purpose", "latest", "all"]


@dataclass(frozen=True)
class Filter:
    """An assignment filter as an assignment uses it. `platform`: the lab's names of the platforms it is for."""

    name: str
    platforms: frozenset[str]
    rule: FilterRule

    def matches(self, subject: "Subject") -> bool:
        """Return whether a device is one that the filter describes; those of other platforms are not."""
        return subject.platform in self.platforms and self.rule.matches(subject.properties)


FilterMode = Literal["none", "include", "exclude"]


@dataclass(frozen=True)
class Target:
    """One assignment of a profile: its kind is the target's OData type name, `group_id` its group.

    `mode`: what becomes of the devices that `filter` matches; `none` without a filter.
    """

    kind: str
    group_id: str
    mode: FilterMode = "none"
    filter: Filter | None = None


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
    """A device with its user's and its own groups, and the properties that assignment filters ask about."""

    platform: str
    groups: frozenset[str]
    properties: Properties = field(default_factory=dict)


_EVERYONE: Final = ("allLicensedUsersAssignmentTarget", "allDevicesAssignmentTarget")


class Obstacle(StrEnum):
    """Why a profile does not reach a device."""

    PLATFORM = "OtherPlatform"
    EXCLUDED = "Excluded"
    NOT_ASSIGNED = "NotAssigned"
    NOT_IN_GROUP = "NotInGroup"
    FILTERED_OUT = "FilteredOut"


@dataclass(frozen=True)
class Miss:
    """Why a profile does not reach a device, and the assignments that decide it."""

    obstacle: Obstacle
    targets: tuple[Target, ...] = ()


def obstacle(profile: Profile, subject: Subject) -> Miss | None:
    """Return why a profile does not reach a device, or None if it does.

    An excluded group wins over everything. Among the assignments that include the device, those with a filter in mode
    exclude win over those without a filter, and these over mode include; of one mode, one match is enough.
    Source: sources.md#filter-conflicts.
    """
    if profile.platform != subject.platform:
        return Miss(Obstacle.PLATFORM)
    out = [t for t in profile.targets if t.kind == "exclusionGroupAssignmentTarget" and t.group_id in subject.groups]
    if out:
        return Miss(Obstacle.EXCLUDED, tuple(out))
    if not profile.targets:
        return Miss(Obstacle.NOT_ASSIGNED)
    including = [t for t in profile.targets if _includes(t, subject)]
    if not including:
        return Miss(Obstacle.NOT_IN_GROUP, profile.targets)
    return _filtered_out(including, subject)


def _includes(target: Target, subject: Subject) -> bool:
    return target.kind in _EVERYONE or (target.kind == "groupAssignmentTarget" and target.group_id in subject.groups)


def _filtered_out(including: list[Target], subject: Subject) -> Miss | None:
    by_mode = {mode: [t for t in including if t.mode == mode] for mode in ("exclude", "none", "include")}
    mode = next(mode for mode, found in by_mode.items() if found)
    matching = tuple(t for t in by_mode[mode] if t.filter is not None and t.filter.matches(subject))
    if mode == "exclude" and matching:
        return Miss(Obstacle.FILTERED_OUT, matching)
    if mode == "include" and not matching:
        return Miss(Obstacle.FILTERED_OUT, tuple(by_mode[mode]))
    return None


def is_targeted(profile: Profile, subject: Subject) -> bool:
    """Return whether a profile reaches a device."""
    return obstacle(profile, subject) is None


def select(purpose: IntendedPurpose, certificates: Iterable[Certificate], policy: DeliverPolicy) -> list[Certificate]:
    """Return which of a user's certificates a profile of that purpose delivers.

    `latest` keeps the one with the most recent start date, `all` keeps all, `by_purpose` keeps all encryption
    certificates (old mail must stay readable) and the latest of any other purpose.
    """
    matching = sorted((c for c in certificates if c.purpose == purpose), key=lambda c: (c.start, c.id))
    keep_all = policy == "all" or (policy == "by_purpose" and purpose is IntendedPurpose.smimeEncryption)
    return matching if keep_all else matching[-1:]
