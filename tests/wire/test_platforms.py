"""The table of platforms: everything that a row needs elsewhere exists."""

from pathlib import Path

import pytest

from pfxlab.device_sim.client import DEVICES
from pfxlab.emulator.graph.odata.metadata import csdl
from pfxlab.emulator.wire.platforms import APPLE, PLATFORMS, Channel
from pfxlab.emulator.wire.schemas import first_problem
from pfxlab.scenarios.parties.hardware import HARDWARE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_platform_is_complete(name: str) -> None:
    """A row's profile type has a JSON Schema and stands in `$metadata`, and a simulated device plays the platform."""
    row = PLATFORMS[name]
    entity = row.profile_type.rpartition(".")[2]
    assert first_problem(entity, {"displayName": 7}) is not None
    assert f'Name="{entity}"' in csdl("beta")
    assert HARDWARE[name].platform == name
    assert name in DEVICES
    assert bool(row.mde2_device_type) == (row.channel is Channel.OMA_DM)


def test_names_of_rows_are_those_of_no_other() -> None:
    """No two platforms share a profile type, an MDE2 device type or a portal name; Apple's are iPhones and Macs."""
    rows = list(PLATFORMS.values())
    assert len({row.profile_type for row in rows}) == len(rows)
    assert len({row.display_name for row in rows}) == len(rows)
    named = [row.mde2_device_type for row in rows if row.mde2_device_type]
    assert len(set(named)) == len(named)
    assert set(APPLE) == {"ios", "macos"}


def test_platforms_are_compared_by_name_in_their_own_modules_only() -> None:
    """No module of the cloud lists platforms; differences between platforms are in the table."""
    lists = ('("ios", "macos")', '("windows", "macos")', '"ios": "iOS')
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "emulator").rglob("*.py")
        if path.name != "platforms.py" and any(text in path.read_text() for text in lists)
    ]
    assert found == []
