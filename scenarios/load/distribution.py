"""How long things took: an HDR histogram of latencies, mergeable across processes and machines.

Values are kept to three significant digits, so every figure is right within 0.1 %. The standard deviation is that of
the population measured.
"""

from collections.abc import Iterable
from typing import Final

from hdrh.histogram import HdrHistogram

_LONGEST_US: Final = 3_600_000_000
_DIGITS: Final = 3
PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)


class Distribution:
    """Latencies in milliseconds; from a microsecond to an hour, longer ones count as an hour."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._histogram = HdrHistogram(1, _LONGEST_US, _DIGITS)
        for value in values:
            self.add(value)

    def add(self, milliseconds: float) -> None:
        """Count one latency."""
        self._histogram.record_value(min(max(1, round(milliseconds * 1000)), _LONGEST_US))

    def merge(self, other: "Distribution") -> None:
        """Count all that another one has counted."""
        if other.count:
            self._histogram.add(other._histogram)

    @property
    def count(self) -> int:
        """Return how many latencies there are."""
        return int(self._histogram.total_count)

    def percentile(self, percent: float) -> float:
        """Return the latency that so many percent do not exceed; 0 of nothing."""
        return float(self._histogram.get_value_at_percentile(percent)) / 1000 if self.count else 0.0

    def mean(self) -> float:
        """Return the mean; 0 of nothing."""
        return float(self._histogram.get_mean_value()) / 1000 if self.count else 0.0

    def standard_deviation(self) -> float:
        """Return the standard deviation; 0 of nothing."""
        return float(self._histogram.get_stddev()) / 1000 if self.count else 0.0

    def longest(self) -> float:
        """Return the longest latency; 0 of nothing."""
        return float(self._histogram.get_max_value()) / 1000 if self.count else 0.0

    def figures(self) -> dict[str, float]:
        """Return mean, standard deviation, percentiles and longest, in milliseconds."""
        percentiles = {f"p{percent:g}_ms": self.percentile(percent) for percent in PERCENTILES}
        plain = {"mean_ms": self.mean(), "sd_ms": self.standard_deviation(), **percentiles, "max_ms": self.longest()}
        return {name: round(value, 3) for name, value in plain.items()}
