"""Totals of a run, its verdict, and its bottleneck."""

from typing import Any

import pytest

from pfxlab.scenarios.load.drive.run import RunResult
from pfxlab.scenarios.load.drive.usage import between, bottleneck, busiest_of
from pfxlab.scenarios.load.judge.measured import PATH, STAGE, Cells, Measured
from pfxlab.scenarios.load.judge.verdict import judge
from pfxlab.scenarios.load.plan_file import MEASURES, LoadPlan, Threshold
from pfxlab.scenarios.load.report.report import answer, complete
from pfxlab.scenarios.load.shapes import Shape

_PLAN = LoadPlan("p", "t", "graph", Shape("ramp", 40, 16, 10, 4))


def measured(*, capacity: int = 1000) -> dict[str, Any]:
    """Return the result of a ramp 10, 20, 30, 40 of four seconds each that no more than a capacity was done of."""
    seen = Measured(_PLAN)
    for second in range(16):
        cells = Cells()
        cell = cells.cell(second, PATH, "import")
        for _ in range(min(capacity, 10 * (1 + second // 4))):
            cell.latencies.append(5.0)
            cell.units += 1
        cells.cell(second, STAGE, "sign in").latencies.append(70.0)
        seen.offer(second)
        seen.add(cells.drain())
        assert not cells
    return seen.result()


def test_pieces_and_totals_add_up() -> None:
    """Counts, rates, pieces and seconds of a run are those of its cells; stages do not count towards the rate."""
    result = measured()
    assert (result["seconds"], result["all"]["count"], result["all"]["units"]) == (16, 400, 400)
    assert result["all"]["per_second"] == result["offered_per_second"] == 25
    assert [point["achieved"] for point in result["points"]] == [10, 20, 30, 40]
    assert [one["achieved"] for one in result["series"]] == [rate for rate in (10, 20, 30, 40) for _ in range(4)]
    assert (set(result["requests"]), set(result["stages"])) == ({"import"}, {"sign in"})
    assert result["requests"]["import"]["p50_ms"] == pytest.approx(5, rel=0.002)
    assert result["saturation"] == {"per_second": 40, "reached": False, "overloaded": 40}


def test_a_ceiling_is_found() -> None:
    """A target that does 25 a second and no more saturates at 25."""
    assert measured(capacity=25)["saturation"] == {"per_second": 25, "reached": True, "overloaded": 25}


def test_run_that_ended_early_has_its_complete_pieces() -> None:
    """Pieces that a run did not reach are left out, and without any there is no saturation."""
    seen = Measured(_PLAN)
    assert seen.result()["saturation"] is None
    for second in range(5):
        seen.offer(second)
    assert [(point["from"], point["to"]) for point in seen.result()["points"]] == [(2, 4)]


def test_run_without_a_request_has_measured_nothing() -> None:
    """A run in which no request was made has no saturation point, and its report says that nothing was measured."""
    seen = Measured(_PLAN)
    for second in range(16):
        seen.offer(second)
    assert seen.result()["saturation"] is None
    body, _ = complete(RunResult(_PLAN, seen.result()))
    assert body["verdict"] == "INCOMPLETE"
    assert answer(body) == "Nothing was measured: no request was made."
    body, _ = complete(RunResult(_PLAN, seen.result(), "interrupted"))
    assert answer(body) == "Nothing was measured: no request was made, and the run ended early: interrupted."


def test_run_in_which_every_request_failed_says_so() -> None:
    """A run without a single success is not reported as a saturation at 0."""
    seen, cells = Measured(_PLAN), Cells()
    for second in range(16):
        cells.cell(second, PATH, "import").failures += 1
        seen.offer(second)
    seen.add(cells.drain())
    body, _ = complete(RunResult(_PLAN, seen.result()))
    assert answer(body) == "No request succeeded: 16 requests failed."


def test_requests_that_end_after_the_run_do_not_count() -> None:
    """Requests that end after the plan, or after an early end, do not count and are reported as unsent."""
    seen, cells = Measured(_PLAN), Cells()
    for second in (-1, 0, 15, 16, 20):
        cells.cell(second, PATH, "import").latencies.append(1.0)
        cells.cell(second, PATH, "import").units += 1
    rows = cells.drain()
    for second in range(16):
        seen.offer(second)
    seen.add(rows)
    result = seen.result()
    assert (result["all"]["units"], result["all"]["unsent"]) == (2, 398)
    cut = Measured(_PLAN)
    for second in range(10):
        cut.offer(second)
    cut.close(8)
    cut.add(rows)
    assert (cut.result()["seconds"], cut.result()["all"]["units"]) == (8, 1)


def test_failures_and_skipped_beats_are_counted() -> None:
    """Failed requests count by cause and add nothing to latency or rate; skipped beats are reported."""
    seen, cells = Measured(_PLAN), Cells()
    cell = cells.cell(0, PATH, "import")
    cell.failures, cell.unsent = 2, 3
    cell.causes.update(["no route", "no route"])
    seen.offer(0)
    seen.add(cells.drain())
    result = seen.result()
    assert (result["all"]["failures"], result["all"]["unsent"], result["causes"]) == (2, 8, {"no route": 2})
    assert result["series"][0]["unsent"] == 3
    assert result["all"]["per_second"] == 0


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_each_measure_is_judged(measure: str) -> None:
    """Each measure is read from a run's result, and meets a bound on one side and misses it on the other."""
    result = {**measured(capacity=25), "openssl": {"ratio": 0.5}}
    (value,) = (one.measured for one in judge(_with(Threshold(measure, most=1e9)), result))
    assert value is not None
    for threshold, kept in (
        (Threshold(measure, most=value), True),
        (Threshold(measure, least=value), True),
        (Threshold(measure, most=value - 0.01), False),
        (Threshold(measure, least=value + 0.01), False),
    ):
        (judged,) = judge(_with(threshold), result)
        assert judged.kept is kept
        assert ("MISSED" in judged.text()) is not kept


def test_threshold_without_a_measurement_is_missed() -> None:
    """A threshold on requests that did not occur is missed."""
    (judged,) = judge(_with(Threshold("p95_ms", of="nosuch", most=1)), measured())
    assert (judged.kept, judged.measured) == (False, None)
    assert "got no measurement" in judged.text()


def test_a_ratio_is_not_judged_without_openssl_or_saturation() -> None:
    """Without OpenSSL, or without saturation, a threshold on the ratio is neither kept nor missed."""
    for result, why in (
        ({**measured(capacity=25), "openssl": None}, "does not run here"),
        ({**measured(), "openssl": {"ratio": 0.01}}, "did not saturate"),
    ):
        (judged,) = judge(_with(Threshold("openssl_ratio", least=5)), result)
        assert (judged.kept, "not judged" in judged.text(), why in judged.text()) == (True, True, True)


def _with(threshold: Threshold) -> LoadPlan:
    return LoadPlan("p", "t", "graph", _PLAN.shape, thresholds=(threshold,))


def test_processor_time_becomes_cores() -> None:
    """Cores are processor seconds over real ones; the busiest fifth of a run is found."""
    looks = [(float(t), {"emulator": 0.1 * t if t < 8 else 0.8 + 0.9 * (t - 8)}) for t in range(11)]
    assert between(looks, 0, 10)["emulator"] == pytest.approx(2.6 / 10)
    assert busiest_of(looks)["emulator"] == pytest.approx(0.9)
    assert between(looks, 3, 3) == {}
    assert busiest_of([]) == {}


@pytest.mark.parametrize(
    ("busy", "said"),
    [
        ({}, "too short to tell"),
        ({"emulator": 0.95, "load generator": 0.3}, "the emulator's event loop was full"),
        ({"emulator": 0.3, "load generator 1": 0.9, "load generator 2": 0.7}, "the machine was full"),
        ({"emulator": 0.2, "load generator": 0.95}, "more of them offer more"),
        ({"emulator": 0.2, "load generator": 0.2}, "no processor was full"),
    ],
)
def test_bottleneck_is_named(busy: dict[str, float], said: str) -> None:
    """The sentence on the bottleneck names what was busy: event loop, machine, load generator or nothing."""
    parties = {party: {"cores": cores, "cores_at_the_busiest": cores} for party, cores in busy.items()}
    assert said in bottleneck({"cores": 2, "parties": parties})
