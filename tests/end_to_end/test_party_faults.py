"""Faults of connectors and devices: each kind, its effect on the certificate, and the delivery afterwards."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pfxlab.connector_sim.eventlog import UPLOAD_SUCCESS
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.faults.kinds import CONNECTOR, DEVICE, HTTP, KINDS
from pfxlab.emulator.faults.plan import read_fault
from pfxlab.emulator.graph import injected
from pfxlab.emulator.lab import http_faults
from pfxlab.emulator.lab.causes import REMEDIES
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.lab.chain import deliveries_of
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.mail.authority import CertificatePlan
from pfxlab.scenarios.parties import faulty_connector, faulty_device
from tests.conftest import KEYS, new_lab

USER = "user@pfxlab.example"
PLAN = CertificatePlan("mail", IntendedPurpose.smimeEncryption, PaddingScheme.oaepSha512, 1, 365, legacy=True)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a world over a stepped lab, with a connector and a certificate imported for the lab's user."""
    config = Config(switches=Switches(connector_retry_seconds=60))
    lab = new_lab(tmp_path / "lab", config, stepped=True)
    lab.new_key = KEYS
    lab.clock.freeze()
    async with lab, World(lab).opened() as made:
        await lab.start_connector()
        made.certificates.issue("mail", USER, PLAN)
        await made.certificates.import_named("mail")
        yield made


async def device(world: World, platform: str = "ios", **more: Any) -> str:
    """Enrol a device whose platform has a profile; return its name."""
    await world.profiles.create(f"{platform} mail", platform, "smimeEncryption", ["Mail users"], [])
    await world.devices.enroll(platform, platform, USER, **more)
    return platform


def state(world: World, name: str) -> tuple[State, str]:
    """Return state and reason of the device's only delivery."""
    (delivery,) = deliveries_of(world.lab, [world.devices.get(name)])
    return delivery.state, delivery.reason or ""


def cause(world: World, name: str, certificate: str = "mail") -> str:
    """Return the lab's explanation, which must be a cause that the table lists for the faults that struck."""
    (told,) = world.explain(USER, name, certificate)
    found = "arrived" if told.broken is None else told.broken.code
    struck = [planned.fault.kind for planned in world.lab.cloud.faults.all() if planned.struck]
    if struck and found != "arrived":
        assert found in {code for kind in struck for code in KINDS[kind].causes}, (found, struck)
    return found


def marks(world: World, kind: str) -> int:
    """Return how often a kind stands in the journal."""
    return world.lab.cloud.journal.count(event="fault injected", kind=kind)


def test_every_cause_of_a_fault_is_one_of_explain() -> None:
    """Each cause in the table of faults is a cause that `explain` knows, and each fault of a device has one."""
    assert {code for kind in KINDS.values() for code in kind.causes} <= set(REMEDIES)
    assert [name for name, kind in KINDS.items() if kind.party == DEVICE and not kind.causes] == []


def test_every_kind_is_executed_by_its_party() -> None:
    """Each kind in the table of faults is executed by its party, and no party executes another."""
    executed = {
        HTTP: {*injected.EXECUTORS, *http_faults.EXECUTORS},
        CONNECTOR: {*faulty_connector.EXECUTORS},
        DEVICE: {*faulty_device.EXECUTORS},
    }
    assert executed == {party: {n for n, kind in KINDS.items() if kind.party == party} for party in executed}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("key_missing", "KeyNotFound"),
        ("wrong_key", "DecryptFailed"),
        ("hsm_down", "HsmUnavailable"),
        ("pin_refused", "PinRefused"),
    ],
)
async def test_key_that_cannot_be_used(world: World, kind: str, code: str) -> None:
    """A connector whose key fails twice reports the reason, tries again when it is due, and then delivers."""
    phone = await device(world)
    with world.faults.during(kind, times=2) as struck:
        await world.settle()
        assert (state(world, phone)[0], cause(world, phone)) == (State.REQUESTED, code)
        assert state(world, phone)[1].startswith(f"{code}: expected")
        await world.pass_time(MINUTE)
        assert struck() == 2
    await world.pass_time(3 * MINUTE)
    await world.settle()
    assert (world.holds(phone), marks(world, kind), cause(world, phone)) == (["mail"], 2, "arrived")


