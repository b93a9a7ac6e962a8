"""What moves the world when the control API is asked to: the cloud alone, or a whole lab with connectors and devices.

The emulator knows no other party; whoever composes them hands in a driver of its own (scenarios/control/lab_driver.py).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pfxlab.emulator.faults.plan import Fault, Planned
from pfxlab.emulator.lab import snapshot
from pfxlab.emulator.lab.moments import within
from pfxlab.emulator.lab.snapshot import BadSnapshot, CloudState

if TYPE_CHECKING:
    from pfxlab.emulator.cloud import Cloud


_LARGEST = 64 * 1024 * 1024
"""Bytes of a database up to which its beginning is kept."""


class CannotDo(ValueError):
    """This lab has nothing that could do what was asked for; the text says what there is."""


class Driver(Protocol):
    """Moves everything that is not the cloud itself."""

    async def pass_time(self, step: timedelta) -> list[Mapping[str, Any]]:
        """Let time pass; return the check-ins that fell into it. The clock stands still afterwards."""
        ...

    async def settle(self) -> int:
        """Let everything happen that is due now; return how many check-ins that took."""
        ...

    def left(self) -> int:
        """Return how many deliveries wait for a connector that does not take them."""
        ...

    def plan_fault(self, fault: Fault) -> Planned:
        """Plan a fault from now on."""
        ...

    async def perform(self, step: Mapping[str, Any]) -> str:
        """Carry out a step of a scenario that verbs.py has let pass; return what happened in a sentence.

        Raises:
            VerbFailed: it could not be done, or something is not as expected.
            ValueError: a name that nothing has, or a moment that cannot be.

        """
        ...

    async def take(self, name: str) -> None:
        """Keep the present state under a name."""
        ...

    def snapshots(self) -> list[str]:
        """Return the names of what `take` kept."""
        ...

    async def restore(self, name: str) -> None:
        """Bring everything back to a state."""
        ...

    async def reset(self) -> None:
        """Bring everything back to the beginning."""
        ...

    def note(self, method: str, path: str, body: Any) -> None:
        """Remember what the control API was asked to change, for a bundle."""
        ...

    async def bundle(self) -> bytes:
        """Return the reproduction bundle of this run."""
        ...


class CloudDriver:
    """Drives a cloud that stands alone."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud
        self._kept: dict[str, CloudState] = {}
        self._begin = snapshot.take(cloud) if cloud.store.size() <= _LARGEST else None

    async def pass_time(self, step: timedelta) -> list[Mapping[str, Any]]:
        """Move the clock; nobody checks in."""
        clock = self._cloud.clock
        end = within(clock.now() + step)
        clock.freeze(end)
        return []

    async def settle(self) -> int:
        """Do nothing: nothing is due in a cloud that nobody calls."""
        return 0

    def left(self) -> int:
        """Return 0: nobody asks for deliveries."""
        return 0

    def plan_fault(self, fault: Fault) -> Planned:
        """Plan a fault from now on."""
        planned = self._cloud.faults.add(fault)
        self._cloud.journal.record("lab", "fault planned", fault=planned.id, kind=fault.kind)
        return planned

    async def perform(self, step: Mapping[str, Any]) -> str:
        """Refuse: the steps of a scenario need a whole lab.

        Raises:
            CannotDo: always.

        """
        raise CannotDo("expected a lab with devices and connectors, got the cloud alone; start it with `pfxlab up`")

    async def take(self, name: str) -> None:
        """Keep the present state in memory."""
        self._kept[name] = snapshot.take(self._cloud)

    def snapshots(self) -> list[str]:
        """Return the names of what is kept."""
        return sorted(self._kept)

    async def restore(self, name: str) -> None:
        """Bring the cloud back to a state.

        Raises:
            BadSnapshot: there is none of that name.

        """
        if name not in self._kept:
            raise BadSnapshot(f"expected a snapshot ({', '.join(self.snapshots()) or 'none'}), got {name[:80]!r}")
        snapshot.restore(self._cloud, self._kept[name])

    async def reset(self) -> None:
        """Bring the cloud back to its beginning."""
        if self._begin is None:
            raise BadSnapshot("expected a beginning to go back to, got a lab that began with too much data to keep")
        snapshot.restore(self._cloud, self._begin)

    def note(self, method: str, path: str, body: Any) -> None:
        """Remember nothing: nobody asks a cloud that stands alone for a bundle."""

    async def bundle(self) -> bytes:
        """Refuse: what drove a cloud that stands alone is unknown.

        Raises:
            CannotDo: always.

        """
        raise CannotDo("expected a lab with devices and connectors, got the cloud alone; start it with `pfxlab up`")
