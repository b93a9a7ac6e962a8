"""The control API over HTTP."""

from typing import Any

import pytest

from scenarios.lab import Lab
from tests.cloud.graph import PFX, Raw, admin, record

SWITCHES = "/lab/v1/switches"


async def test_switch_holds_from_the_next_request_on(lab: Lab) -> None:
    """A switch set over the control API changes what Graph answers at once, and all others keep their values."""
    control, graph = Raw(lab, lab.emulator.control_token), await admin(lab)
    before = (await control("GET", SWITCHES)).json
    assert before["duplicate_post"] == "reject400"
    await graph("POST", PFX, record(lab))
    assert (await graph("POST", PFX, record(lab))).status == 400
    changed = (await control("PATCH", SWITCHES, {"duplicate_post": "conflict409"})).json
    assert changed == {**before, "duplicate_post": "conflict409"}
    assert (await graph("POST", PFX, record(lab))).status == 409


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cheese": 1}, "got cheese"),
        ({"page_size": "x"}, "expected int from 1"),
        ({"page_size": 0}, "expected int from 1"),
        ({"page_size": 10**30}, "expected int"),
        ({"connector_lease_seconds": float("inf")}, "expected float"),
        ([], "expected a JSON object, got list"),
    ],
)
async def test_bad_switch_changes_nothing(lab: Lab, changes: Any, said: str) -> None:
    """An unknown switch, a wrong value or another body is refused with what was expected, and nothing is set."""
    control = Raw(lab, lab.emulator.control_token)
    before = (await control("GET", SWITCHES)).json
    reply = await control("PATCH", SWITCHES, changes)
    assert (reply.status, reply.code) == (400, "BadSwitch")
    assert said in reply.message
    assert (await control("GET", SWITCHES)).json == before


async def test_control_needs_its_token(lab: Lab) -> None:
    """Neither nobody nor a Graph token may read or set switches."""
    for client in (Raw(lab, None), await admin(lab)):
        assert (await client("GET", SWITCHES)).status == 401
        assert (await client("PATCH", SWITCHES, {"page_size": 1})).status == 401
