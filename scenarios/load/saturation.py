"""Where throughput stops to follow the load: the ceiling c of min(offered, c) that fits what was seen best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FOLLOWS: Final = 0.95
"""A step that does at least this share of its offered load keeps up with it."""


@dataclass(frozen=True)
class Saturation:
    """The ceiling, in the unit of the load; whether the run reached it, or only shows that it lies above."""

    per_second: float
    reached: bool

    def text(self, unit: str) -> str:
        """Return it in a sentence."""
        if self.reached:
            return f"saturates at {self.per_second:,.0f} {unit} per second"
        return f"did not saturate: it kept up with {self.per_second:,.0f} {unit} per second, the highest load offered"


def find(points: Sequence[tuple[float, float]]) -> Saturation | None:
    """Return where (offered, achieved) pairs saturate; None of no pairs.

    The ceiling is the least-squares fit of min(offered, c): of each possible set of saturated steps, those of the
    highest loads, the mean achieved is the candidate. Steps beyond the ceiling where throughput collapses pull it down
    by their share, as they should: an overload that destroys throughput is no capacity.
    """
    by_load: dict[float, list[float]] = {}
    for offered, achieved in points:
        by_load.setdefault(offered, []).append(achieved)
    # What was done at the same load at different times is one observation.
    ordered = [(offered, sum(seen) / len(seen)) for offered, seen in sorted(by_load.items())]
    if not ordered:
        return None
    highest, at_highest = ordered[-1]
    if at_highest >= _FOLLOWS * highest:
        return Saturation(max(achieved for _, achieved in ordered), reached=False)
    candidates = []
    for first in range(len(ordered)):
        beyond = [achieved for _, achieved in ordered[first:]]
        ceiling = sum(beyond) / len(beyond)
        error = sum((min(offered, ceiling) - achieved) ** 2 for offered, achieved in ordered)
        candidates.append((error, ceiling))
    return Saturation(min(candidates)[1], reached=True)
