"""Carries out what the control API is asked for: in the cloud alone, or in a lab with connectors and devices.

The emulator knows no other party; a lab that has them passes in its own driver (scenarios/control/lab_driver.py).
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
"""Largest database, in bytes, whose initial state is kept."""


class CannotDo(ValueError):
    """This lab lacks the parties that the request needs; the text says which it has."""


class Driver(Protocol):
    """Carries out requests that concern more than the cloud."""

    async def pass_time(self, step: timedelta) -> list[Mapping[str, Any]]:
        """Let time pass; return the check-ins in that time. The clock is frozen afterwards."""
        ...

    async def settle(self) -> int:
        """Do everything that is due now; return how many check-ins that took."""
        ...

    def left(self) -> int:
        """Return how many deliveries still wait for a connector."""
        ...

    def plan_fault(self, fault: Fault) -> Planned:
        """Plan a fault from now on."""
        ...

    async def perform(self, step: Mapping[str, Any]) -> str:
        """Carry out a step of a scenario that verbs.py has checked; return what happened in a sentence.

        Raises:
            VerbFailed: it could not be done, or something is not as expected.
            ValueError: an unknown name, or an invalid moment.

        """
        ...

    async def take(self, name: str) -> None:
        """Save the current state under a name."""
        ...

    def snapshots(self) -> list[str]:
        """Return the names of the saved states."""
        ...

    async def restore(self, name: str) -> None:
        """Restore a saved state."""
        ...

    async def reset(self) -> None:
        """Restore the initial state."""
        ...

    def note(self, method: str, path: str, body: Any) -> None:
        """Record a change requested over the control API, for a bundle."""
        ...

    async def bundle(self) -> bytes:
        """Return the reproduction bundle of this run."""
        ...


class CloudDriver:
    """The driver of a cloud without connectors and devices."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud
        self._kept: dict[str, CloudState] = {}
        self._initial = snapshot.take(cloud) if cloud.store.size() <= _LARGEST else None

    async def pass_time(self, step: timedelta) -> list[Mapping[str, Any]]:
        """Move the clock; there are no devices to check in."""
        clock = self._cloud.clock
        end = within(clock.now() + step)
        clock.freeze(end)
        return []

    async def settle(self) -> int:
        """Do nothing: without other parties nothing is ever due."""
        return 0

    def left(self) -> int:
        """Return 0: there are no devices to deliver to."""
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
        """Keep the current state in memory."""
        self._kept[name] = snapshot.take(self._cloud)

    def snapshots(self) -> list[str]:
        """Return the names of the states kept."""
        return sorted(self._kept)

    async def restore(self, name: str) -> None:
        """Restore the cloud to a state.

        Raises:
            BadSnapshot: there is none of that name.

        """
        if name not in self._kept:
            raise BadSnapshot.unknown(name, self.snapshots())
        snapshot.restore(self._cloud, self._kept[name])

    async def reset(self) -> None:
        """Restore the cloud to its initial state."""
        if self._initial is None:
            raise BadSnapshot("expected an initial state to restore, got a lab that started with too much data to keep")
        snapshot.restore(self._cloud, self._initial)

    def note(self, method: str, path: str, body: Any) -> None:
        """Record nothing: a cloud alone makes no bundles."""

    async def bundle(self) -> bytes:
        """Refuse: what clients did to a cloud alone cannot be repeated.

        Raises:
            CannotDo: always.

        """
        raise CannotDo("expected a lab with devices and connectors, got the cloud alone; start it with `pfxlab up`")
