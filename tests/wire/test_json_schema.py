"""What errors of JSON Schema say."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pfxlab.emulator.lab import verbs
from pfxlab.emulator.wire.json_schema import draft_2020_12, narrowed, problem_of
from pfxlab.scenarios.load.plan_file import schema as plan_schema
from pfxlab.scenarios.scenario.loader import ScenarioProblem, parse_scenario
from pfxlab.scenarios.scenario.loader import schema as scenario_schema
from tests.test_house_rules import ROOT


@pytest.mark.parametrize(
    ("verb", "given", "said"),
    [
        ("device", "x", "device: expected values such as {a: b}, got 'x'"),
        ("device", {"name": "x", "platform": "iso", "user": "a@b"},
         "device/platform: expected one of ios, macos, windows, android, androidForWork, androidDeviceOwner, got 'iso'"),
        ("user", ["a@b", "x"], "user/2: expected a user principal name, got 'x'"),
        ("user", 5,
         "user: expected a user principal name or a list such as [a, b] or values such as {a: b}, got 5"),
        ("pass", "soon", "pass: expected a duration such as 1d12h, got 'soon'"),
        ("expect", {"holds": "mail"}, "expect: expected device beside holds, got none"),
        ("expect", {"holds": "mail", "lacks": "mail"}, "expect: expected device beside holds, got none"),
        ("import", {"certificate": []}, "import/certificate: expected at least 1 entry, got 0"),
        ("import", {"certificate": "x", "refusd": "y"},
         "import: expected one of certificate, key, padding, purpose, raw_password, refused, upn, got refusd"),
        ("key", {"name": "k", "action": "ad"}, "key/action: expected one of add, remove, got 'ad'"),
        ("lock", {"device": "d", "locked": None}, "lock/locked: expected true or false, got nothing"),
        ("settle", 5, "settle: expected no arguments, got 5"),
        ("fault", {"kind": "status", "times": 0}, "fault/times: expected a whole number from 1 to 1000000, got 0"),
        ("fault", {"kind": "status", "times": "often"},
         "fault/times: expected a whole number from 1 to 1000000 or always, got 'often'"),
    ],
)  # fmt: skip
def test_wrong_argument_is_named_in_plain_words(verb: str, given: Any, said: str) -> None:
    """An argument that does not fit is refused with its place, what was expected and what came."""
    with pytest.raises(ValueError, match=f"^{verb}") as caught:
        verbs.check(verb, given)
    assert str(caught.value) == said


@pytest.mark.parametrize("password", ["secret" * 200, ["secret"], 5_318_008])
def test_password_is_not_repeated(password: object) -> None:
    """An error about a password shows its length or kind, never its value."""
    with pytest.raises(ValueError, match="certificate/password: expected") as caught:
        verbs.check("certificate", {"name": "c", "user": "a@b", "password": password})
    assert not any(part in str(caught.value) for part in ("secret", "5318008"))


def test_misspelt_value_of_a_file_names_the_nearest() -> None:
    """A scenario file with a misspelt verb or value is refused with the name that is nearest."""
    device = "title: x\nsteps:\n  - device: {name: x, user: a@b, platform: macoz}\n"
    with pytest.raises(ScenarioProblem, match=r"got 'macoz'; did you mean macos\?$"):
        parse_scenario(device, "x", "x.yaml")
    with pytest.raises(ScenarioProblem, match=r"got profil; did you mean profile\?$"):
        parse_scenario("title: x\nsteps:\n  - profil: {}\n", "x", "x.yaml")


def _schemas() -> Iterator[dict[str, Any]]:
    """Yield every schema that users' values are checked by."""
    for verb in verbs.VERBS:
        body = None if verb.endpoint is None else verb.endpoint.body
        yield from (dict(one) for one in (verb.arguments, body) if one is not None)
    for path in (ROOT / "emulator/wire/schemas").glob("*.json"):
        yield json.loads(path.read_text("utf-8"))
    yield from (scenario_schema(), plan_schema())


@pytest.mark.parametrize("odd", [None, 0, 1.5, True, "x", [], {}, [[]], {"a": None}, {"requests": [{"id": None}]}])
def test_every_schema_says_in_words_what_it_refuses(odd: Any) -> None:
    """Whatever a value is, each schema that refuses it says what was expected."""
    for schema in _schemas():
        for error in draft_2020_12(schema).iter_errors(odd):
            assert problem_of(narrowed(error)).startswith("expected "), (schema, odd)
