"""How much of the machine each party of a run uses: processor time and memory, its child processes included."""

import os
import time
from collections.abc import Mapping
from typing import Any, Final

import psutil

_WINDOW: Final = 0.2
"""The busiest part of a run is looked for in pieces of this share of it: what limits a ramp shows at its end."""

LOAD_GENERATOR: Final = "load generator"
_FULL_LOOP: Final = 0.9
_FULL_MACHINE: Final = 0.85


Look = tuple[float, dict[str, float]]
"""A moment and the processor seconds that each party had used by then."""


class Usage:
    """Watches parties by the ids of their processes."""

    def __init__(self, parties: Mapping[str, int]) -> None:
        self._parties = dict(parties)
        self._seconds: dict[str, dict[int, float]] = {party: {} for party in parties}
        self._memory = dict.fromkeys(parties, 0.0)
        self._looks: list[Look] = []

    def begin(self) -> None:
        """Count from now on: what was used to get ready is no part of the run."""
        self._looks.clear()

    def look(self) -> None:
        """Note what every party has used so far; of a process that has ended the last look counts."""
        for party, number in self._parties.items():
            try:
                top = psutil.Process(number)
                processes = [top, *top.children(recursive=True)]
            except psutil.Error:
                continue
            memory = 0
            for process in processes:
                try:
                    with process.oneshot():
                        times = process.cpu_times()
                        self._seconds[party][process.pid] = times.user + times.system
                        memory += process.memory_info().rss
                except psutil.Error:
                    continue
            self._memory[party] = max(self._memory[party], memory / 2**20)
        self._looks.append((time.monotonic(), {party: sum(used.values()) for party, used in self._seconds.items()}))

    def figures(self) -> dict[str, Any]:
        """Return the cores there are and, by party, those kept busy on average and at the busiest, and MiB at most."""
        whole, busiest = between(self._looks, 0, len(self._looks) - 1), busiest_of(self._looks)
        parties = {
            party: {
                "cores": round(whole.get(party, 0.0), 3),
                "cores_at_the_busiest": round(busiest.get(party, 0.0), 3),
                "memory_mb": round(self._memory[party], 1),
            }
            for party in self._parties
        }
        return {"cores": os.cpu_count() or 1, "parties": parties}


def between(looks: list[Look], first: int, last: int) -> dict[str, float]:
    """Return the cores that each party kept busy between two looks."""
    if not 0 <= first < last < len(looks):
        return {}
    (begin, before), (end, after) = looks[first], looks[last]
    return {party: (used - before.get(party, 0.0)) / max(end - begin, 1e-9) for party, used in after.items()}


def busiest_of(looks: list[Look]) -> dict[str, float]:
    """Return the cores that each party kept busy in that fifth of the run in which all together used most."""
    length = max(1, int(len(looks) * _WINDOW))
    pieces = [between(looks, first, first + length) for first in range(len(looks) - length)]
    return max(pieces, key=lambda piece: sum(piece.values()), default={})


def bottleneck(figures: Mapping[str, Any]) -> str:
    """Return what limits a run at its busiest, in a sentence.

    The emulator is one event loop: it is full at one core. Otherwise the machine is, when its cores are all busy.
    """
    busy = {party: one["cores_at_the_busiest"] for party, one in figures["parties"].items()}
    cores, total = figures["cores"], sum(busy.values())
    if not total:
        return "the run was too short to tell what limits it"
    most = max(busy, key=lambda party: busy[party])
    of_all = f"{total:.1f} of {cores} cores, most of it {most} ({busy[most]:.1f})"
    if busy.get("emulator", 0.0) >= _FULL_LOOP:
        return f"the emulator's event loop was full: {busy['emulator']:.2f} of the one core that it can use"
    if most.startswith(LOAD_GENERATOR) and busy[most] >= _FULL_LOOP and total < _FULL_MACHINE * cores:
        return f"{most} was full: {of_all}; more of them offer more, see --jobs"
    if total >= _FULL_MACHINE * cores:
        return f"the machine was full: {of_all}"
    return f"no processor was full: {of_all}"
