"""From findings to verdicts: one outcome for each rule, and one for the tool. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from pfxlab.emulator.wire.text import describe_defect
from pfxlab.scenarios.conformance.evidence import Rule, ToolRun

Outcome: TypeAlias = Literal["PASS", "FAIL", "WARNING", "SKIPPED", "NOT EXERCISED", "NOT JUDGED"]
_SHOWN: Final = 5
"""Findings shown for each rule, those that break it first."""


@dataclass(frozen=True)
class Seen:
    """A finding with its module. `others`: further modules with the same finding."""

    module: str
    ok: bool
    text: str
    exchange: int
    others: Sequence[str] = ()

    @property
    def elsewhere(self) -> str:
        """Return a text about the other modules, empty if there are none."""
        return f" (also in {', '.join(self.others)})" if self.others else ""

    def __str__(self) -> str:
        """Return it as one line."""
        where = f"{self.module}, request {self.exchange}" if self.exchange else self.module
        return f"{where}: {self.text}{self.elsewhere}"


@dataclass(frozen=True)
class NotJudged:
    """A module, or one rule in a module, that could not be judged, for a reason that says nothing about the tool."""

    module: str
    reason: str
    rule: str = ""

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{f'rule {self.rule} in ' if self.rule else ''}module {self.module}: {self.reason}"


def reason_of(error: Exception) -> str:
    """Return why a module or rule could not be judged: what the system says, or that the lab has a bug, and where."""
    # A TimeoutError is an OSError that the system did not raise.
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return describe_defect(error)


@dataclass(frozen=True)
class Verdict:
    """The outcome of one rule. `expected`: a known failure; `unexpected`: a known failure that passed.

    `not_judged`: the modules in which the rule could not be judged.
    """

    rule: Rule
    outcome: Outcome
    seen: Sequence[Seen] = ()
    looks: int = 0
    expected: bool = False
    unexpected: bool = False
    not_judged: Sequence[NotJudged] = ()

    @property
    def headline(self) -> str:
        """Return what is wrong if the rule is broken, else the rule."""
        return self.rule.broken if self.outcome in ("FAIL", "WARNING") else self.rule.sentence

    @property
    def fails(self) -> bool:
        """Return whether the tool fails for this."""
        return self.unexpected or (self.outcome == "FAIL" and not self.expected)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "id": self.rule.id,
            "group": self.rule.group,
            "severity": self.rule.severity,
            "sentence": self.rule.sentence,
            "headline": self.headline,
            "outcome": self.outcome,
            "evidence": [str(one) for one in self.seen],
            "notJudged": [str(one) for one in self.not_judged],
            "source": "; ".join(self.rule.fact.cited),
            "sourceAnchor": self.rule.source,
            "tip": self.rule.tip if self.outcome in ("FAIL", "WARNING") else "",
            "expectedFailure": self.expected,
            "unexpectedPass": self.unexpected,
        }


@dataclass
class Judgement:
    """The outcome of a plan. `not_played`: modules that could not be judged at all."""

    plan: str
    tool: str
    verdicts: list[Verdict] = field(default_factory=list)
    runs: list[ToolRun] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    not_played: list[NotJudged] = field(default_factory=list)

    @property
    def not_judged(self) -> list[NotJudged]:
        """Return what could not be judged: whole modules first, then single rules."""
        return [*self.not_played, *(one for verdict in self.verdicts for one in verdict.not_judged if one.rule)]

    @property
    def verdict(self) -> Literal["PASS", "FAIL", "INCOMPLETE"]:
        """Return whether the tool passes: it breaks no mandatory rule, expected failures aside.

        A tool that breaks none, as far as it was judged, has no verdict until all is judged.
        """
        if any(one.fails for one in self.verdicts):
            return "FAIL"
        return "INCOMPLETE" if self.not_judged else "PASS"

    def count(self, outcome: Outcome) -> int:
        """Return how many rules have an outcome."""
        return sum(one.outcome == outcome for one in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        outcomes: tuple[Outcome, ...] = ("PASS", "FAIL", "WARNING", "SKIPPED", "NOT EXERCISED", "NOT JUDGED")
        return {
            "plan": self.plan,
            "tool": self.tool,
            "verdict": self.verdict,
            "seconds": round(self.seconds, 1),
            "counts": {outcome: self.count(outcome) for outcome in outcomes},
            "modules": [{"name": run.module, "exitCode": run.exit_code} for run in self.runs],
            "notJudged": [
                {"module": one.module, "rule": one.rule or None, "reason": one.reason} for one in self.not_judged
            ],
            "rules": [one.to_json() for one in self.verdicts],
        }


def judge(
    rule: Rule, runs: Iterable[ToolRun], skipped: Sequence[str] = (), not_played: Sequence[NotJudged] = ()
) -> Verdict:
    """Return the outcome of a rule over all runs; it is broken if one run breaks it.

    `skipped`: modules that were left out; `not_played`: modules that could not be judged.
    """
    lost = [one for one in not_played if not rule.modules or one.module in rule.modules]
    left_out = {*skipped, *(one.module for one in lost)}
    if not lost and rule.modules and set(rule.modules) <= left_out:
        return Verdict(rule, "SKIPPED")
    seen: list[Seen] = []
    for run in runs:
        if not rule.modules or run.module in rule.modules:
            try:
                seen += [Seen(run.module, one.ok, run.scrub(one.text), one.exchange) for one in rule.judge(run)]
            except Exception as error:
                lost.append(NotJudged(run.module, reason_of(error), rule.id))
    return _verdict(rule, seen, lost)


def _verdict(rule: Rule, seen: Sequence[Seen], lost: Sequence[NotJudged]) -> Verdict:
    """Return the outcome of a rule from what was seen of it, and where it could not be judged.

    A rule that was seen broken is broken. One that failed itself is not judged. One of which only whole modules are
    missing is judged by the others, if there are any.
    """
    bad = [one for one in seen if not one.ok]
    if bad:
        outcome: Outcome = "FAIL" if rule.severity == "must" else "WARNING"
        return Verdict(rule, outcome, _distinct(bad), len(seen), not_judged=lost)
    if any(one.rule for one in lost) or (lost and not seen):
        return Verdict(rule, "NOT JUDGED", (), len(seen), not_judged=lost)
    if not seen:
        return Verdict(rule, "NOT EXERCISED")
    return Verdict(rule, "PASS", [seen[0]], len(seen), not_judged=lost)


def _distinct(seen: Sequence[Seen]) -> list[Seen]:
    """Return a few findings, those with the same text merged into the first."""
    found: dict[str, list[Seen]] = {}
    for one in seen:
        found.setdefault(one.text, []).append(one)
    return [replace(same[0], others=_others(same)) for same in found.values()][:_SHOWN]


def _others(same: Sequence[Seen]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(one.module for one in same) if name != same[0].module)


def with_expected(
    verdicts: Sequence[Verdict], expected: Mapping[str, str], skipped: Sequence[str] = ()
) -> list[Verdict]:
    """Return verdicts in which known failures and unexpected passes are marked.

    If modules were left out, a rule may be broken in one of them; then no pass is unexpected.
    """
    marked = []
    for one in verdicts:
        known = one.rule.id in expected
        broken = one.outcome in ("FAIL", "WARNING")
        marked.append(
            replace(one, expected=known and broken, unexpected=known and one.outcome == "PASS" and not skipped)
        )
    return marked
