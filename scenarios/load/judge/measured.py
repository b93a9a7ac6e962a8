"""Measurements of a load run: counts and latencies of each second, merged from all load generators. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, floor
from typing import Any, Final

from pfxlab.scenarios.load.judge import saturation
from pfxlab.scenarios.load.judge.distribution import Distribution
from pfxlab.scenarios.load.plan_file import LoadPlan

PATH: Final = "path"
STAGE: Final = "stage"
"""Kinds of measures: a request of the path under load, or a stage within one."""


@dataclass
class Cell:
    """Counts of one name in one second. `units`: succeeded, `unsent`: never sent; both in the unit of the load."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    units: int = 0
    unsent: int = 0
    causes: Counter[str] = field(default_factory=Counter)


class Cells(dict[tuple[int, str, str], Cell]):
    """(second, kind, name) → cell, filled by one load generator until the next report."""

    def cell(self, second: int, kind: str, name: str) -> Cell:
        """Return a cell, created empty if missing."""
        return self.setdefault((second, kind, name), Cell())

    def drain(self) -> list[list[Any]]:
        """Return all cells as plain values, and clear them."""
        rows = [
            [*place, cell.latencies, cell.failures, cell.units, cell.unsent, dict(cell.causes)]
            for place, cell in self.items()
        ]
        self.clear()
        return rows


class _Sum:
    def __init__(self) -> None:
        self.latencies = Distribution()
        self.failures = self.units = self.unsent = 0
        self.causes: Counter[str] = Counter()

    def add(self, row: Sequence[Any]) -> None:
        latencies, failures, units, unsent, causes = row
        self.latencies.add(latencies)
        self.failures += failures
        self.units += units
        self.unsent += unsent
        self.causes.update(causes)

    def figures(self, seconds: float) -> dict[str, Any]:
        """Return counts, rates and latencies over a number of seconds."""
        count = self.latencies.count
        return {
            "count": count,
            "failures": self.failures,
            "units": self.units,
            "per_second": round(self.units / seconds, 2),
            **self.latencies.figures(),
        }


class Measured:
    """Totals of a run by name, by piece of the plan's shape and by second."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self._names: dict[tuple[str, str], _Sum] = {}
        self._seconds: dict[int, _Sum] = {}
        self._bins = [_Sum() for _ in plan.shape.bins()]
        self._spans = [_whole_seconds(begin, end) for begin, end in plan.shape.bins()]
        self._all = _Sum()
        self._offered: dict[int, float] = {}
        self._end = ceil(plan.shape.seconds)
        """Requests that end after the plan count for no rate: they were sent before."""

    def close(self, second: int) -> None:
        """Ignore this second of the run and all later ones."""
        self._end = min(self._end, second)
        self._offered = {one: offered for one, offered in self._offered.items() if one < self._end}

    def offer(self, second: int) -> None:
        """Record the planned load of a second that has begun."""
        self._offered[second] = self.plan.offered(second + 0.5)

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add cells of a load generator."""
        for second, kind, name, *figures in rows:
            if not 0 <= second < self._end:
                continue
            self._names.setdefault((kind, name), _Sum()).add(figures)
            if kind != PATH:
                continue
            self._all.add(figures)
            self._seconds.setdefault(second, _Sum()).add(figures)
            for one, (begin, end) in zip(self._bins, self._spans, strict=True):
                if begin <= second < end:
                    one.add(figures)

    def sample(self, second: int) -> dict[str, Any]:
        """Return one second, for the live display."""
        seen = self._seconds.get(second) or _Sum()
        return {
            "t": second,
            "offered": round(self._offered.get(second, 0.0), 2),
            "achieved": seen.units,
            "requests": seen.latencies.count,
            "failures": seen.failures,
            "unsent": seen.unsent,
            "p50_ms": round(seen.latencies.percentile(50), 2),
            "p95_ms": round(seen.latencies.percentile(95), 2),
            "p99_ms": round(seen.latencies.percentile(99), 2),
            "causes": dict(seen.causes.most_common(3)),
        }

    def points(self) -> list[dict[str, Any]]:
        """Return the finished pieces of the run: offered and achieved per second, latencies."""
        found = []
        for one, (begin, end) in zip(self._bins, self._spans, strict=True):
            offered = [self._offered[second] for second in range(begin, end) if second in self._offered]
            if len(offered) < end - begin or not offered:
                continue
            length = end - begin
            found.append(
                {
                    "from": begin,
                    "to": end,
                    "offered": round(sum(offered) / length, 2),
                    "achieved": round(one.units / length, 2),
                    "count": one.latencies.count,
                    "failures": one.failures,
                    "unsent": one.unsent,
                    **one.latencies.figures(),
                }
            )
        return found

    def _unsent(self) -> int:
        """Return how much of the offered load was not sent, or was still in progress at the end."""
        tried = self._all.units + self._all.failures * self.plan.batch
        return max(0, round(sum(self._offered.values())) - tried)

    def result(self) -> dict[str, Any]:
        """Return the figures of the run so far."""
        seconds = max(len(self._offered), 1)
        points = self.points()
        tried = self._all.latencies.count + self._all.failures
        # Load that nobody sent says nothing about the target.
        found = saturation.find([(point["offered"], point["achieved"]) for point in points]) if tried else None
        names: dict[str, dict[str, Any]] = {PATH: {}, STAGE: {}}
        # Requests by name; stages in the order of first appearance, which is the order of the work.
        in_order = sorted(self._names.items(), key=lambda item: item[0][1] if item[0][0] == PATH else "")
        for (kind, name), one in in_order:
            if one.latencies.count or one.failures:
                names[kind][name] = one.figures(seconds)
        return {
            "seconds": len(self._offered),
            "offered_per_second": round(sum(self._offered.values()) / seconds, 2),
            "all": {**self._all.figures(seconds), "unsent": self._unsent()},
            "requests": names[PATH],
            "stages": names[STAGE],
            "causes": dict(self._all.causes.most_common(10)),
            "saturation": None if found is None else asdict(found),
            "points": points,
            "series": [self.sample(second) for second in sorted(self._offered)],
        }


def _whole_seconds(begin: float, end: float) -> tuple[int, int]:
    """Return the whole seconds within a span, or those it touches if it contains none."""
    inside = ceil(begin - 1e-9), floor(end + 1e-9)
    return inside if inside[0] < inside[1] else (floor(begin), ceil(end))
