"""The table of verbs (emulator/lab/verbs.py), and everything generated from it."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from pfxlab.emulator.lab import control, expectations, openapi, verbs
from pfxlab.emulator.lab.schemas import NAME, closed
from pfxlab.scenarios import reference
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.scenario import expectations as checks
from pfxlab.scenarios.scenario import steps
from pfxlab.scenarios.scenario.loader import parse_scenario
from pfxlab.scenarios.testing import LabSession, TestLab
from pfxlab.scenarios.testing.documented import verb

SAMPLE = verbs.Verb("greet", "Greet a device.", closed({"device": NAME, "warmly": {"type": "boolean"}}), "device")


@pytest.fixture
def session() -> Iterator[TestLab]:
    """Return a running lab."""
    with LabSession(seed=3) as lab:
        yield lab


@pytest.fixture
def greets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a verb as a developer does: a row and a function."""

    async def greet(_: World, given: Any) -> str:
        return f"{given['device']} greeted{' warmly' if given['warmly'] else ''}"

    monkeypatch.setattr(verbs, "VERBS", (*verbs.VERBS, SAMPLE))
    monkeypatch.setattr(steps, "FUNCTIONS", {**steps.FUNCTIONS, "greet": greet})


def run(lab: TestLab, *words: str) -> Result:
    """Return the result of `pfxlab world` with a running lab."""
    return CliRunner().invoke(main, ["world", "--ready-file", lab.environment["PFXLAB_READY_FILE"], *words])


def test_each_row_has_its_function() -> None:
    """Every verb and condition of the tables is carried out by one function, and no function is without a row."""
    assert set(control.HANDLERS) == {one.endpoint.operation for one in verbs.VERBS if one.endpoint is not None}
    assert set(steps.FUNCTIONS) == set(verbs.steps())
    assert set(checks.CHECKS) == set(expectations.CONDITIONS)
    names = [one.name for one in verbs.VERBS]
    operations = [endpoint.operation for _, endpoint in verbs.endpoints()]
    assert len(set(names)) == len(names)
    assert len(set(operations)) == len(operations)


@pytest.mark.usefixtures("greets")
def test_verb_is_a_row_and_a_function(session: TestLab) -> None:
    """A row and a function make a verb of scenarios, control API, OpenAPI, pytest facade, command line and docs."""
    text = "title: t\nsteps:\n- greet: {device: phone, warmly: true}\n"
    assert parse_scenario(text, "t", "t.yaml").steps == [{"greet": {"device": "phone", "warmly": True}}]
    with pytest.raises(ValueError, match=r"line 3.*warmly"):
        parse_scenario(text.replace("true", "very"), "t", "t.yaml")
    assert openapi.document()["paths"]["/do/greet"]["post"]["summary"] == "Greet a device."
    assert session.do("greet", device="phone", warmly=False) == "phone greeted"
    assert "greet " in run(session, "--help").output
    assert "| `greet` | Greet a device. |" in reference.scenarios_page()
    assert "| POST | `/lab/v1/do/greet` | Greet a device. |" in reference.control_page()

    class Facade:
        @verb("greet")
        def greet(self, device: str, *, warmly: bool) -> None:
            """With a bow."""

    assert Facade.greet.__doc__ == "Greet a device. With a bow."
    with pytest.raises(TypeError, match="warmly"):

        @verb("greet")
        def greet(self: object, device: str) -> None:
            """Without warmth."""


@pytest.mark.usefixtures("greets")
def test_new_verb_is_reached_over_the_control_api() -> None:
    """A lab that starts with the new row serves `POST /do/NAME`, and `pfxlab world NAME` calls it."""
    with LabSession(seed=3) as lab:
        assert run(lab, "greet", "phone", "warmly=true").output == "phone greeted warmly\n"
        refused = run(lab, "greet", "phone", "warmly=perhaps")
    assert refused.exit_code == 2
    assert "greet/warmly: expected true or false, got 'perhaps'" in refused.output


def test_command_line_carries_out_every_kind_of_argument(session: TestLab) -> None:
    """Bare values, lists, NAME=VALUE, flags and spans on the command line equal those of a scenario."""
    told = [
        run(session, *words.split()).output
        for words in (
            "user ann@pfxlab.example ben@pfxlab.example",
            "group Contractors members=ann@pfxlab.example",
            "device phone platform=ios user=ann@pfxlab.example",
            "certificate mail user=ann@pfxlab.example chain=false lasts=365d",
            "profile p platform=ios purpose=smimeEncryption",
            "import mail",
            "pass 1d",
            "expect device=phone holds=mail",
            "lock phone locked=true",
            "switches page_size=2",
            "fault offline times=1",
            "no-faults",
            "check-in phone",
            "cloud usGovernment",
            "user cy@pfxlab.example sign_in=mfa licence=false",
        )
    ]
    assert told[0] == "ann@pfxlab.example, ben@pfxlab.example in the directory\n"
    assert told[1] == "group Contractors of 1 user\n"
    assert told[5:6] + told[7:9] == ["mail imported\n", "phone holds mail\n", "phone locked\n"]
    assert told[10].startswith("fault-1 planned. Next: ")
    assert told[12].startswith("check-in: phone ")
    assert "usGovernment" in told[13]
    assert told[14] == "cy@pfxlab.example in the directory, sign_in mfa, licence false\n"
    assert session.device("phone").holds() == ["mail"]


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("action", "action= syncDevice, wipe, retire, delete"),
        ("pass", "check_in_every= a duration such as 1d12h"),
        ("bulk-import", "count= a whole number from 1 to 100000"),
        ("group", "members= a text or a list such as [a, b]"),
        ("key", "action= add, remove or move"),
        ("lock", "DEVICE a name of letters, digits, spaces or _.()+-"),
        ("cloud", "VALUE lab, global, usGovernment, china"),
        ("expect", "managed= true or false"),
        ("user", "sign_in= allowed, mfa, blocked, password_expired, policy"),
    ],
)
def test_help_says_what_each_argument_may_be(verb: str, line: str) -> None:
    """The help of each verb's command lists its arguments with their values."""
    shown = CliRunner().invoke(main, ["world", verb, "--help"]).output
    assert line in [" ".join(one.split()) for one in shown.splitlines()]


