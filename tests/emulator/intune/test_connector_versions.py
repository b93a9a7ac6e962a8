"""How long a connector's version is supported. Source: sources.md#connector-versions."""

from datetime import timedelta

import pytest

from pfxlab.emulator.intune.connector_versions import LATEST, RELEASES, status

NEWEST = RELEASES[-1][1]


@pytest.mark.parametrize(
    ("version", "days", "expected"),
    [
        (LATEST, 4000, "active"),
        ("6.2406.0.1001", -1, "active"),
        ("6.2406.0.1001", 180, "active"),
        ("6.2406.0.1001", 190, "deprecated"),
        ("6.2406.0.1001", 560, "unsupported"),
        ("99.0", 4000, "active"),
    ],
)
def test_support_ends_after_the_next_release(version: str, days: int, expected: str) -> None:
    """A version is active until six months after the next release, and works deprecated until eighteen."""
    assert status(version, NEWEST + timedelta(days=days)) == expected


@pytest.mark.parametrize("version", ["6.²", "", "x.y", "6..1", "٦"])
def test_invalid_version_counts_as_the_oldest(version: str) -> None:
    """A part that is not an ASCII number, digits of other scripts included, counts as zero."""
    assert status(version, NEWEST + timedelta(days=4000)) == "unsupported"
