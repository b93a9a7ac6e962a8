"""Scenarios: the catalogue passes, invalid files are refused with the line, a failed scenario says why."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result
from defusedxml import ElementTree

from pfxlab.emulator.lab.verbs import steps
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.scenario.loader import Scenario, ScenarioProblem, catalogue, parse_scenario, schema
from pfxlab.scenarios.scenario.runner import Run, run
from pfxlab.scenarios.sources.facts import facts
from tests.clients.test_official_sdk import PFXLAB
from tests.conftest import KEYS
from tests.connector_sim import softhsm

SCENARIOS = catalogue()
BEGIN = """title: A scenario for a test
steps:
  - connector: main
  - device: {name: phone, platform: ios, user: user@pfxlab.example}
  - profile: {name: mail, platform: ios, purpose: smimeEncryption}
  - certificate: {name: mail, user: user@pfxlab.example}
"""
LATER = "  - import: mail\n  - pass: 1d\n"


def scenario(more: str) -> Scenario:
    """Return a scenario with further steps after the common beginning."""
    return parse_scenario(BEGIN + more, "test", "test.yaml")


async def told(more: str, **options: Any) -> Run:
    """Run such a scenario."""
    KEYS.begin_anew()
    return await run(scenario(more), keys=KEYS, **options)


def command(*arguments: str) -> Result:
    """Return the output of `pfxlab scenario`."""
    return CliRunner().invoke(main, ["scenario", *arguments])


def test_scenario_of_an_hsm() -> None:
    """The HSM scenario passes in its own process, since SoftHSM is configured per process."""
    command = [*PFXLAB, "scenario", "run", "hsm-key", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    (told_as,) = json.loads(done.stdout)["scenarios"]
    assert told_as["outcome"] in ("passed", "skipped"), told_as
    assert (told_as["outcome"] == "skipped") is softhsm.missing


_LONG = pytest.mark.campaign


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[_LONG] if name == "throttled-bulk-import" else [])
        for name in SCENARIOS
        if name != "hsm-key"
    ],
)
async def test_catalogue(name: str) -> None:
    """Every scenario of the catalogue passes, and each of its faults has struck."""
    KEYS.begin_anew()
    done = await run(SCENARIOS[name], keys=KEYS, strict=True)
    assert (done.outcome, done.why) == ("passed", "")


def test_catalogue_covers_what_users_report() -> None:
    """There are at least 20 scenarios, each with its source, and every step of the vocabulary is used by one."""
    assert len(SCENARIOS) >= 20
    assert [one.name for one in SCENARIOS.values() if one.source not in facts()] == []
    used = {next(iter(step)) for one in SCENARIOS.values() for step in one.steps}
    assert set(steps()) - used <= {"settle", "check_in", "lock", "snapshot", "restore", "clock", "switches"}


@pytest.mark.parametrize(
    "name",
    [
        "both-purposes",
        *(pytest.param(one, marks=_LONG) for one in ("two-connectors", "whole-world", "identity-renewal")),
    ],
)
async def test_same_seed_gives_the_same_journal(name: str) -> None:
    """Two runs of one seed have the same journal, byte for byte apart from key material; another seed another one."""
    from pfxlab.scenarios.control.bundle import canonical

    journals = []
    for seed in (7, 7, 8):
        # The keys that come next, so that key material differs from run to run.
        done = await run(SCENARIOS[name], seed, KEYS)
        journals.append("\n".join(canonical(done.journal)))
    assert journals[0] == journals[1]
    assert len(journals[0]) > 5000
    assert journals[0] != journals[2]


async def test_steps_that_the_catalogue_does_not_use() -> None:
    """Devices are locked, check in by name and get what they deferred; snapshots are restored; the clock is set."""
    done = await told(
        LATER
        + """  - expect: {device: phone, holds: mail}
  - snapshot: before
  - lock: {device: phone, locked: true}
  - certificate: {name: more, user: user@pfxlab.example}
  - import: more
  - check_in: phone
  - check_in: [phone]
  - expect: {certificate: more, device: phone, because: DeviceBusy}
  - lock: {device: phone, locked: false}
  - settle:
  - expect: {device: phone, holds: [mail, more]}
  - switches: {page_size: 2}
  - clock: {set: "2027-01-01T00:00:00Z"}
  - restore: before
  - expect: {device: phone, holds: mail, lacks: more}
  - clock: {skip: 2h}
  - pass: 1d
  - expect: {device: phone, opens: mail}
  - expect: {certificate: mail, device: phone, state: installed}
