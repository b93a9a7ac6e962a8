"""One server for a whole test session, in a thread of its own."""

import asyncio
import tempfile
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.config import Config
from pfxlab.scenarios.control.lab_driver import LabDriver
from pfxlab.scenarios.lab.key_cache import key_pool, lay_out
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.testing.lab import TestLab


class LabSession:
    """One lab in its own thread, with a connector that works on demand. Use it in a `with` block."""

    def __init__(self, seed: int = 7, at: datetime | None = None) -> None:
        self._seed, self._at = seed, at
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pfxlab", daemon=True)
        self._folder = tempfile.TemporaryDirectory(prefix="pfxlab-")

    def __enter__(self) -> TestLab:
        """Start it; with cached keys (scenarios/lab/key_cache.py) it is ready in a fraction of a second."""
        self._thread.start()
        try:
            return asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._end()
            raise

    async def _start(self) -> TestLab:
        folder = Path(self._folder.name)
        lay_out(folder)
        now = self._at or LabClock().now().replace(microsecond=0)
        lab = Lab(folder, replace(Config(), seed=self._seed), at=now, stepped=True)
        lab.new_key = key_pool()
        self._world = World(lab)
        lab.emulator.driver = LabDriver(self._world)
        await lab.start()
        await lab.start_connector()
        await lab.connectors_work()
        await self._world.begin_here()
        return TestLab(self._world, self._loop, folder)

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its folder."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    async def _stop(self) -> None:
        await self._world.close()
        await self._world.lab.stop()
