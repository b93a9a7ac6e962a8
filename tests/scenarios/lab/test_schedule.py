"""Check-ins on the lab's clock: bursts after enrolment, every eight hours, at once on request."""

import asyncio
from datetime import timedelta

from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.schedule import pass_time
from pfxlab.scenarios.mail.authority import MailCertificate
from tests.end_to_end.test_life import UPN, bring, call, held, history

__all__ = ["history"]


async def test_day_of_a_pc_and_a_phone(lab: Lab) -> None:
    """On its first day a PC checks in 5 times in 15 minutes, 8 times in 2 hours and twice later, a phone 4 times and twice."""
    lab.clock.freeze()
    begin = lab.clock.now()
    devices = {await lab.device(platform, UPN): platform for platform in ("windows", "ios")}
    names = {device.hardware.device_name: platform for device, platform in devices.items()}
    came = await pass_time(lab, timedelta(hours=24))
    minutes = {
        platform: [round((one.time - begin) / timedelta(minutes=1)) for one in came if names[one.device] == platform]
        for platform in ("windows", "ios")
    }
    assert minutes["windows"] == [3, 6, 9, 12, 15, 30, 45, 60, 75, 90, 105, 120, 135, 615, 1095]
    assert minutes["ios"] == [15, 30, 45, 60, 540, 1020]
    assert [one.time for one in came] == sorted(one.time for one in came)
    assert lab.clock.now() == begin + timedelta(hours=24)


async def test_certificate_arrives_with_the_second_check_in(lab: Lab, history: list[MailCertificate]) -> None:
    """A certificate imported at noon is requested by the next check-in and installed by the one eight hours later."""
    await lab.start_connector()
    device = await lab.device("windows", UPN)
    await pass_time(lab, timedelta(days=1))
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        group = lab.operator.credentials.group_id
        await chain.assign_profile(client, "windows", IntendedPurpose.smimeEncryption, group)
    await bring(lab, history[0])
    (first,) = await pass_time(lab, timedelta(hours=8))
    assert [d.state for d in chain.deliveries_of(lab, [device])] == [State.READY]
    (second,) = await pass_time(lab, timedelta(hours=8))
    assert [d.state for d in chain.deliveries_of(lab, [device])] == [State.INSTALLED]
    assert second.time - first.time == timedelta(hours=8)
    assert second.messages > first.messages


async def test_sync_wakes_the_device(lab: Lab, history: list[MailCertificate]) -> None:
    """The action syncDevice in Graph makes the device check in at once, whatever its schedule."""
    device = await lab.device("ios", UPN)
    lab.push_when_due()
    lab.clock.advance(timedelta(minutes=5))
    path = f"/beta/deviceManagement/managedDevices/{device.identity.device_id}"
    before = (await call(lab, "GET", path))["lastSyncDateTime"]
    await call(lab, "POST", f"{path}/syncDevice", {})
    for _ in range(100):
        await asyncio.sleep(0.05)
        shown = await call(lab, "GET", path)
        if shown["lastSyncDateTime"] != before:
            break
    assert shown["lastSyncDateTime"] > before
    assert held(device) == []


async def test_failed_check_in_is_reported_and_repeated(lab: Lab) -> None:
    """A check-in that fails stands in the list with its reason, and the next one is on time all the same."""
    device = await lab.device("androidForWork", UPN)
    device.owner.work_profile_paused = True  # type: ignore[union-attr]
    (failed,) = await pass_time(lab, timedelta(minutes=4))
    assert failed.failed is not None
    assert "paused" in failed.failed
    device.owner.work_profile_paused = False  # type: ignore[union-attr]
    (came,) = await pass_time(lab, timedelta(minutes=3))
    assert (came.failed, came.messages) == (None, 1)


async def test_device_that_left_does_not_come(lab: Lab) -> None:
    """A device that has left management has no check-ins any more."""
    device = await lab.device("ios", UPN)
    await device.unenroll()
    assert await pass_time(lab, timedelta(days=1)) == []
