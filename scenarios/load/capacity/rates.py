"""Measures one connector on this machine for the planner: core seconds for a delivery."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Final

from pfxlab.connector_sim.recrypt import recrypt
from pfxlab.emulator.wire.connector import read_work, write_completion, write_work
from pfxlab.scenarios.load.capacity.model import Rates
from pfxlab.scenarios.load.drive.material import Material, requests

_PLATFORMS: Final = {"ios": 1, "windows": 1}
_BATCH: Final = 100
_TURNS: Final = 5


def _seconds(work: Callable[[], object]) -> float:
    """Return the median seconds that a function takes, after a first call to warm up."""
    work()
    took = []
    for _ in range(_TURNS):
        begin = time.perf_counter()
        work()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def measure(key_bits: int, hsm: float | None = None, cores: int | None = None) -> Rates:
    """Return the rates of a connector with a key of that size, for as many Apple as Windows devices."""
    material = Material(key_bits)
    ciphertexts = material.ciphertexts(_BATCH)
    data = write_work("measured", 120, requests(material, ciphertexts, _PLATFORMS))
    scheme = read_work(data).items[0].padding_scheme
    private = _seconds(lambda: [material.software.decrypt(one, scheme) for one in ciphertexts]) / _BATCH

    def whole() -> None:
        work = read_work(data)
        write_completion("measured", recrypt(work.items, material.open))

    every = _seconds(whole) / _BATCH
    return Rates(private, max(every - private, 1e-9), cores or os.cpu_count() or 1, hsm)
