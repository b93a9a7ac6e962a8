"""Where throughput stops to follow the load: what a target sustains at most, and what overload makes of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FOLLOWS: Final = 0.95
"""A step that does at least this share of its offered load keeps up with it."""

_PLATEAU: Final = 0.9
"""An overloaded step that does less than this share of the best of them is a collapse, and no capacity."""


@dataclass(frozen=True)
class Saturation:
    """The ceiling, in the unit of the load; whether the run reached it, or only shows that it lies above.

    `overloaded`: what was done at the highest load, which may be less.
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
    """Return where (offered, achieved) pairs saturate; None of no pairs.

    The ceiling is the mean of the steps that do not keep up with their load, those aside in which overload destroys
    throughput; and at least what a step that kept up has done.
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
        return Saturation(max(achieved for _, achieved in ordered), reached=False, overloaded=at_highest)
    sustained = [min(offered, achieved) for offered, achieved in ordered if achieved >= _FOLLOWS * offered]
    beyond = [achieved for offered, achieved in ordered if achieved < _FOLLOWS * offered]
    plateau = [achieved for achieved in beyond if achieved >= _PLATEAU * max(beyond)]
    return Saturation(max(sum(plateau) / len(plateau), *sustained, 0.0), reached=True, overloaded=at_highest)
