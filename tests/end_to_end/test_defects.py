"""Bugs in the lab outside of HTTP, planted: each is one entry that says so, and everything else goes on."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pfxlab.connector_sim import recrypt, service
from pfxlab.connector_sim.eventlog import HEALTH_UPLOAD_SUCCESS
from pfxlab.device_sim.client import DeviceClient
from pfxlab.device_sim.fleet import Fleet, Member
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.emulator.wire import connector as contract
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.pushes import Pushes
from tests.end_to_end.test_connector_faults import COUNT, lab, material, states, until, working

__all__ = ["lab", "material"]

SECRET = "hunter2-of-the-defect"


def breaking(sound: Callable[..., Any], when: Callable[[int, tuple[Any, ...]], bool]) -> Callable[..., Any]:
    """Return a function that breaks for calls that `when` picks by their number, from 1, and arguments."""
    calls = 0

    def broken(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if when(calls, arguments):
            raise RuntimeError(SECRET)
        return sound(*arguments, **named)

    return broken


def first(call: int, _: object) -> bool:
    """Pick the first call."""
    return call == 1


async def test_defect_while_a_lease_is_read(lab: Lab, material: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector that breaks while it reads a lease logs that as a bug once, and delivers when the lease has ended."""
    monkeypatch.setattr(contract, "read_work", breaking(contract.read_work, first))
    with lab.switched(connector_lease_seconds=1, connector_retry_seconds=0):
        await working(lab, material)
        await until(lambda: states(lab) == {"ready": COUNT})
    bugs = [event.text for event in lab.connector_events if "bug in the lab" in event.text]
    assert len(bugs) == 1
    assert bugs[0].startswith("bug in the lab: RuntimeError in broken, line")


async def test_defect_of_one_request_fails_it_alone(lab: Lab, material: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request on which the connector breaks fails with a reason that says it is a bug; the others are delivered."""
    picked: list[str] = []

    def one(_: int, arguments: tuple[Any, ...]) -> bool:
        picked.append(arguments[0].request_id)
        return bool(arguments[0].request_id == picked[0])

    monkeypatch.setattr(recrypt, "_envelop", breaking(recrypt._envelop, one))
    await working(lab, material)
    await until(lambda: states(lab) == {"ready": COUNT - 1, "failed": 1})
    (reason,) = {str(row["reason"]) for row in lab.cloud.store.rows("select reason from deliveries") if row["reason"]}
    told = {event.text for event in lab.connector_events if event.fields.get("request") == picked[0]}
    assert reason.startswith("InternalError")
    assert any(text.startswith("InternalError: bug in the lab: RuntimeError in broken, line") for text in told)
    assert SECRET not in str(lab.connector_events)


async def test_defect_of_a_heartbeat(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat that breaks is logged as a bug, and the next one is sent."""
    monkeypatch.setattr(service, "_checked", breaking(service._checked, lambda call, _: call == 2))
    await lab.start_connector()
    await until(lambda: any(event.id == HEALTH_UPLOAD_SUCCESS for event in lab.connector_events))
    texts = [event.text for event in lab.connector_events if "bug" in event.text]
    assert [text.partition(",")[0] for text in texts] == ["heartbeat not taken: bug in the lab: RuntimeError in broken"]


async def test_defect_of_a_check_in_after_a_push(caplog: pytest.LogCaptureFixture) -> None:
    """A check-in after a push that breaks is one line of the log, and the device is woken by the next push."""
    device, came = Mock(), []

    async def check_in(_: object) -> int:
        came.append(1)
        raise RuntimeError(SECRET)

    pushes = Pushes({"a": device}, check_in)
    for number in (1, 2):
        pushes.on_entry(Entry("", "intune", "sync asked for", "ok", None, {"device": device.identity.device_id}))
        await pushes.finish()
        assert len(came) == number
    bugs = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert [text.rpartition(": bug")[2].partition(",")[0] for text in bugs] == [
        " in the lab: RuntimeError in check_in"
    ] * 2


async def test_defect_of_one_device_leaves_its_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Devices on which the lab breaks are counted under the bug, which is logged once; the others check in."""

    class Sound:
        async def check_in(self) -> int:
            return 3

    def opened(_: Fleet, member: Member) -> Sound:
        if member.name.startswith("bad"):
            raise RuntimeError(SECRET)
        return Sound()

    monkeypatch.setattr(Fleet, "open", opened)
    client = DeviceClient("https://localhost:9", b"", None, None)  # type: ignore[arg-type]
    names = ["bad-1", "good-1", "bad-2", "good-2", "good-3"]
    done = await Fleet(tmp_path, client, 2).check_in([Member(name, "ios", "a@pfxlab.example") for name in names])
    (bug,) = set(done.outcomes) - {"ok"}
    assert (done.done, done.outcomes[bug], done.messages) == (3, 2, 9)
    assert bug.startswith("bug in the lab: RuntimeError in opened, line")
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == [f"device bad-1: {bug}"]
