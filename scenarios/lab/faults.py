"""Faults of a run: those that are planned, and those that were removed, with how often each struck."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pfxlab.emulator.faults.plan import Fault, Planned, read_fault
from pfxlab.scenarios.lab.lab import Lab


class RunFaults:
    """The lab's planned faults. `removed`: faults taken out of the plan, as they were then."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.removed: list[Planned] = []

    def plan(self, fault: Fault) -> Planned:
        """Plan a fault from now on, and note it in the journal."""
        cloud = self._lab.cloud
        planned = cloud.faults.add(fault)
        cloud.journal.record("lab", "fault planned", fault=planned.id, kind=fault.kind)
        if fault.kind == "offline":
            for connector in self._lab.connectors():
                connector.interrupt()
        return planned

    @contextlib.contextmanager
    def during(self, kind: str, **settings: Any) -> Iterator[Callable[[], int]]:
        """Plan a fault for the length of a `with` block, which gets a function that returns how often it struck.

        Raises:
            BadFault: the kind or a setting is not valid.

        """
        faults = self._lab.cloud.faults
        last = self.plan(read_fault({"kind": kind, **settings}))

        def present() -> Planned | None:
            found = faults.get(last.id)
            return found if found is not None and found.serial == last.serial else None

        def struck() -> int:
            return (present() or last).struck

        try:
            yield struck
        finally:
            # After a restore within the block another fault may have its name.
            last = present() or last
            if present() is not None:
                faults.remove(last.id)
            self.removed.append(last)

    def remove_all(self) -> list[Planned]:
        """Remove every planned fault; return them with how often each struck."""
        faults = self._lab.cloud.faults
        ended = faults.all()
        self.removed += ended
        faults.clear()
        return ended

    def all(self) -> list[Planned]:
        """Return every fault of the run: removed ones first, then planned ones."""
        return [*self.removed, *self._lab.cloud.faults.all()]

    def idle(self) -> list[Planned]:
        """Return the faults that never struck, so that what they were meant to disturb did not happen."""
        return [one for one in self.all() if not one.struck]
