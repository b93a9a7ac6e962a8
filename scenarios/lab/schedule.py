"""Lets lab time pass: devices check in when their schedule says so, connectors do what is due, in order of time."""

import contextlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.device_sim.schedule import APPLE, next_check_in
from pfxlab.emulator.store.delivery_states import State
from pfxlab.scenarios.lab.lab import Lab

_CONNECTORS = -1
"""The connectors' number on the agenda: below that of any device, so that they come first at the same moment."""


@dataclass(frozen=True)
class CheckIn:
    """A check-in: when, which device, how many messages it sent, or why it failed."""

    time: datetime
    device: str
    messages: int
    failed: str | None = None


def due(lab: Lab, device: Device, after: datetime) -> datetime | None:
    """Return when a device checks in next by its schedule; Apple devices do when the service sends a push.

    None for a device that has left management.
    """
    record = lab.cloud.devices.get(device.identity.device_id)
    if record is None or not device.managed:
        return None
    poll = APPLE if isinstance(device, AppleDevice) else device.enrolled.management.poll
    return next_check_in(poll, record.enrolled, after)


async def pass_time(lab: Lab, step: timedelta, devices: Sequence[Device] | None = None) -> list[CheckIn]:
    """Move the lab's clock forward; return the check-ins of the devices in that time, of all devices unless named.

    The clock is frozen afterwards. After each check-in, connectors process what it requested.
    """
    lab.clock.freeze()
    end, check_ins = lab.clock.now() + step, []
    taking_part = list(lab.devices.values()) if devices is None else list(devices)
    agenda = [
        (moment, n) for n, one in enumerate(taking_part) if (moment := due(lab, one, lab.clock.now())) is not None
    ]
    heapq.heapify(agenda)
    while (coming := _next(lab, agenda)) is not None and coming[0] <= end:
        moment, number = coming
        lab.clock.freeze(moment)
        if number == _CONNECTORS:
            await lab.connectors_work()
            continue
        heapq.heappop(agenda)
        check_ins.append(await check_in(lab, taking_part[number]))
        again = due(lab, taking_part[number], moment)
        if again is not None:
            heapq.heappush(agenda, (again, number))
    lab.clock.freeze(end)
    await lab.connectors_work()
    return check_ins


async def pass_time_seldom(lab: Lab, step: timedelta, every: timedelta) -> list[CheckIn]:
    """Move the clock forward as `pass_time`; the devices are mostly off, and all check in together at an interval."""
    lab.clock.freeze()
    end, check_ins = lab.clock.now() + step, []
    while (moment := lab.clock.now() + every) <= end:
        lab.clock.freeze(moment)
        await lab.connectors_work()
        check_ins += [await check_in(lab, device) for device in list(lab.devices.values()) if device.managed]
    lab.clock.freeze(end)
    await lab.connectors_work()
    return check_ins


def _next(lab: Lab, agenda: list[tuple[datetime, int]]) -> tuple[datetime, int] | None:
    """Return the next event: the first check-in, or work for connectors that is due no later."""
    work = lab.cloud.deliveries.next_due(lab.clock.now()) if lab.connectors() else None
    first = agenda[0] if agenda else None
    if work is not None and (first is None or work <= first[0]):
        return work, _CONNECTORS
    return first


async def check_in(lab: Lab, device: Device) -> CheckIn:
    """Let a device check in now, and connectors process what it requested."""
    now, name = lab.clock.now(), device.hardware.device_name
    try:
        messages = await lab.check_in(device)
    except SessionFailed as error:
        return CheckIn(now, name, 0, str(error))
    finally:
        await lab.connectors_work()
    return CheckIn(now, name, messages)


async def settle(lab: Lab, most: int = 20) -> int:
    """Do everything that is due now; return how many check-ins that took.

    Devices for which the service has work check in as after a push, and connectors process requests, until nothing is
    left to do or nothing changes any more. No time passes.
    """
    check_ins = 0
    await lab.connectors_work()
    for _ in range(most):
        before, waiting = _progress(lab), _waiting(lab)
        for name in waiting:
            check_ins += 1
            # A device that cannot check in now does so by its schedule.
            with contextlib.suppress(SessionFailed):
                await lab.check_in(lab.devices[name])
        await lab.connectors_work()
        if not waiting or _progress(lab) == before:
            break
    return check_ins


_FOR_DEVICE = (State.WANTED, State.READY, State.OFFERED, State.REMOVING)


def _waiting(lab: Lab) -> list[str]:
    """Return the names of devices for which the service has work."""
    cloud = lab.cloud
    return [
        name
        for name, device in lab.devices.items()
        if device.managed
        and (
            any(d.state in _FOR_DEVICE for d in cloud.deliveries.of_device(device.identity.device_id))
            or cloud.devices.leaving(device.identity.device_id)
        )
    ]


def _progress(lab: Lab) -> list[dict[str, object]]:
    """Return the state that check-ins and connectors change; if it stays the same, another round would be useless."""
    cloud = lab.cloud
    return cloud.deliveries.progress() + cloud.commands.progress()