@pytest.mark.parametrize("verb", ["settle", "no-faults", "expect"])
def test_help_of_a_verb_without_bare_values_shows_none(verb: str) -> None:
    """The usage of a verb that takes no bare value shows none."""
    assert "VALUE" not in CliRunner().invoke(main, ["world", verb, "--help"]).output


def test_failed_expectation_is_a_failed_verdict(session: TestLab) -> None:
    """`pfxlab world expect` ends with 1 for an unmet condition, and with 2 for an invalid one."""
    failed = run(session, "expect", "records=5")
    assert (failed.exit_code, "expected 5 records, got 0" in failed.output) == (1, True)
    assert run(session, "expect", "nothing=5").exit_code == 2
    assert run(session, "lock", "phone", "locked=true").exit_code == 2


def test_output_is_json_on_request(session: TestLab) -> None:
    """With --json a verb prints its answer and nothing else."""
    assert json.loads(run(session, "--json", "user", "ann@pfxlab.example").output) == {
        "done": "ann@pfxlab.example in the directory"
    }
    assert json.loads(run(session, "--json", "fault", "offline", "times=1").output)["kind"] == "offline"


def test_moments_are_shown_to_the_second(session: TestLab) -> None:
    """`clock`, `restore` and `reset` show the lab's time without fractions of a second; --json has all of it."""
    eight = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
    session.call(lambda: session.world.lab.clock.freeze(eight))
    run(session, "snapshot", "at-eight")
    assert run(session, "clock").output.startswith("2026-03-02T08:00:00+00:00, frozen")
    assert run(session, "restore", "at-eight").output == "Restored at-eight, 2026-03-02T08:00:00+00:00.\n"
    assert json.loads(run(session, "--json", "clock").output)["time"] == "2026-03-02T08:00:00.123456+00:00"
    assert re.search(r"the lab's time is \S+T\d\d:\d\d:\d\d\+00:00\.\n$", run(session, "reset").output)


def test_snapshots_of_scenarios_and_control_api_are_the_same(session: TestLab) -> None:
    """A snapshot taken by a step is listed and restored by the control API, and vice versa."""
    session.do("snapshot", "by-step")
    assert run(session, "snapshot", "by-command").exit_code == 0
    session.add_user("late@pfxlab.example")
    assert run(session, "restore", "by-step").exit_code == 0
    assert len(session.graph.get("/v1.0/users")["value"]) == 2
    session.do("restore", "by-command")
    with pytest.raises(
        verbs.VerbFailed, match="expected the name of a snapshot \\(by-command, by-step\\), got 'never'"
    ):
        session.do("restore", "never")


def test_scenario_schema_is_valid() -> None:
    """The schema generated from the table is valid JSON Schema, and so is each verb's part."""
    Draft202012Validator.check_schema(verbs.schema())
    for one in verbs.steps().values():
        Draft202012Validator.check_schema(one.arguments or {})


EXPIRES: dict[str, Callable[[TestLab], Any]] = {
    "world advance": lambda lab: run(lab, "advance", "30d", "--expire-tokens"),
    "world clock": lambda lab: run(lab, "clock", "--advance", "30d", "--expire-tokens"),
    "world pass": lambda lab: run(lab, "pass", "time=30d", "expire_tokens=true"),
    "pytest": lambda lab: lab.advance("30d", expire_tokens=True),
    "step": lambda lab: lab.do("pass", time="30d", expire_tokens=True),
}


@pytest.mark.parametrize("interface", EXPIRES)
def test_tokens_expire_by_name_in_each_interface(session: TestLab, interface: str) -> None:
    """Time that passes ends no token; asked by name, it ends every one so far, and the lab's own client goes on."""
    token = session.graph.token()
    headers = {"Authorization": f"Bearer {token}"}
    session.advance("30d")
    assert session.graph.get("/beta/users", headers).status == 200
    EXPIRES[interface](session)
    assert session.graph.get("/beta/users", headers).status == 401
    assert session.graph.get("/beta/users").status == 200
    assert session.now - session.world.lab.cloud.wall.now() > timedelta(days=59)


def test_expired_tokens_are_told(session: TestLab) -> None:
    """`world advance --expire-tokens` says what it did beside the new time."""
    done = run(session, "advance", "1h", "--expire-tokens")
    assert "Every access token issued so far is expired; refresh tokens are valid." in done.output.splitlines()


def test_tokens_do_not_expire_without_time(session: TestLab) -> None:
    """`--expire-tokens` without `--advance` is a usage error."""
    done = run(session, "clock", "--freeze", "--expire-tokens")
    assert (done.exit_code, "expected --expire-tokens beside --advance" in done.output) == (2, True)
