"""CPU time and memory that each party of a run uses, its child processes included."""

import os
import time
from collections.abc import Mapping
from typing import Any, Final

import psutil

_WINDOW: Final = 0.2
"""Length of the busiest part of a run, as a share of it: what limits a ramp shows only at its end."""

LOAD_GENERATOR: Final = "load generator"
_FULL_LOOP: Final = 0.9
_FULL_MACHINE: Final = 0.85


Reading = tuple[float, dict[str, float]]
"""A moment and the CPU seconds that each party had used by then."""


class Usage:
    """CPU time and memory of parties, by process id."""

    def __init__(self, parties: Mapping[str, int]) -> None:
        self._parties = dict(parties)
        self._seconds: dict[str, dict[int, float]] = {party: {} for party in parties}
        self._memory = dict.fromkeys(parties, 0.0)
        self._readings: list[Reading] = []

    def begin(self) -> None:
        """Start counting: what preparation used does not count."""
        self._readings.clear()

    def read(self) -> None:
        """Read what every party has used so far; for a process that has ended, the last reading counts."""
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
        self._readings.append((time.monotonic(), {party: sum(used.values()) for party, used in self._seconds.items()}))

    def figures(self) -> dict[str, Any]:
        """Return the number of cores and, by party, cores used on average and at the busiest, and peak MiB."""
        whole, busiest = between(self._readings, 0, len(self._readings) - 1), busiest_of(self._readings)
        parties = {
            party: {
                "cores": round(whole.get(party, 0.0), 3),
                "cores_at_the_busiest": round(busiest.get(party, 0.0), 3),
                "memory_mb": round(self._memory[party], 1),
            }
            for party in self._parties
        }
        return {"cores": os.cpu_count() or 1, "parties": parties}


def between(readings: list[Reading], first: int, last: int) -> dict[str, float]:
    """Return the cores that each party used between two readings."""
    if not 0 <= first < last < len(readings):
        return {}
    (begin, before), (end, after) = readings[first], readings[last]
    return {party: (used - before.get(party, 0.0)) / max(end - begin, 1e-9) for party, used in after.items()}


def busiest_of(readings: list[Reading]) -> dict[str, float]:
    """Return the cores that each party used in the fifth of the run with the highest total."""
    length = max(1, int(len(readings) * _WINDOW))
    pieces = [between(readings, first, first + length) for first in range(len(readings) - length)]
    return max(pieces, key=lambda piece: sum(piece.values()), default={})


def bottleneck(figures: Mapping[str, Any]) -> str:
    """Return what limits a run at its busiest, in a sentence.

    The emulator is one event loop, so one core is its limit. Otherwise the machine's cores are.
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
