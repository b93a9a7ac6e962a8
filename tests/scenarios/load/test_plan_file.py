"""Load plans: errors have the line; changes by the command line keep the plan's proportions."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.load.plan_file import PATHS, PlanProblem, built_in, changed, parse_plan, read_plan, with_rate
from pfxlab.scenarios.load.shapes import KINDS

_GOOD = "title: t\npath: graph\nshape: {kind: constant, rate: 10, seconds: 5}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.yaml, line 1: expected a plan with title, path and shape, got an empty file"),
        ("title: [\n", "p.yaml, line 2: expected YAML"),
        ("title: t\npath: graph\n", "line 1: the file: expected shape, got none"),
        (_GOOD.replace("graph", "grpah"), "line 2: path: expected one of graph, checkin"),
        (_GOOD + "batches: 5\n", "line 1: the file: expected one of batch, certificates"),
        (_GOOD.replace("rate: 10", "rate: 0"), "line 3: shape/rate: expected a number above 0, got 0"),
        (_GOOD.replace("rate: 10, ", ""), "line 3: shape: expected rate or openssl_share, got neither"),
        (_GOOD.replace("rate: 10", "rate: 10, start: 20"), "line 3: start: expected at most the rate, 10, got 20"),
        (_GOOD.replace("rate: 10", "openssl_share: 1"), "line 3: openssl_share: expected a rate for the path graph"),
        (_GOOD + "batch: 5\n", "line 4: batch: expected 1, or the path connector or crypto, got 5"),
        (_GOOD + "mix: {import: 0}\n", "line 4: mix: expected a weight above 0, got none"),
        (_GOOD + "thresholds:\n  - {measure: p95_ms}\n", "line 5: thresholds/1: expected most or least, got neither"),
        (_GOOD + "thresholds:\n  - {measure: p95, most: 1}\n", "line 5: thresholds/1/measure: expected one of mean_ms"),
        (_GOOD.replace("rate: 10", "rate: .inf"), "line 3: rate: expected a finite number, got inf"),
        (_GOOD + "pace: .nan\n", "line 4: pace: expected a finite number, got nan"),
        (_GOOD.replace("constant", "ramp"), "line 3: steps: expected steps of at least 3 seconds"),
        (
            _GOOD.replace("graph", "connector") + "batch: 501\n",
            "line 4: batch: expected at most 500, what a lease holds",
        ),
        (
            _GOOD.replace("graph", "crypto").replace("rate: 10", "openssl_share: 1, start: 5"),
            "line 3: start: expected none beside openssl_share, got 5",
        ),
        (
            _GOOD + "thresholds:\n  - {measure: unsent_percent, of: import, most: 1}\n",
            "line 5: of: expected none with unsent_percent, which is of the whole run",
        ),
        (_GOOD.replace("constant", "ramp").replace("seconds: 5", "seconds: 30.0, steps: 10.0"), ""),
    ],
)
def test_mistakes_in_a_plan_are_reported_with_the_line(text: str, said: str) -> None:
    """Each mistake in a plan is reported in a sentence with file, line and what was expected."""
    if not said:
        assert parse_plan(text, "p", "p.yaml").shape.lowest == 1
        return
    with pytest.raises(PlanProblem) as problem:
        parse_plan(text, "p", "p.yaml")
    assert said in str(problem.value)


def test_unreadable_plan_is_reported(tmp_path: Path) -> None:
    """A file that is not text, and a missing file, are reported as such."""
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    for name, said in (("x", "line 1: expected text in UTF-8"), ("none", "got: No such file")):
        with pytest.raises(PlanProblem, match=said):
            read_plan(tmp_path / f"{name}.yaml")


def test_built_in_plans_cover_every_path_and_shape() -> None:
    """The plans shipped with the lab use each path and each shape at least once, and each has thresholds."""
    plans = built_in().values()
    assert {plan.path for plan in plans} == set(PATHS)
    assert {plan.shape.kind for plan in plans} == set(KINDS)
    assert all(plan.thresholds for plan in plans)


def test_command_line_keeps_the_plans_proportions() -> None:
    """A new highest rate scales the lowest, the given number of users shares it, and the duration is as given."""
    plan = parse_plan(_GOOD.replace("rate: 10", "rate: 10, start: 2"), "p", "p.yaml")
    assert isinstance(parse_plan(_GOOD + "users: 5.0\n", "p", "p.yaml").users, int)
    other = changed(plan, kind="wave", rate=50, seconds=9, users=25, processes=3)
    assert (other.shape.kind, other.shape.lowest, other.shape.seconds, other.processes) == ("wave", 10, 9, 3)
    assert other.users_for(50) == 25
    assert other.offered(4.5) == 50


def test_a_share_of_openssl_becomes_a_rate() -> None:
    """A plan with a share of OpenSSL's rate ramps up to it from its first step; a given rate takes precedence."""
    text = "title: t\npath: crypto\nshape: {kind: ramp, openssl_share: 0.5, seconds: 15, steps: 5}\n"
    plan = parse_plan(text, "p", "p.yaml")
    real = with_rate(plan, 4000)
    assert (real.shape.lowest, real.shape.rate, real.batch) == (400, 2000, 100)
    assert changed(plan, rate=100).shape.lowest == 20
    assert changed(plan, rate=100).openssl_share == 0
    shared = with_rate(changed(plan, users=20), 4000)
    assert (shared.users_for(2000), shared.pace) == (20, 1)


