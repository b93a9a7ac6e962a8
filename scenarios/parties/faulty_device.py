"""Check-ins of the lab's own devices, with the faults that were planned for them.

Each kind is a row of emulator/faults/kinds.py and a function in one of the tables at the end of this file.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.device_sim.trouble import Trouble
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.faults.apply import mark
from pfxlab.emulator.faults.kinds import DEVICE
from pfxlab.emulator.faults.plan import Occasion, Planned
from pfxlab.emulator.store.delivery_states import State

Executor: TypeAlias = Callable[[Device, Planned], AbstractContextManager[None]]
"""Changes a device for the length of one check-in; raises SessionFailed where the device does not check in at all."""

_TO_INSTALL: Final = (State.READY, State.OFFERED, State.REMOVING)

_LOCKS: "WeakKeyDictionary[Device, asyncio.Lock]" = WeakKeyDictionary()
"""One for each device: a fault of one check-in must be over when the next begins."""


async def check_in(cloud: Cloud, device: Device, name: str = "") -> int:
    """Let a device check in, with the faults that apply to it; return how many messages it sent.

    Raises:
        SessionFailed: as the device's own check-in, or it is lost.

    """
    async with _LOCKS.setdefault(device, asyncio.Lock()):
        if not cloud.faults.any:
            return await device.check_in()
        return await _with_faults(cloud, device, name)


async def _with_faults(cloud: Cloud, device: Device, name: str) -> int:
    occasion = _occasion(cloud, device, name)
    # What concerns installing waits for a check-in in which there is something to install.
    gets, asks = _has(cloud, device, *_TO_INSTALL), _has(cloud, device, State.WANTED, *_TO_INSTALL)
    places = ((NETWORK, True), (LOCKS, asks), (INSTALLATIONS, gets), (VERSIONS, gets))
    with contextlib.ExitStack() as stack:
        for executors, concerned in places:
            planned = _struck(cloud, occasion, device, executors) if concerned else None
            if planned is not None:
                stack.enter_context(executors[planned.fault.kind](device, planned))
        return await device.check_in()


def _has(cloud: Cloud, device: Device, *states: State) -> bool:
    """Return whether a delivery of a device is in one of these states."""
    return any(d.state in states for d in cloud.deliveries.of_device(device.identity.device_id))


def _occasion(cloud: Cloud, device: Device, name: str) -> Occasion:
    deliveries = cloud.deliveries.of_device(device.identity.device_id)
    actor = f"{name} {device.hardware.device_name} {device.identity.device_id} {device.hardware.platform}"
    return Occasion(DEVICE, actor=actor, certificate=" ".join(sorted(d.thumbprint for d in deliveries)))


def _struck(cloud: Cloud, occasion: Occasion, device: Device, kinds: Collection[str]) -> Planned | None:
    planned = cloud.faults.strike(occasion, kinds)
    if planned is not None:
        mark(cloud.journal, planned, device=device.identity.device_id)
    return planned


def _lost(device: Device, planned: Planned) -> AbstractContextManager[None]:
    raise SessionFailed(f"{device.hardware.device_name} does not answer: lost by {planned.id}")


def _not_now(device: Device, _: Planned) -> AbstractContextManager[None]:
    if isinstance(device, AppleDevice):
        return _set(device, "locked", True)
    if isinstance(device, AndroidDevice):
        return _set(device.owner, "work_profile_paused", True)
    return _set(device, "user_active", False)


def _refuses(device: Device, _: Planned) -> AbstractContextManager[None]:
    return _set(device, "trouble", Trouble.REFUSES)


def _storage_full(device: Device, _: Planned) -> AbstractContextManager[None]:
    return _set(device, "trouble", Trouble.STORAGE_FULL)


@contextlib.contextmanager
def _wrong_os(device: Device, planned: Planned) -> Iterator[None]:
    device.run(str(planned.fault.settings["os_version"]))
    try:
        yield
    finally:
        device.run(None)


@contextlib.contextmanager
def _set(owner: Any, name: str, value: object) -> Iterator[None]:
    """Give an attribute a value, and its former value back at the end."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


NETWORK: Final[Mapping[str, Executor]] = {"lost": _lost}
"""Kind → function for faults of any check-in."""

LOCKS: Final[Mapping[str, Executor]] = {"not_now": _not_now}
"""Kind → function for faults of check-ins in which the device installs or requests something."""

INSTALLATIONS: Final[Mapping[str, Executor]] = {"refuses": _refuses, "storage_full": _storage_full}
"""Kind → function for faults of check-ins in which the device installs something."""

VERSIONS: Final[Mapping[str, Executor]] = {"wrong_os": _wrong_os}
"""Kind → which version of its system the device runs when it is to install something."""

EXECUTORS: Final = {**NETWORK, **LOCKS, **INSTALLATIONS, **VERSIONS}
"""Every kind that a device executes."""
