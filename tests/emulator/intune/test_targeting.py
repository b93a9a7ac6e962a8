from datetime import UTC, datetime, timedelta

import pytest

from pfxlab.emulator.intune.filter_rules import read_rule
from pfxlab.emulator.intune.targeting import (
    Certificate,
    Filter,
    FilterMode,
    Profile,
    Subject,
    Target,
    is_targeted,
    obstacle,
    select,
)
from pfxlab.emulator.wire.enums import IntendedPurpose

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ENCRYPTION, SIGNING = IntendedPurpose.smimeEncryption, IntendedPurpose.smimeSigning
INCLUDE, EXCLUDE = "groupAssignmentTarget", "exclusionGroupAssignmentTarget"


@pytest.mark.parametrize(
    ("targets", "platform", "expected"),
    [
        ([], "ios", False),
        ([(INCLUDE, "g1")], "ios", True),
        ([(INCLUDE, "g1")], "windows", False),
        ([(INCLUDE, "g9")], "ios", False),
        ([(INCLUDE, "g1"), (EXCLUDE, "g2")], "ios", False),
        ([(EXCLUDE, "g2"), (INCLUDE, "g1")], "ios", False),
        ([("allLicensedUsersAssignmentTarget", "")], "ios", True),
        ([("allDevicesAssignmentTarget", ""), (EXCLUDE, "g2")], "ios", False),
        ([("configurationManagerCollectionAssignmentTarget", "g1")], "ios", False),
    ],
)
def test_targeting_of_users_and_groups(targets: list[tuple[str, str]], platform: str, expected: bool) -> None:
    """A profile reaches devices of its platform that are included and not excluded; exclusion wins in any order."""
    profile = Profile("p", platform, ENCRYPTION, tuple(Target(*target) for target in targets))
    assert is_targeted(profile, Subject("ios", frozenset({"g1", "g2"}))) is expected


YES, NO = 'device.model -eq "a"', 'device.model -eq "b"'


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        # The page's table of modes, and its two examples.
        ([("g1", "include", YES)], True),
        ([("g1", "include", NO)], False),
        ([("g1", "exclude", YES)], False),
        ([("g1", "exclude", NO)], True),
        ([("g1", "include", NO), ("g2", "exclude", YES), ("g3", "none", "")], False),
        ([("g1", "include", NO), ("g2", "exclude", NO), ("g3", "none", "")], True),
        ([("g1", "include", YES), ("g2", "include", NO)], True),
        ([("g1", "include", NO), ("g2", "include", NO)], False),
        # One filter that matches excludes, and no filter wins over include.
        ([("g1", "exclude", NO), ("g2", "exclude", YES)], False),
        ([("g1", "include", NO), ("g2", "none", "")], True),
        # What includes others decides nothing here.
        ([("g9", "exclude", YES), ("g1", "none", "")], True),
        ([("g9", "none", ""), ("g1", "include", NO)], False),
    ],
)
def test_modes_of_filters(targets: list[tuple[str, FilterMode, str]], expected: bool) -> None:
    """Mode exclude decides before no filter, and that before include; of one mode one match is enough.

    Expected values: sources.md#filter-conflicts.
    """
    made = [
        Target(INCLUDE, group, mode, None if mode == "none" else Filter("f", frozenset({"ios"}), read_rule(rule)))
        for group, mode, rule in targets
    ]
    for order in (made, made[::-1]):
        profile = Profile("p", "ios", ENCRYPTION, tuple(order))
        assert is_targeted(profile, Subject("ios", frozenset({"g1", "g2", "g3"}), {"model": "A"})) is expected


@pytest.mark.parametrize(("mode", "expected"), [("include", False), ("exclude", True)])
def test_filter_of_another_platform(mode: FilterMode, expected: bool) -> None:
    """A filter for another platform matches no device (sources.md#filter-platforms)."""
    target = Target(INCLUDE, "g1", mode, Filter("f", frozenset({"windows"}), read_rule(YES)))
    subject = Subject("ios", frozenset({"g1"}), {"model": "a"})
    assert is_targeted(Profile("p", "ios", ENCRYPTION, (target,)), subject) is expected


def test_excluded_group_wins_over_filters() -> None:
    """A device in an excluded group is out whatever a filter says, and the group is named as the cause."""
    include = Target(INCLUDE, "g1", "include", Filter("f", frozenset({"ios"}), read_rule(YES)))
    profile = Profile("p", "ios", ENCRYPTION, (include, Target(EXCLUDE, "g2")))
    miss = obstacle(profile, Subject("ios", frozenset({"g1", "g2"}), {"model": "a"}))
    assert miss is not None
    assert (miss.obstacle, [target.group_id for target in miss.targets]) == ("Excluded", ["g2"])


HISTORY = [
    Certificate("e-old", ENCRYPTION, NOW - timedelta(days=700)),
    Certificate("e-new", ENCRYPTION, NOW),
    Certificate("s-new", SIGNING, NOW),
    Certificate("s-old", SIGNING, NOW - timedelta(days=700)),
]


@pytest.mark.parametrize(
    ("purpose", "policy", "expected"),
    [
        (ENCRYPTION, "by_purpose", ["e-old", "e-new"]),
        (SIGNING, "by_purpose", ["s-new"]),
        (ENCRYPTION, "latest", ["e-new"]),
        (SIGNING, "all", ["s-old", "s-new"]),
        (IntendedPurpose.unassigned, "all", []),
    ],
)
def test_which_certificates_are_delivered(purpose: IntendedPurpose, policy: str, expected: list[str]) -> None:
    """All encryption certificates are delivered so that old mail stays readable, of other purposes the latest."""
    chosen = select(purpose, HISTORY, policy)  # type: ignore[arg-type]  # the literals above
    assert [certificate.id for certificate in chosen] == expected
