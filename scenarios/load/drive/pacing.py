"""When a simulated user acts next: at a steady beat, whatever the last answer took.

Latency counts from the beat on which a request was due, so that a slow server cannot slow down the clock it is measured
by (the "coordinated omission" of load tests). Who falls behind by whole beats leaves them out and says how many.
"""

from dataclasses import dataclass

_GOLDEN = 0.6180339887498949


@dataclass
class Beat:
    """Beats every `interval` seconds from `due` on."""

    interval: float
    due: float

    def next(self, now: float) -> tuple[float, int]:
        """Move on to the next beat; return the seconds to wait for it and how many beats were left out."""
        self.due += self.interval
        late = max(0, int((now - self.due) / self.interval))
        self.due += late * self.interval
        return max(0.0, self.due - now), late


def offset(number: int) -> float:
    """Return where in its interval user `number` begins, 0 to 1: any few of them lie evenly spread."""
    return number * _GOLDEN % 1
