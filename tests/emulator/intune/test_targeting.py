from datetime import UTC, datetime, timedelta

import pytest

from pfxlab.emulator.intune.targeting import Certificate, Profile, Subject, Target, is_targeted, select
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
