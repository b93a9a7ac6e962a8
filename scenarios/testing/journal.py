"""The journal for tests."""

import threading
from typing import Any, Final

from pfxlab.emulator.journal.near_misses import near_misses
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.testing.values import Call

_LOOKED_AT: Final = 1000


class Journal:
    """The lab's journal: what happened, with the true reasons."""

    def __init__(self, world: World, call: Call) -> None:
        self._world, self._call = world, call

    @property
    def _journal(self) -> Any:
        return self._world.lab.cloud.journal

    def find(self, **wanted: str) -> list[Entry]:
        """Return the entries since the test began; conditions as in the control API."""
        after = self._world.began_at
        found: list[Entry] = self._call(lambda: self._journal.entries(after=after, limit=100_000, **wanted))
        return found

    def count(self, **wanted: str) -> int:
        """Return how many entries there are."""
        return len(self.find(**wanted))

    def near_misses(self, **wanted: str) -> list[str]:
        """Return entries that nearly match, with their differences, one sentence for each."""
        entries = self._call(lambda: self._journal.entries(limit=_LOOKED_AT, newest=True))
        return [f"{miss.entry.event}: {dict(miss.differs)}" for miss in near_misses(entries, wanted)]

    def wait_for(self, seconds: float = 5.0, **wanted: str) -> Entry:
        """Return the first matching entry as soon as there is one.

        Raises:
            AssertionError: there was none within `seconds` of real time; the text has the nearest entries.

        """
        deadline = threading.Event()
        for _ in range(max(1, int(seconds / 0.02))):
            found = self.find(**wanted)
            if found:
                return found[0]
            deadline.wait(0.02)
        near = "; ".join(self.near_misses(**wanted)) or "nothing"
        raise AssertionError(f"expected a journal entry with {wanted}, got none in {seconds} s; nearest: {near}")
