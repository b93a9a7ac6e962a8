"""A bug in one module of a plan, or in one rule: the rest is judged, and every report says what was not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from defusedxml import ElementTree

from pfxlab.scenarios.conformance.evidence import Finding, ToolRun
from pfxlab.scenarios.conformance.report import html, junit
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.conformance.verdict import Judgement, NotJudged, judge, with_expected
from tests.test_house_rules import ROOT

BROKEN = """
import dataclasses, sys
from pfxlab.scenarios.conformance.plans import PLANS
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.cli import main

async def broken(stage):
    raise RuntimeError("canary-of-a-secret")

def judge(run):
    raise KeyError("canary-of-a-secret")

plan = PLANS["read"]
modules = [dataclasses.replace(m, prepare=broken) if m.name == "pages" else m for m in plan.modules]
PLANS["read"] = dataclasses.replace(plan, modules=tuple(modules))
RULES["secret-output"] = dataclasses.replace(RULES["secret-output"], judge=judge)
main(sys.argv[1:])
"""
"""The command, with a bug in the preparation of one module and in one rule."""


def test_bug_in_a_module_or_rule_leaves_the_others_judged(tmp_path: Path) -> None:
    """A run goes on after a bug in a module or rule, ends with 3, and says in each report what was not judged, and why."""
    files = {name: tmp_path / f"verdict.{name}" for name in ("json", "xml", "html")}
    modules = ("--module", "plain", "--module", "pages", "--module", "apostrophe")
    arguments = ["conformance", "run", "--plan", "read", *modules, "--json-file", str(files["json"]), "--junit",
                 str(files["xml"]), "--html", str(files["html"]), "--", "sh", "-c", "exit 0"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
    lost = "module pages: bug in the lab: RuntimeError in broken, line 8"
    rule = "rule secret-output in module plain: bug in the lab: KeyError in judge, line 11"
    assert done.stderr.startswith(f"Could not judge {lost}; {rule}; rule secret-output in module apostrophe: bug in")
    assert "pfxlab --version" in done.stderr

    verdict = json.loads(files["json"].read_text())
    outcomes = {one["id"]: one["outcome"] for one in verdict["rules"]}
    assert [one["name"] for one in verdict["modules"]] == ["plain", "apostrophe"]
    assert [(one["module"], one["rule"]) for one in verdict["notJudged"]] == [
        ("pages", None), ("plain", "secret-output"), ("apostrophe", "secret-output")
    ]  # fmt: skip
    # A tool that does nothing is judged all the same; the rule that only `pages` exercises is not.
    assert [outcomes[name] for name in ("truth", "list-next-link", "secret-output")] == [
        "FAIL",
        "NOT JUDGED",
        "NOT JUDGED",
    ]

    suite = ElementTree.fromstring(files["xml"].read_bytes())
    errors = {case.get("name") for case in suite if case.find("error") is not None}
    assert errors == {"module pages", *(name for name, outcome in outcomes.items() if outcome == "NOT JUDGED")}
    assert suite.get("errors") == str(len(errors))
    assert int(suite.get("tests", "0")) == len(list(suite))
    page = files["html"].read_text()
    assert "What could not be judged" in page
    for text in (lost, rule):
        assert text in page
        assert f"NOT JUDGED  {text}" in done.stdout
    assert "canary" not in done.stdout + done.stderr + "".join(file.read_text() for file in files.values())


@pytest.mark.parametrize(
    ("rule", "module", "outcome", "verdict"),
    [
        ("bulk-continues", "one-bad-file", "NOT JUDGED", "INCOMPLETE"),
        ("bulk-continues", "plain", "NOT EXERCISED", "INCOMPLETE"),
        ("truth", "one-bad-file", "PASS", "INCOMPLETE"),
    ],
    ids=["its only module", "another module", "one of its modules"],
)
def test_module_that_was_not_judged(rule: str, module: str, outcome: str, verdict: str) -> None:
    """A rule is not judged if no judged module exercises it; a plan with such a module has no PASS."""
    lost = [NotJudged(module, "bug in the lab: KeyError in x, line 1")]
    runs = [ToolRun("plain", [], 0, "", [], {}, facts={"reached": True})] if module != "plain" else []
    (one,) = with_expected([judge(RULES[rule], runs, ["other"], lost)], {rule: "known"}, [module])
    judgement = Judgement("bulk", "t", [one], runs, not_played=lost)
    assert (one.outcome, one.unexpected, judgement.verdict) == (outcome, False, verdict)
    assert str(lost[0]) in html(judgement, "today")
    assert str(lost[0]) in junit(judgement).decode()


def test_broken_rule_stays_broken() -> None:
    """A rule that one module shows to be broken fails the tool, whatever else could not be judged."""
    lost = [NotJudged("one-bad-file", "No space left on device")]
    run = ToolRun("plain", [], 0, "", [], {}, facts={"reached": False})
    one = judge(RULES["truth"], [run], (), lost)
    assert (one.outcome, Judgement("bulk", "t", [one], [run], not_played=lost).verdict) == ("FAIL", "FAIL")


def test_machine_that_fails_is_no_bug() -> None:
    """What the system refuses is told in its own words; it is no bug in the lab."""

    def full(run: ToolRun) -> Iterator[Finding]:
        raise OSError(28, os.strerror(28), "report.txt")

    rule = replace(RULES["truth"], judge=full)
    one = judge(rule, [ToolRun("plain", [], 0, "", [], {})])
    assert [str(lost) for lost in one.not_judged] == ["rule truth in module plain: No space left on device: report.txt"]