"""
    )
    assert (done.outcome, done.why) == ("passed", "")
    assert "clock set to 2027-01-01 00:00; nothing happened in between" in done.steps


@pytest.mark.parametrize(
    ("more", "line", "said"),
    [
        (LATER + "  - expect: {device: phone, holds: []}\n", 9, "expected phone to hold nothing, got ['mail']"),
        ("  - expect: {device: phone, holds: mail}\n", 7, "got nothing; NothingImported"),
        ("  - import: {certificate: mail, refused: Duplicate}\n", 7, "refused with Duplicate, got it was imported"),
        ("  - import: mail\n  - import: mail\n", 8, "expected mail to be imported, got Duplicate"),
        ("  - expect: {device: tablet, holds: mail}\n", 7, "expected a device of this world (phone), got 'tablet'"),
        ("  - delete: mail\n", 7, "expected a record of mail to delete, got none"),
        ("  - restore: nowhere\n", 7, "expected the name of a snapshot, got 'nowhere'; there are none yet"),
        ("  - expect: {fault: fault-1, struck: 1}\n", 7, "expected the fault fault-1 to be planned"),
        ("  - expect: {records: 3}\n", 7, "expected 3 records, got 0"),
        ("  - expect: {connector: main, active: false}\n", 7, "expected the connector main active: False, got True"),
        ("  - expect: {connector: main, processed_at_least: 9}\n", 7, "to take 9 requests, got 0"),
        ("  - expect: {device: phone, managed: false}\n", 7, "expected phone managed: False, got True"),
        ("  - expect: {device: phone, opens: mail}\n", 7, "expected phone to open mail to mail, got: addressed to none"),
        ("  - expect: {device: phone, signs_with: mail}\n", 7, "expected phone to sign, got"),
        ("  - expect: {certificate: mail, because: arrived}\n", 7, "expected the explanation arrived, got NothingImported"),
        ("  - expect: {certificate: mail, device: phone, state: installed}\n", 7, "to phone installed, got none"),
        (LATER + "  - expect: {device: phone, lacks: mail}\n", 9, "expected phone to lack mail, which it holds"),
        ("  - expect: {device: phone, identity_age_below_days: 0.001}\n", 7, "expected the identity of phone renewed"),
        ("  - expect: {journal: {event: reqest}, count: 2}\n", 7, "expected 2 journal entries with {'event': 'reqest'}, got 0"),
        ("  - key: {name: NoKey, action: remove}\n", 7, "key: expected the key 'NoKey' in"),
    ],
)  # fmt: skip
async def test_failed_scenario_is_reported_with_line_and_reason(more: str, line: int, said: str) -> None:
    """The first unmet expectation ends the scenario, with the line of its step and, where known, the cause."""
    done = await told(more)
    assert done.outcome == "failed"
    assert done.why.startswith(f"line {line}, ")
    assert said in done.why


async def test_idle_fault_is_reported() -> None:
    """A fault that never struck is reported, and with --strict fails the scenario."""
    more = "  - fault: {kind: status, route: /nowhere}\n"
    done = await told(more)
    assert (done.outcome, done.idle_faults) == ("passed", ["fault-1 (status)"])
    done = await told(more + "  - no_faults:\n", strict=True)
    assert (done.outcome, done.why) == ("failed", "faults that never struck: fault-1 (status)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "test.yaml, line 1: expected a scenario with title and steps, got an empty file"),
        ("title: x\n  y: [", "test.yaml, line 2: expected YAML"),
        ("title: x\n", "test.yaml, line 1: the file: expected steps, got none"),
        (BEGIN + "  - jump: 1d\n", "test.yaml, line 7: steps/5: expected one of action, assign"),
        (BEGIN + "  - pass: 5\n", "test.yaml, line 7: steps/5/pass: expected a duration such as 1d12h or values such as {a: b}, got 5"),
        (BEGIN + "  - pass: soon\n", "test.yaml, line 7: steps/5/pass: expected a duration such as 1d12h, got 'soon'"),
        (BEGIN + "  - pass: 0d\n", "test.yaml, line 7: pass: expected some time to pass"),
        (BEGIN + "  - device: {name: x, user: a@b}\n", "test.yaml, line 7: steps/5/device: expected platform, got none"),
        (BEGIN + "  - device:\n      name: x\n      user: a@b\n      platform: amiga\n",
         "test.yaml, line 10: steps/5/device/platform: expected one of ios, macos, windows"),
        (BEGIN + "  - expect: {holds: mail}\n", "test.yaml, line 7: steps/5/expect: expected device beside holds, got none"),
        (BEGIN + "  - expect: {device: phone, smells: nice}\n", "test.yaml, line 7"),
        (BEGIN + "  - fault: {kind: earthquake}\n", "test.yaml, line 7: steps/5/fault/kind: expected one of status"),
        (BEGIN + "  - fault: {kind: reset, seconds: 3}\n", "test.yaml, line 7: fault: seconds: the kind reset takes no"),
        (BEGIN + "  - switches: {cheese: 1}\n", "test.yaml, line 7: switches: expected switches of docs/divergences.md"),
        (BEGIN + "  - clock: {set: 2026-02-30T00:00:00Z}\n", "test.yaml, line 7: clock: expected a moment such as"),
        (BEGIN + "  - certificate: {name: c, user: a@b, begins: 1999-01-01T00:00:00Z}\n",
         "test.yaml, line 7: certificate: expected a moment from 2000 to 2099"),
        ("start: 1066-10-14T09:00:00Z\n" + BEGIN, "test.yaml, line 1: start: expected a moment from 2000 to 2099"),
        ("seed: many\n" + BEGIN, "test.yaml, line 1: seed: expected a whole number from 0, got 'many'"),
        ("switches: {page_size: 0}\n" + BEGIN, "test.yaml, line 1: switches: switches/page_size: expected int from 1"),
        ("&a [*a]", "test.yaml"),
    ],
)  # fmt: skip
def test_invalid_scenario_is_refused_with_the_line(text: str, said: str) -> None:
    """An invalid scenario is refused before anything runs, with line, place, expected and actual value."""
    with pytest.raises(ScenarioProblem) as caught:
        parse_scenario(text, "test", "test.yaml")
    assert str(caught.value).startswith(said)


def test_schema_is_one() -> None:
    """The schema of scenarios is valid JSON Schema, and every scenario of the catalogue fits it."""
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(command("schema").stdout) == schema()


def test_command_lists_and_shows() -> None:
    """The list names every scenario; the output of `show` is a valid scenario."""
    listed = json.loads(command("list", "--json").stdout)
    assert [one["name"] for one in listed] == list(SCENARIOS)
    assert "Next: " in command("list").stdout
    assert parse_scenario(command("show", "guest-user").stdout, "x", "x").title == SCENARIOS["guest-user"].title


def test_command_runs_scenarios(tmp_path: Path) -> None:
    """A run ends with 0, 1 or 2 and prints each step, or JSON alone, and writes a JUnit file for CI."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(BEGIN + LATER + "  - expect: {device: phone, holds: mail}\n")
    bad.write_text(BEGIN + "  - expect: {device: phone, holds: mail}\n")
    done = command("run", str(good))
    assert done.exit_code == 0
    assert "mail imported" in done.stdout
    assert "PASSED: 1 of 1 scenario" in done.stdout
    junit = tmp_path / "junit.xml"
    done = command("run", str(good), str(bad), "--seed", "11", "--json", "--junit", str(junit))
    told_as = json.loads(done.stdout)
    assert (done.exit_code, told_as["seed"], told_as["passed"], told_as["failed"]) == (1, 11, 1, 1)
    assert [(one["name"], one["outcome"]) for one in told_as["scenarios"]] == [("good", "passed"), ("bad", "failed")]
    assert told_as["scenarios"][1]["why"].startswith("line 7, expect: expected phone to hold")
    suite = ElementTree.parse(junit).getroot()
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase[@name='bad']/failure")
    assert failure is not None
    assert (failure.get("message") or "").startswith("line 7")
    done = command("run", str(bad))
    assert (done.exit_code, "1 FAILED" in done.stdout) == (1, True)
    assert "Next: the same command with --bundle ." in done.stdout


