"""The control API's driver for a whole lab: the verbs of scenarios, and snapshots as files in the lab's folder."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from pfxlab.emulator.faults.plan import Fault, Planned
from pfxlab.emulator.lab.verbs import VerbFailed
from pfxlab.emulator.store.delivery_states import State
from pfxlab.scenarios.lab.softhsm_missing import NoHsm
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.scenario import steps


class LabDriver:
    """Implements emulator/lab/driver.py for a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def pass_time(self, step: timedelta) -> list[Mapping[str, Any]]:
        """Let time pass; return the check-ins in that time."""
        return [{**asdict(one), "time": one.time.isoformat()} for one in await self.world.pass_time(step)]

    async def settle(self) -> int:
        """Carry out everything that is due now; return the number of check-ins."""
        return await self.world.settle()

    def left(self) -> int:
        """Return how many deliveries still wait for a connector."""
        lab = self.world.lab
        return lab.cloud.deliveries.count(lab.operator.credentials.tenant_id, State.REQUESTED, State.LEASED)

    def plan_fault(self, fault: Fault) -> Planned:
        """Plan a fault from now on."""
        return self.world.faults.plan(fault)

    async def perform(self, step: Mapping[str, Any]) -> str:
        """Carry out a step of a scenario; return what happened in a sentence.

        Raises:
            VerbFailed: it could not be done, or something is not as expected.
            ValueError: an unknown name, or a moment out of range.

        """
        try:
            return await steps.perform(self.world, step)
        except NoHsm as error:
            raise VerbFailed(str(error)) from None

    async def take(self, name: str) -> None:
        """Keep the present state in a file of the lab's folder."""
        self.world.kept.write(name, await self.world.take())

    def snapshots(self) -> list[str]:
        """Return the names of what was kept."""
        return self.world.kept.names()

    async def restore(self, name: str) -> None:
        """Bring the lab back to a state that was kept.

        Raises:
            BadSnapshot: there is none of that name, or it is damaged; nothing was changed.

        """
        await self.world.restore(self.world.kept.read(name))

    async def reset(self) -> None:
        """Bring the lab back to its beginning."""
        await self.world.reset()

    def note(self, method: str, path: str, body: Any) -> None:
        """Record a change requested through the control API, with the number of Graph requests before it."""
        entry = {
            "afterRequests": self.world.requests(),
            "method": method,
            "path": path,
            "body": dict(body) if isinstance(body, Mapping) else body,
        }
        self.world.asked.append({**entry, "byCommand": self.world.driven_by_command})

    async def bundle(self) -> bytes:
        """Return the reproduction bundle of this run."""
        from pfxlab.scenarios.control import bundle

        return bundle.pack(bundle.of_world(self.world))
