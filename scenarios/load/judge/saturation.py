"""Where throughput stops following the load: the most a target sustains, and what it does under overload."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FOLLOWS: Final = 0.95
"""A step that achieves at least this share of its offered load keeps up with it."""

_PLATEAU: Final = 0.9
"""An overloaded step that achieves less than this share of the best one is a collapse, not a measure of capacity."""


@dataclass(frozen=True)
class Saturation:
    """The ceiling, in the unit of the load. `reached`: False if the run only shows that the ceiling is higher.

    `overloaded`: what was achieved at the highest load, which may be less.
    """

    per_second: float
    reached: bool
    overloaded: float

    def text(self, unit: str) -> str:
        """Return it in a sentence."""
        if not self.reached:
            return (
                f"did not saturate: it kept up with {self.per_second:,.0f} {unit} per second, the highest load offered"
            )
        less = self.overloaded < _PLATEAU * self.per_second
        collapse = f", and does {self.overloaded:,.0f} at the highest load" if less else ""
        return f"saturates at {self.per_second:,.0f} {unit} per second{collapse}"


def find(points: Sequence[tuple[float, float]]) -> Saturation | None:
    """Return where (offered, achieved) pairs saturate; None if there are no pairs.

    The ceiling is the mean of the steps that do not keep up with their load, without those in which throughput
    collapses; it is at least what a step that kept up has achieved.
    """
    by_load: dict[float, list[float]] = {}
    for offered, achieved in points:
        by_load.setdefault(offered, []).append(achieved)
    # Steps with the same load are one observation.
    ordered = [(offered, sum(seen) / len(seen)) for offered, seen in sorted(by_load.items())]
    if not ordered:
        return None
    highest, at_highest = ordered[-1]
    if at_highest >= _FOLLOWS * highest:
        return Saturation(max(achieved for _, achieved in ordered), reached=False, overloaded=at_highest)
    sustained = [min(offered, achieved) for offered, achieved in ordered if achieved >= _FOLLOWS * offered]
    beyond = [achieved for offered, achieved in ordered if achieved < _FOLLOWS * offered]
    plateau = [achieved for achieved in beyond if achieved >= _PLATEAU * max(beyond)]
    return Saturation(max(sum(plateau) / len(plateau), *sustained, 0.0), reached=True, overloaded=at_highest)
