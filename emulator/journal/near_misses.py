"""Which journal entries nearly fit a question, and in what they differ. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any, Final

from pfxlab.emulator.store.journal_entries import CONTAINED, Entry

_SHOWN: Final = 5
_COMPARED: Final = 100


@dataclass(frozen=True)
class NearMiss:
    """An entry that fits all of a question but what `differs`: name → (expected, got)."""

    entry: Entry
    differs: Mapping[str, tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        differs = {name: {"expected": expected, "got": got} for name, (expected, got) in self.differs.items()}
        return {"differs": differs, "entry": asdict(self.entry)}


def _value(entry: Entry, name: str) -> str:
    plain = {"outcome": entry.outcome, "party": entry.party, "event": entry.event}
    return plain[name] if name in plain else str(entry.fields.get(name, ""))


def near_misses(entries: Iterable[Entry], wanted: Mapping[str, str]) -> list[NearMiss]:
    """Return the entries that come closest, the closest and latest first; those that fit are none."""
    found = []
    for entry in entries:
        differs = {}
        for name, expected in wanted.items():
            got = _value(entry, name)
            fits = expected.lower() in got.lower() if name in CONTAINED else expected == got
            if not fits:
                differs[name] = (expected, got)
        if 0 < len(differs) < max(2, len(wanted)):
            found.append(NearMiss(entry, differs))
    found.sort(key=lambda miss: (len(miss.differs), -_likeness(miss), -miss.entry.seq))
    return found[:_SHOWN]


def _likeness(miss: NearMiss) -> float:
    """Return how alike the texts are in which an entry differs, 0 to 1: a slip of the pen comes first."""
    pairs = miss.differs.values()
    likeness = [SequenceMatcher(None, one[:_COMPARED], other[:_COMPARED]).ratio() for one, other in pairs]
    return round(sum(likeness) / len(likeness), 1)
