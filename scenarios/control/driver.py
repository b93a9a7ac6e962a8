"""Drives a whole lab for the control API: the same verbs as scenarios have, snapshots kept as files of the lab."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pfxlab.emulator.faults.plan import Fault, Planned
from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.scenarios.lab import snapshot
from pfxlab.scenarios.lab.softhsm_missing import NoHsm
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.scenario import steps as vocabulary

_ENDING: Final = ".snapshot"


class LabDriver:
    """The control API's hand on a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def _folder(self) -> Path:
        return self.world.lab.folder / "snapshots"

    async def pass_time(self, step: timedelta) -> list[Mapping[str, Any]]:
        """Let time pass; return the check-ins that fell into it."""
        return [{**asdict(one), "time": one.time.isoformat()} for one in await self.world.pass_time(step)]

    async def settle(self) -> int:
        """Let everything happen that is due now."""
        return await self.world.settle()

    def left(self) -> int:
        """Return how many deliveries wait for a connector that does not take them."""
        return self.world.left()

    def plan_fault(self, fault: Fault) -> Planned:
        """Plan a fault from now on."""
        return self.world.plan_fault(fault)

    async def seed(self, steps: Sequence[Mapping[str, Any]]) -> list[str]:
        """Carry out steps of a scenario; return one sentence for each.

        Raises:
            ValueError: a step that does not exist or cannot be done; those before it are done.

        """
        vocabulary.check(list(steps))
        told = []
        for number, step in enumerate(steps, 1):
            try:
                told.append(await vocabulary.perform(self.world, step))
            except (ValueError, NoHsm) as error:
                raise vocabulary.StepFailed(f"step {number}, {next(iter(step))}: {error}") from None
        return told

    async def take(self, name: str) -> None:
        """Keep the present state in a file of the lab's folder."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        snapshot.write(self._folder / f"{name}{_ENDING}", await self.world.take())

    def snapshots(self) -> list[str]:
        """Return the names of what was kept."""
        return sorted(path.name.removesuffix(_ENDING) for path in self._folder.glob(f"*{_ENDING}"))

    async def restore(self, name: str) -> None:
        """Bring the lab back to a state that was kept.

        Raises:
            BadSnapshot: there is none of that name, or it is damaged; nothing was changed.

        """
        if name not in self.snapshots():
            raise BadSnapshot(f"expected a snapshot ({', '.join(self.snapshots()) or 'none'}), got {name[:80]!r}")
        await self.world.restore(snapshot.read(self._folder / f"{name}{_ENDING}"))

    async def reset(self) -> None:
        """Bring the lab back to its beginning."""
        await self.world.reset()

    def note(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Remember what the control API was asked to change, with how many requests had come before."""
        asked = {"afterRequests": self.world.requests(), "method": method, "path": path, "body": dict(body)}
        self.world.asked.append({**asked, "byCommand": self.world.driven_by_command})

    async def bundle(self) -> bytes:
        """Return the reproduction bundle of this run."""
        from pfxlab.scenarios.control import bundle

        return bundle.pack(bundle.of_world(self.world))
