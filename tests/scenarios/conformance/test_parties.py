"""Rules on connectors and devices: each can be broken, and our own parties keep all of them."""

import json
from typing import Any

import pytest

from pfxlab.scenarios.conformance import runner
from pfxlab.scenarios.conformance.plans import PLANS
from pfxlab.scenarios.conformance.rules import RULES
from tests.clients.test_official_sdk import PFXLAB
from tests.scenarios.conformance.parties import SmallConnector, SmallDevice
from tests.scenarios.conformance.test_rules import broken_rules
from tests.scenarios.conformance.test_verdicts import judged

MODULES = {
    "connector-completes": "plain",
    "connector-reasons": "key-missing",
    "connector-one-bad": "key-missing",
    "connector-recovers": "service-busy",
    "connector-backs-off": "service-busy",
    "device-removes": "removed",
    "device-fails-openly": "wrong-password",
}
ALSO = {
    # What cannot be broken alone: a request that is never completed is never delivered either.
    "connector-completes": {"connector-usable"},
}
TOOLS: dict[str, Any] = {"connector": SmallConnector, "device": SmallDevice}
PARTY_RULES = [name for name, rule in RULES.items() if rule.plans[0] in TOOLS]


@pytest.mark.parametrize("rule", PARTY_RULES)
async def test_flaw_breaks_exactly_its_rule(rule: str) -> None:
    """A connector or device with one flaw breaks the rule of the flaw's name, and no other."""
    plan = RULES[rule].plans[0]
    module = MODULES.get(rule, "plain")
    for seconds in (6, 90):
        # A busy machine may need longer for all that is right about it; what is wrong is not mended by time.
        bad = await runner.run(PLANS[plan], TOOLS[plan](rule), "small", only=[module], seconds=seconds)
        assert rule in broken_rules(bad)
        if set(broken_rules(bad)) - ALSO.get(rule, set()) == {rule}:
            break
    assert set(broken_rules(bad)) - ALSO.get(rule, set()) == {rule}, broken_rules(bad)


@pytest.mark.parametrize("plan", TOOLS)
async def test_right_one_keeps_every_rule(plan: str) -> None:
    """A connector and a device without a flaw keep every rule in every module."""
    judgement = await runner.run(PLANS[plan], TOOLS[plan](), "small")
    assert broken_rules(judgement) == {}
    outcomes = {v.rule.id: v.outcome for v in judgement.verdicts if v.outcome != "PASS"}
    assert outcomes == {}


OWN = {
    "connector": "pfxlab connector enroll --ready-file {ready_file} --data {folder} && "
    "exec pfxlab connector run --data {folder} --keys {keys_dir}",
    "device": "pfxlab devices enroll --ready-file {ready_file} --data {folder} --count 1 --platforms windows && "
    "exec pfxlab devices checkin --ready-file {ready_file} --data {folder} --rounds 1000",
}


@pytest.mark.campaign
@pytest.mark.parametrize("plan", OWN)
def test_own_commands_pass(plan: str) -> None:
    """Our own connector and devices, run as commands, pass their plans."""
    script = OWN[plan].replace("pfxlab ", " ".join(PFXLAB) + " ")
    done = judged(plan, "--json", "--", "sh", "-c", script)
    verdict = json.loads(done.stdout)
    broken = {r["id"]: r["evidence"] for r in verdict["rules"] if r["outcome"] in ("FAIL", "WARNING")}
    assert (done.returncode, verdict["verdict"], broken) == (0, "PASS", {})
