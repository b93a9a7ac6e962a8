"""Opens a lab for a command: with the requested parts, a control API for all of them, and a baseline for `reset`."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

from pfxlab.emulator.wire.files.damaged import Damaged
from pfxlab.scenarios.control.lab_driver import LabDriver
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.world import World

_PLATFORMS: Final = ("ios", "macos", "windows")
_LARGEST_BASELINE: Final = 256 * 1024 * 1024


@contextlib.asynccontextmanager
async def open_lab(lab: Lab, parts: Sequence[str] = (), port: int = 0) -> AsyncIterator[World]:
    """Start a lab with its parts, driven through the control API; stop everything when the block ends.

    Raises:
        PortTaken: the port is in use.

    """
    world = World(lab)
    world.parts = tuple(parts)
    lab.emulator.driver = LabDriver(world)
    try:
        await lab.start(port)
        await _start_parts(lab, parts)
        if lab.size() <= _LARGEST_BASELINE:
            try:
                await world.begin_here()
            except OSError as error:
                # An entry that cannot be read takes the way back, and nothing else.
                reason = f"`reset` cannot work: {error}"
                lab.cloud.journal.record("lab", "beginning not kept", outcome="failed", reason=reason)
        async with world.opened():
            yield world
    finally:
        await lab.stop()


async def _start_parts(lab: Lab, parts: Sequence[str]) -> None:
    if "connector" in parts:
        # Damaged entries are noted by the lab, which goes on without them.
        with contextlib.suppress(Damaged):
            await lab.start_connector()
    if "devices" in parts:
        lab.push_when_due()
        for platform in _PLATFORMS:
            with contextlib.suppress(Damaged):
                await lab.check_in(await lab.device(platform, lab.operator.credentials.user_upn))
