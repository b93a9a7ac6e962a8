"""Distributions of latencies: every value is kept, and figures are computed exactly by NumPy.

A value takes eight bytes; those of several load generators can be merged without loss. The standard deviation is that
of the population; percentiles are interpolated linearly between the two nearest values.
"""

from array import array
from collections.abc import Iterable
from typing import Final

import numpy as np

PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)


class Distribution:
    """Latencies in milliseconds."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = array("d", values)

    def add(self, values: Iterable[float]) -> None:
        """Add latencies."""
        self._values.extend(values)

    @property
    def count(self) -> int:
        """Return the number of latencies."""
        return len(self._values)

    def percentile(self, percent: float) -> float:
        """Return a percentile; 0 if there are no values."""
        return float(np.percentile(self._values, percent)) if self._values else 0.0

    def mean(self) -> float:
        """Return the mean; 0 if there are no values."""
        return float(np.mean(self._values)) if self._values else 0.0

    def standard_deviation(self) -> float:
        """Return the standard deviation; 0 if there are no values."""
        return float(np.std(self._values)) if self._values else 0.0

    def longest(self) -> float:
        """Return the longest latency; 0 if there are no values."""
        return max(self._values, default=0.0)

    def figures(self) -> dict[str, float]:
        """Return mean, standard deviation, percentiles and longest latency, in milliseconds."""
        percentiles = {f"p{percent:g}_ms": self.percentile(percent) for percent in PERCENTILES}
        plain = {"mean_ms": self.mean(), "sd_ms": self.standard_deviation(), **percentiles, "max_ms": self.longest()}
        return {name: round(value, 3) for name, value in plain.items()}
