"""Pacing of simulated users: requests are due at fixed intervals, however long the last response took.

Latency counts from the moment a request was due, so that a slow server does not hide its own delay ("coordinated
omission"). A user that falls behind by whole intervals skips them and reports how many.
"""

from dataclasses import dataclass

_GOLDEN = 0.6180339887498949


@dataclass
class Beat:
    """Beats every `interval` seconds, the first at `due`."""

    interval: float
    due: float

    def next(self, now: float) -> tuple[float, int]:
        """Advance to the next beat; return the seconds until it and how many beats were skipped."""
        self.due += self.interval
        late = max(0, int((now - self.due) / self.interval))
        self.due += late * self.interval
        return max(0.0, self.due - now), late


def offset(number: int) -> float:
    """Return where in its interval user `number` begins, 0 to 1; any number of users is spread evenly."""
    return number * _GOLDEN % 1