async def test_key_fault_for_one_certificate(world: World) -> None:
    """A fault for one certificate leaves the others of the same batch alone."""
    phone = await device(world)
    other = world.certificates.issue("other", USER, PLAN)
    await world.certificates.import_named("other")
    with world.faults.during("wrong_key", certificate=other.thumbprint, times="always"):
        await world.settle()
        assert world.holds(phone) == ["mail"]


async def test_offline_connector(world: World) -> None:
    """A connector without network leases nothing, counts as inactive after an hour, and catches up afterwards."""
    phone = await device(world)
    await world.lab.connectors_work()
    with world.faults.during("offline", actor="main", times="always"):
        await world.settle()
        assert (state(world, phone)[0], cause(world, phone)) == (State.REQUESTED, "ConnectorBusy")
        await world.pass_time(timedelta(hours=2))
        assert cause(world, phone) == "ConnectorInactive"
    await world.settle()
    assert world.holds(phone) == ["mail"]


async def test_offline_ends_a_poll_that_waits(lab: Lab) -> None:
    """A connector with a long poll loses its connection at once when the network goes down."""
    connector = await lab.start_connector()
    world = World(lab)
    await lab.device("ios", USER)
    async with world.opened():
        world.certificates.issue("mail", USER, PLAN)
        await world.profiles.create("ios mail", "ios", "smimeEncryption", ["Mail users"], [])
        await world.certificates.import_named("mail")
        with world.faults.during("offline", times="always") as struck:
            (phone,) = lab.devices.values()
            await lab.check_in(phone)
            assert not await lab.connectors_work(seconds=0.5)
            assert [d.state for d in deliveries_of(lab, [phone])] == [State.REQUESTED]
            assert struck() > 0
        connector.interrupt()
        assert await lab.connectors_work()
        await lab.check_in(phone)
        assert world.explain(USER)[0].arrived


async def test_slow_hsm(world: World) -> None:
    """A slow HSM delays a batch by the configured seconds and changes nothing else."""
    phone, loop = await device(world), asyncio.get_running_loop()
    world.faults.plan(read_fault({"kind": "slow_hsm", "seconds": 0.3}))
    begin = loop.time()
    await world.settle()
    assert loop.time() - begin >= 0.3
    assert world.holds(phone) == ["mail"]


@pytest.mark.parametrize(
    ("platform", "reason", "code"),
    [("ios", "1006", "EncryptedForAnotherKey"), ("windows", "NTE_BAD_DATA", "EncryptedForAnotherKey")],
)
async def test_corrupt_result(world: World, platform: str, reason: str, code: str) -> None:
    """A damaged result is refused by the device with its own error, and arrives when requested again."""
    name = await device(world, platform)
    with world.faults.during("corrupt_result"):
        await world.settle()
    assert (state(world, name)[0], cause(world, name)) == (State.FAILED, code)
    assert reason in state(world, name)[1]
    await world.devices.request(name, "syncDevice")
    await world.check_in(name)
    await world.settle()
    assert world.holds(name) == ["mail"]


async def test_double_delivery(world: World) -> None:
    """A result uploaded twice counts once: the second is stale, and the device gets one certificate."""
    phone = await device(world)
    with world.faults.during("double_delivery") as struck:
        await world.settle()
        assert struck() == 1
    uploads = [event.text for event in world.lab.connector_events if event.id == UPLOAD_SUCCESS]
    assert uploads == ["1 results uploaded", "1 results uploaded"]
    assert world.holds(phone) == ["mail"]
    events = [e.event for e in world.lab.cloud.journal.entries() if e.fields.get("state") == "ready"]
    assert len(events) == 1