def test_command_reports_invalid_scenarios(tmp_path: Path) -> None:
    """An unknown scenario, a broken file and no names at all end with 2 and a sentence."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("title: x\nsteps: 3\n")
    assert command("run", "no-such-scenario").exit_code == 2
    done = command("check", str(broken))
    assert (done.exit_code, "line 2: steps: expected a list such as [a, b], got 3" in done.stderr) == (2, True)
    assert command("run").exit_code == 2
    assert command("run", "--all", "guest-user").exit_code == 2
    done = command("run", "guest-user", "--junit", str(tmp_path / "none" / "junit.xml"))
    assert (done.exit_code, "expected a folder that exists" in done.output) == (2, True)
    assert command("check", str(tmp_path / "none.yaml")).exit_code == 2


async def test_refusal_is_not_one_of_before() -> None:
    """An import without a response does not get the reason of an earlier refusal."""
    done = await told(
        "  - import: {certificate: mail, upn: nobody@pfxlab.example, refused: UserUnknown}\n"
        "  - fault: {kind: reset, route: POST */userPfxCertificates}\n"
        "  - import: {certificate: mail, refused: NoAnswer}\n"
    )
    assert (done.outcome, done.why) == ("passed", "")


async def test_five_years_pass_in_seconds() -> None:
    """A scenario of four years and many check-ins takes seconds, since time jumps from one event to the next."""
    done = await run(SCENARIOS["encryption-history"], keys=KEYS)
    assert done.outcome == "passed"
    assert done.journal[-1].time > "2025"
    assert len(done.journal) < 1000
