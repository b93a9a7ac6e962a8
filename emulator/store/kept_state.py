"""Clock, switches and faults of a cloud in a folder: written to its database with each change, read at its next start.

What the configuration names wins over a switch that was set while an earlier run lasted.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.config import Config, Switches, switches_with
from pfxlab.emulator.store.database import Store

_CLOCK: Final = "clock"
_SWITCHES: Final = "switches"
_FAULTS: Final = "faults"


class PlannedFaults(Protocol):
    """The faults of a lab, as far as they are kept."""

    def saved(self) -> dict[str, Any]:
        """Return them as JSON values."""
        ...

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go back to what `saved` returned."""
        ...


class KeptState:
    """Writes through to the store's settings. A cloud in memory keeps nothing."""

    def __init__(self, store: Store, clock: LabClock, faults: PlannedFaults) -> None:
        self._store, self._clock, self._faults = store, clock, faults
        self._is_kept = store.path is not None
        self.switches_set: dict[str, Any] = {}
        """Switches that were set while the lab ran, in this run or an earlier one."""

        self.overruled: dict[str, Any] = {}
        """Those of them that the configuration of this run names with another value."""

        self.unreadable: list[str] = []
        """What an earlier run kept and this version cannot read; it begins anew."""

    def load(self, config: Config) -> Config:
        """Bring clock and faults to where the last run left them; return the configuration with the switches it set.

        A clock that stands still already was put there by the caller, who wins.
        """
        if not self._clock.frozen:
            self._read(_CLOCK, self._clock.restore)
        self._read(_FAULTS, self._faults.restore)
        self._read(_SWITCHES, self._use_switches)
        self.keep_clock()
        self.keep_faults()
        self.set_switches({})
        present, default = config.switches, Switches()
        named = {*config.named, *(name for name in vars(default) if getattr(present, name) != getattr(default, name))}
        self.overruled = {
            name: value
            for name, value in self.switches_set.items()
            if name in named and value != getattr(present, name)
        }
        free = {name: value for name, value in self.switches_set.items() if name not in named}
        return config.with_switches(switches_with(present, free))

    def _read(self, name: str, use: Any) -> None:
        text = self._store.meta(name)
        if text is None:
            return
        try:
            use(json.loads(text))
        except (ValueError, KeyError, TypeError):
            self.unreadable.append(name)

    def _use_switches(self, kept: Mapping[str, Any]) -> None:
        checked = switches_with(Switches(), kept)
        self.switches_set = {name: getattr(checked, name) for name in kept}

    def keep_clock(self) -> None:
        """Write where the clock stands."""
        if self._is_kept:
            self._store.set_meta(_CLOCK, json.dumps(self._clock.saved()))

    def keep_faults(self) -> None:
        """Write the faults with their counts."""
        if self._is_kept:
            self._store.set_meta(_FAULTS, json.dumps(self._faults.saved()))

    def set_switches(self, changes: Mapping[str, Any]) -> None:
        """Remember switches that were set, with the values they have now."""
        self.switches_set |= changes
        if self._is_kept:
            self._store.set_meta(_SWITCHES, json.dumps(self.switches_set))


def settings_of(clock: Mapping[str, Any], switches_set: Mapping[str, Any], faults: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a database whose cloud is to start with these."""
    return {
        _CLOCK: json.dumps(dict(clock)),
        _SWITCHES: json.dumps(dict(switches_set)),
        _FAULTS: json.dumps(dict(faults)),
    }
