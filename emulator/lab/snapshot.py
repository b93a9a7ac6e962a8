"""The state of a cloud at one moment: its whole database, clock, switches, faults, and where its generators stand.

Keys of the cloud itself (token signing, authorities) are no part of it: they stay what they are.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.config import Switches, switches_with
from pfxlab.emulator.faults.plan import Faults
from pfxlab.emulator.intune.deliveries import turns_of
from pfxlab.emulator.seeded_random import SeededRandom
from pfxlab.emulator.store.kept_state import settings_of

if TYPE_CHECKING:
    from pfxlab.emulator.cloud import Cloud


class BadSnapshot(ValueError):
    """A snapshot that cannot be restored; the text says why. Nothing was changed."""

    @classmethod
    def unknown(cls, name: str, known: Sequence[str]) -> "BadSnapshot":
        """Return the error for a name that no snapshot of the lab has; `known` are those that there are."""
        there = f" ({', '.join(known)})" if known else ""
        instead = "restore one of these, or take it" if known else "there are none yet: take one"
        return cls(f"expected the name of a snapshot{there}, got {name[:80]!r}; {instead} first (verb snapshot)")


@dataclass(frozen=True)
class CloudState:
    """What `take` returned. `facts` are JSON values; `database` holds hashes and ciphertext, no secret in clear."""

    database: bytes = field(repr=False)
    facts: Mapping[str, Any]


def take(cloud: "Cloud") -> CloudState:
    """Return the state of a cloud."""
    cloud.journal.flush()
    facts = {
        "clock": cloud.clock.saved(),
        "seed": cloud.config.seed,
        "switches": asdict(cloud.config.switches),
        "switchesSet": dict(cloud.kept.switches_set),
        "faults": cloud.faults.saved(),
        "chance": cloud.chance.saved(),
        "traces": cloud.traces.saved(),
        "lastServed": dict(turns_of(cloud).last_served),
    }
    return CloudState(cloud.store.copy(), facts)


def verify(cloud: "Cloud", state: CloudState) -> None:
    """Let a state pass that can be restored; nothing is changed.

    Raises:
        BadSnapshot: it is damaged or of another version.

    """
    facts = state.facts
    try:
        LabClock().restore(facts["clock"])
        switches_with(Switches(), {**facts["switches"], **_switches_set(facts)})
        Faults(cloud.config.seed).restore(facts["faults"])
        for name in ("chance", "traces"):
            SeededRandom(0, 0, name).restore(facts[name])
        dict(facts["lastServed"])
        cloud.store.verify(state.database)
    except (ValueError, KeyError, TypeError, sqlite3.Error) as error:
        raise BadSnapshot(f"expected a snapshot of this version, got a damaged or foreign one ({error})") from None


def restore(cloud: "Cloud", state: CloudState, note: Mapping[str, str] | None = None) -> None:
    """Bring a cloud back to a state. `note`: settings of the database that its transaction writes as well.

    Raises:
        BadSnapshot: it is damaged or of another version; nothing was changed.

    """
    verify(cloud, state)
    facts = state.facts
    try:
        kept = settings_of(facts["clock"], _switches_set(facts), facts["faults"])
        cloud.store.replace_with(state.database, {**kept, **(note or {})})
    except sqlite3.Error as error:
        raise BadSnapshot(f"expected space for the snapshot's database, got: {error}") from None
    switches = switches_with(Switches(), facts["switches"])
    served = dict(facts["lastServed"])
    cloud.journal.forget_remembered()
    cloud.chance.restore(facts["chance"])
    cloud.traces.restore(facts["traces"])
    cloud.faults.restore(facts["faults"])
    cloud.config = replace(cloud.config, switches=switches)
    cloud.kept.switches_set = _switches_set(facts)
    turns_of(cloud).last_served = served
    cloud.directory.forget()
    for forget in cloud.on_restore:
        forget()
    cloud.clock.restore(facts["clock"])


def _switches_set(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the switches that were set while the lab ran; an earlier version's snapshot does not tell them apart."""
    default = asdict(Switches())
    others = {name: value for name, value in facts["switches"].items() if value != default.get(name)}
    return dict(facts.get("switchesSet", others))
