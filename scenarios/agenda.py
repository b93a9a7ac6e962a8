"""Lets lab time pass: devices check in when their schedule says so, connectors work in between, in order of time."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from device_sim.apple import AppleDevice
from device_sim.client import Device
from device_sim.errors import SessionFailed
from device_sim.schedule import APPLE, next_check_in
from scenarios import story
from scenarios.lab import Lab


@dataclass(frozen=True)
class CheckIn:
    """One check-in that took place: when, which device, how many messages it sent, or why it failed."""

    time: datetime
    device: str
    messages: int
    failed: str | None = None


def due(lab: Lab, device: Device, after: datetime) -> datetime | None:
    """Return when a device checks in next: by its own schedule, Apple devices when the service pushes.

    None for a device that has left management.
    """
    record = lab.emulator.cloud.devices.get(device.identity.device_id)
    if record is None or not device.managed:
        return None
    poll = APPLE if isinstance(device, AppleDevice) else device.enrolled.management.poll
    return next_check_in(poll, record.enrolled, after)


async def pass_time(lab: Lab, step: timedelta, devices: Sequence[Device] | None = None) -> list[CheckIn]:
    """Move the lab's clock forward; return the check-ins of the devices, all unless named, that fell into that time.

    The clock stands still afterwards. After each check-in connectors finish what it asked for.
    """
    lab.clock.freeze()
    end, took_place = lab.clock.now() + step, []
    taking_part = list(lab.devices.values()) if devices is None else list(devices)
    agenda = [
        (moment, n) for n, one in enumerate(taking_part) if (moment := due(lab, one, lab.clock.now())) is not None
    ]
    heapq.heapify(agenda)
    while agenda and agenda[0][0] <= end:
        moment, number = heapq.heappop(agenda)
        device = taking_part[number]
        lab.clock.freeze(moment)
        took_place.append(await _check_in(lab, device))
        again = due(lab, device, moment)
        if again is not None:
            heapq.heappush(agenda, (again, number))
    lab.clock.freeze(end)
    return took_place


async def _check_in(lab: Lab, device: Device) -> CheckIn:
    now, name = lab.clock.now(), device.hardware.device_name
    try:
        messages = await device.check_in()
    except SessionFailed as error:
        return CheckIn(now, name, 0, str(error))
    if lab.connector is not None:
        await story.wait_for_connector(lab, [device])
    return CheckIn(now, name, messages)