def test_a_ramp_has_no_more_steps_than_there_is_time_for() -> None:
    """A shorter duration drops steps, and the ramp starts with one step; other shapes become complete ramps."""
    plan = parse_plan(_GOOD.replace("constant", "ramp").replace("seconds: 5", "seconds: 60"), "p", "p.yaml")
    short = changed(plan, seconds=9).shape
    assert (short.steps, round(short.lowest, 3)) == (3, 3.333)
    told = parse_plan(_GOOD.replace("constant", "ramp").replace("seconds: 5", "seconds: 60, start: 4"), "p", "p.yaml")
    assert changed(told, seconds=9, rate=20).shape.lowest == 8
    assert changed(parse_plan(_GOOD, "p", "p.yaml"), kind="ramp", seconds=30).shape.lowest == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "expected a plan; those that come with the lab"),
        (("nosuch",), 2, "expected a file or one of the plans"),
        (("crypto", "--ready-file", __file__), 2, "expected a plan for graph, checkin or enrollment"),
        (("graph", "--against", "https://localhost:1"), 2, "expected --ready-file with --against"),
        (("graph", "--rate", "nan"), 2, "expected a number as the rate"),
        (("graph", "--workers", "2"), 2, "expected --kit FOLDER"),
        (("graph", "--workers", "2", "--kit", "."), 2, "expected a folder that is empty"),
    ],
)
def test_incompatible_options_are_refused(arguments: tuple[str, ...], code: int, said: str) -> None:
    """Incompatible options end with code 2 and a sentence, before anything is started."""
    result = CliRunner().invoke(main, ["load", *arguments])
    assert (result.exit_code, said in " ".join(result.output.split())) == (code, True), result.output


def test_plans_are_listed_and_their_schema_printed() -> None:
    """`load --list` names every plan, as JSON too; `load --schema` prints a JSON Schema."""
    listed = CliRunner().invoke(main, ["load", "--list"])
    assert all(name in listed.output for name in built_in())
    told = json.loads(CliRunner().invoke(main, ["load", "--list", "--json"]).output)
    assert {one["name"] for one in told} == set(built_in())
    assert json.loads(CliRunner().invoke(main, ["load", "--schema"]).output)["required"] == ["title", "path", "shape"]


def test_a_worker_needs_a_kit(tmp_path: Path) -> None:
    """`load-worker` with a folder that is not a kit ends with code 2."""
    result = CliRunner().invoke(main, ["load-worker", str(tmp_path)])
    assert (result.exit_code, "expected the kit of a load run" in result.output) == (2, True)
