"""Check-ins of the lab's own devices, with the faults that were planned for them."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final
from weakref import WeakKeyDictionary

from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.device_sim.omadm.session import OmaDmDevice
from pfxlab.device_sim.trouble import Trouble
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.faults.apply import mark
from pfxlab.emulator.faults.kinds import DEVICE
from pfxlab.emulator.faults.plan import Occasion, Planned
from pfxlab.emulator.store.delivery_states import State

_TROUBLES: Final = {"refuses": Trouble.REFUSES, "storage_full": Trouble.STORAGE_FULL}


_LOCKS: "WeakKeyDictionary[Device, asyncio.Lock]" = WeakKeyDictionary()
"""One for each device: what befalls one check-in must be over when the next begins."""


async def check_in(cloud: Cloud, device: Device, name: str = "") -> int:
    """Let a device check in, with what befalls it; return how many messages it sent.

    Raises:
        SessionFailed: as the device's own check-in, or it is lost.

    """
    async with _LOCKS.setdefault(device, asyncio.Lock()):
        if not cloud.faults.any:
            return await device.check_in()
        return await _with_faults(cloud, device, name)


async def _with_faults(cloud: Cloud, device: Device, name: str) -> int:
    occasion = _occasion(cloud, device, name)
    gets, asks = _has(cloud, device, *_TO_INSTALL), _has(cloud, device, State.WANTED, *_TO_INSTALL)
    lost = _struck(cloud, occasion, device, "lost")
    if lost is not None:
        raise SessionFailed(f"{device.hardware.device_name} does not answer: lost by {lost.id}")
    with contextlib.ExitStack() as stack:
        # What concerns installing waits for a check-in in which there is something to install.
        if asks and _struck(cloud, occasion, device, "not_now") is not None:
            stack.enter_context(_locked(device))
        trouble = _struck(cloud, occasion, device, *_TROUBLES) if gets else None
        if trouble is not None:
            device.trouble = _TROUBLES[trouble.fault.kind]
            stack.callback(setattr, device, "trouble", None)
        other = _struck(cloud, occasion, device, "wrong_os") if gets else None
        if other is not None:
            stack.enter_context(_running(device, str(other.fault.settings["os_version"])))
        return await device.check_in()


_TO_INSTALL: Final = (State.READY, State.OFFERED, State.REMOVING)


def _has(cloud: Cloud, device: Device, *states: State) -> bool:
    """Return whether a delivery of a device is in one of these states."""
    return any(d.state in states for d in cloud.deliveries.of_device(device.identity.device_id))


def _occasion(cloud: Cloud, device: Device, name: str) -> Occasion:
    deliveries = cloud.deliveries.of_device(device.identity.device_id)
    actor = f"{name} {device.hardware.device_name} {device.identity.device_id} {device.hardware.platform}"
    return Occasion(DEVICE, actor=actor, certificate=" ".join(sorted(d.thumbprint for d in deliveries)))


def _struck(cloud: Cloud, occasion: Occasion, device: Device, *kinds: str) -> Planned | None:
    planned = cloud.faults.strike(occasion, kinds)
    if planned is not None:
        mark(cloud.journal, planned, device=device.identity.device_id)
    return planned


@contextlib.contextmanager
def _locked(device: Device) -> Iterator[None]:
    if isinstance(device, AppleDevice):
        before, device.locked = device.locked, True
        try:
            yield
        finally:
            device.locked = before
    elif isinstance(device, AndroidDevice):
        paused, device.owner.work_profile_paused = device.owner.work_profile_paused, True
        try:
            yield
        finally:
            device.owner.work_profile_paused = paused
    else:
        with _signed_out(device):
            yield


@contextlib.contextmanager
def _signed_out(device: OmaDmDevice) -> Iterator[None]:
    before, device.user_active = device.user_active, False
    try:
        yield
    finally:
        device.user_active = before


@contextlib.contextmanager
def _running(device: Device, os_version: str) -> Iterator[None]:
    device.run(os_version)
    try:
        yield
    finally:
        device.run(None)
