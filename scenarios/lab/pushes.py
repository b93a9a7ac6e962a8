"""Push notifications: wakes a device when the service has something for it, as APNs and WNS do."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pfxlab.device_sim.client import Device
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.emulator.wire.text import describe_defect

_LOG = logging.getLogger(__name__)
_ACTIONS: Final = ("sync asked for", "retire asked for", "wipe asked for")
_STATES: Final = ("wanted", "ready", "removing")
_DEBOUNCE: Final = 0.05
"""Real seconds from the first reason to the check-in: notifications that come close together wake a device once."""


class Pushes:
    """Check-ins started by pushes. `on_entry` subscribes to the journal."""

    def __init__(self, devices: Mapping[str, Device], check_in: Callable[[Device], Awaitable[int]]) -> None:
        """`devices`: those of the lab, by name, kept current by their owner."""
        self._devices, self._check_in = devices, check_in
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: set[str] = set()

    def on_entry(self, entry: Entry) -> None:
        """Wake the device of an entry that has work for it."""
        if entry.event not in _ACTIONS and entry.fields.get("state") not in _STATES:
            return
        device_id = entry.fields.get("device")
        device = next((one for one in self._devices.values() if one.identity.device_id == device_id), None)
        if device is not None and device.identity.device_id not in self._pending:
            self._pending.add(device.identity.device_id)
            task = asyncio.get_running_loop().create_task(self._wake(device))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self, seconds: float = 2.0) -> None:
        """Wait until every device that was woken has checked in, at most so many real seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def cancel(self) -> None:
        """Cancel every push that has not been carried out, before the lab changes to another state."""
        for task in list(self._tasks):
            task.cancel()
        self._pending.clear()

    async def _wake(self, device: Device) -> None:
        # The transaction that caused the push ends in the meantime.
        await asyncio.sleep(_DEBOUNCE)
        self._pending.discard(device.identity.device_id)
        # A device that cannot reach the service checks in with the next push.
        try:
            await self._check_in(device)
        except SessionFailed:
            return
        except Exception as error:
            name = device.hardware.device_name
            _LOG.error("check-in of %s after a push: %s", name, describe_defect(error))
