"""Each rule is kept by a correct tool and broken by a tool with one flaw."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from pfxlab.scenarios.conformance import runner
from pfxlab.scenarios.conformance.offered import RIGHTS
from pfxlab.scenarios.conformance.plans import PLANS
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.conformance.stage import Stage
from pfxlab.scenarios.conformance.verdict import Judgement
from pfxlab.scenarios.lab.key_cache import key_pool
from tests.scenarios.conformance.tools import SmallTool

BROKEN_IN: dict[str, tuple[str, tuple[str, ...]]] = {
    # rule → plan and modules in which its flaw shows; all others in plan import, module plain
    "signin-token-reused": ("bulk", ("plain",)),
    "crypto-ascii": ("import", ("plain", "non-ascii-password")),
    "crypto-one-key": ("import", ("plain", "two-keys")),
    "crypto-no-chain": ("import", ("plain", "chain-in-pfx")),
    "crypto-usage-fits": ("import", ("plain", "purpose-mismatch")),
    "truth": ("import", ("plain", "refused-400")),
    "failure-in-a-sentence": ("import", ("plain", "refused-400")),
    "wait-seconds": ("import", ("plain", "throttled-seconds")),
    "wait-fraction": ("import", ("plain", "throttled-fraction")),
    "wait-date": ("import", ("plain", "throttled-date")),
    "wait-milliseconds": ("import", ("plain", "throttled-milliseconds")),
    "wait-silent": ("import", ("plain", "throttled-silent")),
    "recovers": ("import", ("plain", "throttled-seconds")),
    "no-blind-repeat": ("import", ("plain", "ambiguous-503")),
    "refusal-final": ("import", ("plain", "refused-400")),
    "gives-up": ("import", ("plain", "throttled-forever")),
    "token-expiry": ("import", ("plain", "expired-token")),
    "odd-answers": ("import", ("plain", "odd-status")),
    "bulk-continues": ("bulk", ("plain", "one-bad-file")),
    "list-next-link": ("read", ("plain", "pages")),
    "list-own-host": ("read", ("plain", "link-elsewhere")),
    "filter-quotes": ("read", ("plain", "apostrophe")),
    "filter-encoded": ("read", ("plain", "guest")),
    "filter-server": ("read", ("plain",)),
    "update-patch": ("update", ("plain",)),
    "update-key": ("update", ("plain",)),
    "update-no-masked": ("update", ("plain",)),
    "remove-key": ("remove", ("plain",)),
    "others-untouched": ("remove", ("plain",)),
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """Return one lab for all tests; it is reset for each run of a tool."""
    async with AsyncExitStack() as stack:
        yield await runner.open_stage(stack, RIGHTS, key_pool())


async def judged(stage: Stage, plan: str, modules: tuple[str, ...] = (), flaw: str = "") -> Judgement:
    """Return the verdicts on the small tool in a plan, or in some of its modules."""
    return await runner.run(PLANS[plan], SmallTool(plan, flaw), "small tool", only=modules, stages=[stage])


def broken_rules(judgement: Judgement) -> dict[str, list[str]]:
    """Return the broken rules, with the evidence."""
    return {v.rule.id: [str(s) for s in v.seen] for v in judgement.verdicts if v.outcome in ("FAIL", "WARNING")}


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if "import" in rule.plans])
async def test_flaw_breaks_exactly_its_rule(stage: Stage, rule: str) -> None:
    """A tool with one flaw breaks the rule of the flaw's name, and no other."""
    plan, modules = BROKEN_IN.get(rule, ("import", ("plain",)))
    bad = await judged(stage, plan, modules, rule)
    assert list(broken_rules(bad)) == [rule], broken_rules(bad)
    verdict = next(v for v in bad.verdicts if v.rule.id == rule)
    assert verdict.outcome == ("FAIL" if RULES[rule].severity == "must" else "WARNING")
    assert bad.verdict == ("FAIL" if RULES[rule].severity == "must" else "PASS")


@pytest.mark.parametrize("plan", ["import", "bulk", "update", "remove", "read"])
async def test_right_tool_passes_every_plan(stage: Stage, plan: str) -> None:
    """The tool without a flaw breaks no rule in any module, and keeps each rule that its plan exercises."""
    judgement = await judged(stage, plan)
    assert broken_rules(judgement) == {}
    assert judgement.verdict == "PASS"
    outcomes = {verdict.rule.id: verdict.outcome for verdict in judgement.verdicts}
    broken_here = [rule for rule, (other, _) in BROKEN_IN.items() if other == plan]
    broken_here += [rule for rule in outcomes if plan == "import" and rule not in BROKEN_IN]
    assert {rule: outcomes[rule] for rule in broken_here} == dict.fromkeys(broken_here, "PASS")


@pytest.mark.asyncio(loop_scope="module")
async def test_rules_are_documented() -> None:
    """There are at least 40 rules; each has a sentence, another for when it is broken, a source and a tip."""
    assert len(RULES) >= 40
    for rule in RULES.values():
        assert rule.sentence.endswith(".")
        assert rule.broken.endswith(".")
        assert rule.broken != rule.sentence
        assert rule.fact.cited
        assert rule.tip.endswith(".")