async def test_lost_device(world: World) -> None:
    """A lost device does not check in, even after a push; once found, it gets what was waiting."""
    phone = await device(world)
    with world.faults.during("lost", actor=phone, times="always"):
        assert (await world.check_in(phone)).failed == "ios does not answer: lost by fault-1"
        await world.pass_time(timedelta(hours=9))
        assert (world.holds(phone), cause(world, phone)) == ([], "NotAskedYet")
    await world.settle()
    assert world.holds(phone) == ["mail"]


@pytest.mark.parametrize(
    ("platform", "code"), [("ios", "DeviceBusy"), ("windows", "UserNotSignedIn"), ("androidForWork", "NotAskedYet")]
)
async def test_locked_device(world: World, platform: str, code: str) -> None:
    """A locked device defers what needs its keys, each platform in its own way, and installs it once unlocked."""
    name = await device(world, platform)
    with world.faults.during("not_now", times="always"):
        for _ in range(3):
            await world.check_in(name)
        assert (world.holds(name), cause(world, name)) == ([], code)
    await world.pass_time(timedelta(hours=9))
    await world.settle()
    assert world.holds(name) == ["mail"]


@pytest.mark.parametrize("platform", ["ios", "macos", "windows", "androidForWork"])
@pytest.mark.parametrize(
    ("kind", "code", "reasons"),
    [
        ("storage_full", "StorageFull", ("NSCocoaErrorDomain 640", "ERROR_DISK_FULL")),
        ("refuses", "DeviceRefused", ("MCMDMErrorDomain 12007", "NTE_PERM")),
    ],
)
async def test_device_that_does_not_install(
    world: World, platform: str, kind: str, code: str, reasons: tuple[str, str]
) -> None:
    """A full or refusing device reports its platform's error, and installs when asked again later."""
    name = await device(world, platform)
    with world.faults.during(kind, times="always"):
        await world.settle()
    assert (state(world, name)[0], cause(world, name)) == (State.FAILED, code)
    assert reasons[platform not in ("ios", "macos")] in state(world, name)[1]
    await world.devices.request(name, "syncDevice")
    await world.check_in(name)
    await world.settle()
    assert world.holds(name) == ["mail"]


async def test_overlapping_check_ins(world: World) -> None:
    """A fault of one check-in ends with it, and leaves nothing on the device."""
    phone = await device(world)
    with world.faults.during("not_now", times="always"), world.faults.during("wrong_os", times="always"):
        await asyncio.gather(*(world.check_in(phone) for _ in range(4)))
    one = world.devices.get(phone)
    assert isinstance(one, AppleDevice)
    assert (one.locked, one.trouble, one.hardware.os_version) == (False, None, "18.1")


async def test_fault_waits_for_something_to_install(world: World) -> None:
    """A device that has nothing to install spends no fault on that."""
    phone = await device(world)
    await world.settle()
    with world.faults.during("refuses") as struck:
        await world.check_in(phone)
        assert struck() == 0


async def test_wrong_os(world: World) -> None:
    """An iPhone with an old version for one check-in refuses a PFX with AES, which its own version accepts."""
    phone = await device(world)
    modern = CertificatePlan("aes", IntendedPurpose.smimeEncryption, PaddingScheme.oaepSha512, 1, 365, legacy=False)
    world.certificates.issue("aes", USER, modern)
    await world.certificates.import_named("aes")
    with world.faults.during("wrong_os", os_version="12.5", times="always"):
        await world.settle()
        assert cause(world, phone, "aes") == "WrongPassword"
    assert world.holds(phone) == ["mail"]
    assert world.devices.get(phone).hardware.os_version == "18.1"
    await world.devices.request(phone, "syncDevice")
    await world.check_in(phone)
    await world.settle()
    assert world.holds(phone) == ["aes", "mail"]
