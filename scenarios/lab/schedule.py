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
"""Stands for the connectors on the agenda; devices have their number. At one moment connectors come first."""


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
    record = lab.cloud.devices.get(device.identity.device_id)
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
    while (coming := _next(lab, agenda)) is not None and coming[0] <= end:
        moment, number = coming
        lab.clock.freeze(moment)
        if number == _CONNECTORS:
            await lab.connectors_work()
            continue
        heapq.heappop(agenda)
        took_place.append(await check_in(lab, taking_part[number]))
        again = due(lab, taking_part[number], moment)
        if again is not None:
            heapq.heappush(agenda, (again, number))
    lab.clock.freeze(end)
    await lab.connectors_work()
    return took_place


async def pass_time_seldom(lab: Lab, step: timedelta, every: timedelta) -> list[CheckIn]:
    """Move the clock forward as `pass_time`, with devices that are switched on now and then only, all at once."""
    lab.clock.freeze()
    end, took_place = lab.clock.now() + step, []
    while (moment := lab.clock.now() + every) <= end:
        lab.clock.freeze(moment)
        await lab.connectors_work()
        took_place += [await check_in(lab, device) for device in list(lab.devices.values()) if device.managed]
    lab.clock.freeze(end)
    await lab.connectors_work()
    return took_place


def _next(lab: Lab, agenda: list[tuple[datetime, int]]) -> tuple[datetime, int] | None:
    """Return what comes next: the first check-in, or work for connectors before it."""
    work = lab.cloud.deliveries.next_due(lab.clock.now()) if lab.connectors() else None
    first = agenda[0] if agenda else None
    if work is not None and (first is None or work <= first[0]):
        return work, _CONNECTORS
    return first


async def check_in(lab: Lab, device: Device) -> CheckIn:
    """Let a device check in now, and connectors do what that asks for."""
    now, name = lab.clock.now(), device.hardware.device_name
    try:
        messages = await lab.check_in(device)
    except SessionFailed as error:
        return CheckIn(now, name, 0, str(error))
    finally:
        await lab.connectors_work()
    return CheckIn(now, name, messages)


async def settle(lab: Lab, most: int = 20) -> int:
    """Let everything happen that is due at the present moment; return how many check-ins that took.

    Devices that the service has something for are woken as by a push, connectors work, until nothing is left to do
    or nothing changes any more. No time passes.
    """
    came = 0
    await lab.connectors_work()
    for _ in range(most):
        before, waiting = _picture(lab), _waiting(lab)
        for name in waiting:
            came += 1
            # One that cannot come now comes again when it can.
            with contextlib.suppress(SessionFailed):
                await lab.check_in(lab.devices[name])
        await lab.connectors_work()
        if not waiting or _picture(lab) == before:
            break
    return came


_FOR_DEVICE = (State.WANTED, State.READY, State.OFFERED, State.REMOVING)


def _waiting(lab: Lab) -> list[str]:
    """Return the names of devices that the service has something for."""
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


def _picture(lab: Lab) -> list[dict[str, object]]:
    """Return what check-ins and connectors change: where nothing changes, coming again would be no use."""
    cloud = lab.cloud
    return cloud.deliveries.progress() + cloud.commands.progress()
