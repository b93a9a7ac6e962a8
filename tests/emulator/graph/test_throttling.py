"""Throttling. Expected values: sources.md#throttling-limits, sources.md#throttling-guidance."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.graph.throttling import DOCUMENTED, Limits, Request, Throttle, resource_units, throttle_of
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import movable_wall, new_lab
from tests.emulator.graph.client import PFX, admin, record


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.sampled_from("ab")), max_size=120))
def test_no_window_exceeds_its_limit(arrivals: list[tuple[float, bool, str]]) -> None:
    """No 20 seconds exceed the limits, whatever the requests, and a request after its Retry-After succeeds."""
    limits, now = Limits(20.0, app_writes=3, app_any=6, tenant_writes=5, tenant_any=9), 0.0
    throttle, passed = Throttle({"configuration": limits}), list[tuple[float, bool, str]]()
    for pause, write, app in arrivals:
        now += pause
        request = Request("configuration", "t", app, write)
        wait = throttle.judge(now, request).wait
        if wait is not None:
            assert 0 < wait <= 20
            now += wait + 0.001
            assert throttle.judge(now, request).wait is None
        passed.append((now, write, app))
        recent = [(w, a) for at, w, a in passed if at > now - 20]
        assert len(recent) <= 9
        assert sum(w for w, _ in recent) <= 5
        for name in "ab":
            assert sum(a == name for _, a in recent) <= 6
            assert sum(w for w, a in recent if a == name) <= 3


def test_limits_are_the_documented_ones() -> None:
    """The limits are Microsoft's: in 20 seconds for Intune's two groups, in resource units of 10 seconds for the directory."""
    shown = {
        name: (one.seconds, one.app_writes, one.app_any, one.tenant_writes, one.tenant_any)
        for name, one in DOCUMENTED.items()
    }
    assert shown == {
        "configuration": (20, 100, 1000, 200, 2000),
        "devices": (20, 200, 2000, 400, 4000),
        "directory": (10, None, 3500, None, None),
    }


@pytest.mark.parametrize(
    ("path", "options", "units"),
    [
        ("users", {}, 2),
        ("users", {"select": True}, 1),
        ("users", {"select": True, "top": 5}, 1),
        ("groups/x/members", {}, 3),
        ("groups/x/members", {"expand": True}, 4),
        ("groups/x/transitiveMembers", {"top": 19}, 4),
        ("groups/x/transitiveMembers", {"top": 20}, 5),
    ],
)
def test_directory_requests_have_their_cost(path: str, options: dict[str, Any], units: int) -> None:
    """Costs are those of the throttling page: a base by resource, less for $select and a small $top, more for $expand."""
    assert resource_units(path, **{"select": False, "expand": False, "top": None, **options}) == units


async def test_directory_shows_its_limits(tmp_path: Path) -> None:
    """The directory shows each request's cost, from a share of 0.8 that share, then throttles for a time."""
    async with new_lab(tmp_path, Config(switches=Switches(throttling="documented"))) as lab:
        graph, made, wall = await admin(lab), lab.operator.credentials, movable_wall(lab)
        wall.freeze()
        first = await graph("GET", "/beta/users")
        assert (first.headers["x-ms-resource-unit"], "x-ms-throttle-limit-percentage" in first.headers) == ("2", False)
        now = wall.now().timestamp()
        busy = Request("directory", made.tenant_id, made.admin_client_id, False, 3495)
        assert throttle_of(lab.cloud).judge(now, busy).wait is None
        assert (await graph("GET", "/beta/users")).headers["x-ms-throttle-limit-percentage"] == "1.0"
        refused = await graph("GET", f"/beta/groups/{made.group_id}/members")
        assert (refused.status, refused.code, refused.message) == (429, "TooManyRequests", "Too many requests.")
        assert refused.headers["x-ms-throttle-information"] == "ResourceUnitLimitExceeded"
        assert refused.headers["x-ms-throttle-scope"].endswith(f"{made.admin_client_id}/{made.tenant_id}")
        wall.advance(timedelta(seconds=int(refused.headers["Retry-After"])))
        assert (await graph("GET", f"/beta/groups/{made.group_id}/members")).status == 200


@pytest.mark.parametrize(
    ("variant", "headers"),
    [
        ("integer", {"Retry-After": "20"}),
        ("fractional", {"Retry-After": "20.000"}),
        ("ms", {"x-ms-retry-after-ms": "20000"}),
        ("absent", {}),
    ],
)
async def test_write_101_waits(tmp_path: Path, variant: Any, headers: dict[str, str]) -> None:
    """The 101st write in 20 seconds gets 429 in Intune's form, with the header of the switch; 20 s later it succeeds."""
    switches = Switches(throttling="documented", retry_after=variant)
    async with new_lab(tmp_path, Config(switches=switches)) as lab:
        graph, wall = await admin(lab), movable_wall(lab)
        wall.freeze()
        for number in range(100):
            requests = [{"id": "1", "method": "DELETE", "url": f"{PFX.removeprefix('/beta')}/{number}"}]
            assert (await graph("POST", "/beta/$batch", {"requests": requests})).json["responses"][0]["status"] == 204
        reply = await graph("POST", PFX, record(lab))
        assert (reply.status, reply.code) == (429, "TooManyRequests")
        assert reply.envelope["Message"].startswith("An error has occurred")
        given = {n: reply.headers[n] for n in ("Retry-After", "x-ms-retry-after-ms") if n in reply.headers}
        assert given == headers
        assert (await graph("GET", PFX)).status == 200
        wall.advance(timedelta(seconds=20))
        assert (await graph("POST", PFX, record(lab))).status == 201


async def test_throttling_is_off_by_default(lab: Lab) -> None:
    """Without the switch nothing is throttled."""
    graph = await admin(lab)
    lab.clock.freeze()
    assert {(await graph("DELETE", f"{PFX}/{number}")).status for number in range(120)} == {204}
