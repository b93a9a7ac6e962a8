"""Throttling. Expected values: reference graph-intune 5.9 and self-check 11."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.config import Config, Switches
from emulator.graph.throttling import DOCUMENTED, Limits, Throttle
from scenarios.lab import Lab
from tests.cloud.graph import PFX, admin, record


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.sampled_from("ab")), max_size=120))
def test_no_window_holds_more_than_its_limit(arrivals: list[tuple[float, bool, str]]) -> None:
    """Whatever comes when, no 20 seconds let more pass than the limits, and a request that waits as told does pass."""
    limits, now = Limits(app_writes=3, app_any=6, tenant_writes=5, tenant_any=9), 0.0
    throttle, passed = Throttle(limits), list[tuple[float, bool, str]]()
    for pause, write, app in arrivals:
        now += pause
        wait = throttle.wait_seconds(now, "t", app, write=write)
        if wait is not None:
            assert 0 < wait <= 20
            now += wait + 0.001
            assert throttle.wait_seconds(now, "t", app, write=write) is None
        passed.append((now, write, app))
        recent = [(w, a) for at, w, a in passed if at > now - 20]
        assert len(recent) <= limits.tenant_any
        assert sum(w for w, _ in recent) <= limits.tenant_writes
        for name in "ab":
            assert sum(a == name for _, a in recent) <= limits.app_any
            assert sum(w for w, a in recent if a == name) <= limits.app_writes


def test_limits_are_the_documented_ones() -> None:
    """The limits are Microsoft's for device configurations."""
    assert Limits(app_writes=100, app_any=1000, tenant_writes=200, tenant_any=2000) == DOCUMENTED


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
    """The 101st write in 20 seconds is a 429 in Intune's form, with the header the switch asks for; 20 s later it passes."""
    switches = Switches(throttling="documented", retry_after=variant)
    async with Lab(tmp_path, Config(switches=switches)) as lab:
        graph = await admin(lab)
        lab.clock.freeze()
        for number in range(100):
            requests = [{"id": "1", "method": "DELETE", "url": f"{PFX}/{number}"}]
            assert (await graph("POST", "/beta/$batch", {"requests": requests})).json["responses"][0]["status"] == 204
        reply = await graph("POST", PFX, record(lab))
        assert (reply.status, reply.code) == (429, "TooManyRequests")
        assert reply.envelope["Message"].startswith("An error has occurred")
        given = {n: reply.headers[n] for n in ("Retry-After", "x-ms-retry-after-ms") if n in reply.headers}
        assert given == headers
        assert (await graph("GET", PFX)).status == 200
        lab.clock.advance(timedelta(seconds=20))
        assert (await graph("POST", PFX, record(lab))).status == 201


async def test_throttling_is_off_by_default(lab: Lab) -> None:
    """Without the switch nothing is throttled."""
    graph = await admin(lab)
    lab.clock.freeze()
    assert {(await graph("DELETE", f"{PFX}/{number}")).status for number in range(120)} == {204}
