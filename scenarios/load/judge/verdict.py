"""Compares a run with its plan's thresholds. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pfxlab.scenarios.load.plan_file import LoadPlan, Threshold


@dataclass(frozen=True)
class Judged:
    """A threshold with the measured value; None, which misses the threshold, when the run did not measure it."""

    threshold: Threshold
    measured: float | None
    unjudged: str = ""
    """Why it could not be judged, which is not the target's fault."""

    @property
    def kept(self) -> bool:
        """Return whether the measured value lies within the bounds."""
        most, least, value = self.threshold.most, self.threshold.least, self.measured
        if self.unjudged:
            return True
        return value is not None and (most is None or value <= most) and (least is None or value >= least)

    def text(self) -> str:
        """Return a sentence with what was expected and what was measured."""
        if self.unjudged:
            return f"not judged: expected {self.threshold.text()}; {self.unjudged}"
        got = "no measurement" if self.measured is None else f"{self.measured:g}"
        return f"{'kept' if self.kept else 'MISSED'}: expected {self.threshold.text()}, got {got}"


def judge(plan: LoadPlan, result: Mapping[str, Any]) -> list[Judged]:
    """Return every threshold of a plan with the value that the run measured."""
    return [Judged(one, _value(one, result), _unjudged(one, result)) for one in plan.thresholds]


def _unjudged(threshold: Threshold, result: Mapping[str, Any]) -> str:
    if threshold.measure != "openssl_ratio":
        return ""
    if result.get("openssl") is None:
        return "`openssl speed` does not run here"
    found = result.get("saturation")
    # Below saturation the ratio depends on the offered load alone and says nothing about the target.
    return "" if found is not None and found["reached"] else "the run did not saturate"


def _value(threshold: Threshold, result: Mapping[str, Any]) -> float | None:
    measure = threshold.measure
    if measure == "saturation_per_second":
        found = result.get("saturation")
        return None if found is None else float(found["per_second"])
    if measure == "openssl_ratio":
        ratio = (result.get("openssl") or {}).get("ratio")
        return None if ratio is None else float(ratio)
    named = {**result["stages"], **result["requests"]}
    figures = named.get(threshold.of) if threshold.of else result["all"]
    if figures is None:
        return None
    tried = figures["count"] + figures["failures"]
    if measure == "failures_percent":
        return 100.0 * figures["failures"] / tried if tried else None
    if measure == "unsent_percent":
        offered = result["offered_per_second"] * result["seconds"]
        return 100.0 * result["all"]["unsent"] / offered if offered else None
    if measure == "per_second":
        return float(figures["per_second"])
    return float(figures[measure]) if figures["count"] else None
