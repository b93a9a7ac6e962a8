"""Shapes of load: the rate offered at each moment of a run. Pure; rates are per second, times in seconds."""

import math
from dataclasses import dataclass
from typing import Final

KINDS: Final = {
    "constant": "the same rate from start to end",
    "ramp": "in equal steps from `start` to `rate`; the target is saturated where throughput stops following",
    "morning": "Monday morning: steeply from `start` to `rate` in the first quarter, then slowly down",
    "wave": "an enrolment wave, as a roll-out spreads: slowly from `start` to `rate` at half time, then down",
}
SHORTEST_STEP: Final = 3.0
"""Seconds that a step of a ramp must last for its throughput to mean anything."""

_SHORTEST_PIECE: Final = 1.0
_SETTLE: Final = 2.0
_MORNING_PEAK: Final = 0.25
_MORNING_NARROWNESS: Final = 3.0
_WAVE_NARROWNESS: Final = 7.0


@dataclass(frozen=True)
class Shape:
    """How load changes over time. `start`: the lowest rate, `rate`: the highest; `steps`: of a ramp."""

    kind: str
    rate: float
    seconds: float
    start: float | None = None
    steps: int = 10

    @property
    def lowest(self) -> float:
        """Return the starting rate: `start` if given, else the first step of a ramp, else 0."""
        if self.start is not None:
            return self.start
        return self.rate / self.steps if self.kind == "ramp" else 0.0

    def at(self, moment: float) -> float | None:
        """Return the rate at a moment, in seconds since the start; None after the end."""
        if not 0 <= moment < self.seconds:
            return None
        if self.kind == "constant":
            return self.rate
        if self.kind == "ramp":
            step = int(moment / self.seconds * self.steps)
            return self.lowest + (self.rate - self.lowest) * (step / (self.steps - 1) if self.steps > 1 else 1)
        part = moment / self.seconds
        return self.lowest + (self.rate - self.lowest) * (_morning(part) if self.kind == "morning" else _wave(part))

    def bins(self) -> list[tuple[float, float]]:
        """Return the (begin, end) of the pieces of a run that are evaluated one by one, each at least a second long.

        The pieces of a ramp are its steps, each without its beginning, when users still start and the queue of the
        previous step drains. For other shapes only the first piece lacks its beginning.
        """
        count = self.steps if self.kind == "ramp" else max(1, min(self.steps, int(self.seconds / _SHORTEST_PIECE)))
        length = self.seconds / count
        settle = min(max(length / 3, _SETTLE), length / 2)
        return [
            (number * length + (settle if self.kind == "ramp" or number == 0 else 0.0), (number + 1) * length)
            for number in range(count)
        ]


def _morning(part: float) -> float:
    """Return a gamma curve with its maximum, 1, at a quarter."""
    x = part / _MORNING_PEAK
    return float((x * math.exp(1 - x)) ** _MORNING_NARROWNESS)


def _wave(part: float) -> float:
    """Return the derivative of a logistic curve with its maximum, 1, in the middle."""
    return float(1 / math.cosh(_WAVE_NARROWNESS / 2 * (2 * part - 1)) ** 2)
