"""Statistics of load runs, against distributions and curves with known figures."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.scenarios.load.drive.pacing import Beat, offset
from pfxlab.scenarios.load.judge import saturation
from pfxlab.scenarios.load.judge.distribution import Distribution
from pfxlab.scenarios.load.shapes import KINDS, Shape

_MANY = 100_000
_LATENCIES = st.lists(st.floats(0.01, 100_000), min_size=1, max_size=200)


def quantiles(inverse: object) -> list[float]:
    """Return the values of a distribution at evenly spaced parts, by its inverse."""
    return [inverse((number + 0.5) / _MANY) for number in range(_MANY)]  # type: ignore[operator]


def test_exponential_distribution_has_its_known_figures() -> None:
    """Mean, standard deviation and percentiles of an exponential distribution are those of theory."""
    seen = Distribution(quantiles(lambda part: -50 * math.log(1 - part)))
    assert seen.mean() == pytest.approx(50, rel=0.005)
    assert seen.standard_deviation() == pytest.approx(50, rel=0.005)
    for percent in (50, 90, 95, 99, 99.9):
        assert seen.percentile(percent) == pytest.approx(-50 * math.log(1 - percent / 100), rel=0.005)


def test_lognormal_distribution_has_its_known_figures() -> None:
    """Mean, standard deviation and percentiles of a log-normal distribution, long tail and all, are those of theory."""
    normal, mu, sigma = statistics.NormalDist(), 3.0, 0.8
    seen = Distribution(quantiles(lambda part: math.exp(mu + sigma * normal.inv_cdf(part))))
    mean = math.exp(mu + sigma**2 / 2)
    assert seen.mean() == pytest.approx(mean, rel=0.005)
    assert seen.standard_deviation() == pytest.approx(mean * math.sqrt(math.exp(sigma**2) - 1), rel=0.01)
    for percent in (50, 95, 99):
        assert seen.percentile(percent) == pytest.approx(
            math.exp(mu + sigma * normal.inv_cdf(percent / 100)), rel=0.005
        )


def test_uniform_distribution_has_its_known_figures() -> None:
    """Mean, standard deviation and percentiles of a uniform distribution are those of theory."""
    seen = Distribution(quantiles(lambda part: 100 + 800 * part))
    assert seen.mean() == pytest.approx(500, rel=0.002)
    assert seen.standard_deviation() == pytest.approx(800 / math.sqrt(12), rel=0.002)
    assert seen.percentile(25) == pytest.approx(300, rel=0.002)
    assert seen.longest() == pytest.approx(900, rel=0.002)


@given(_LATENCIES, _LATENCIES)
def test_merged_distributions_are_those_of_all_values(one: list[float], other: list[float]) -> None:
    """The merged measurements of two load generators have the figures of all their values."""
    merged = Distribution(one)
    merged.add(other)
    assert merged.figures() == Distribution([*one, *other]).figures()


@given(_LATENCIES)
def test_figures_are_those_of_the_statistics_module(values: list[float]) -> None:
    """Mean, population deviation, median and longest value agree with Python's statistics module."""
    seen = Distribution(values)
    assert seen.mean() == pytest.approx(statistics.fmean(values))
    assert seen.standard_deviation() == pytest.approx(statistics.pstdev(values), abs=1e-6)
    assert seen.percentile(50) == pytest.approx(statistics.median(values))
    assert seen.longest() == max(values)


def test_nothing_measured_has_no_figures() -> None:
    """An empty distribution is zero in every figure."""
    assert set(Distribution().figures().values()) == {0.0}


@given(st.floats(50, 5000), st.integers(6, 20), st.integers(0, 1000))
def test_saturation_of_a_noisy_curve_is_its_ceiling(ceiling: float, steps: int, seed: int) -> None:
    """Of min(offered, c) with two percent of noise the saturation point is c within six percent."""
    chance = random.Random(seed)  # noqa: S311 - a test's noise
    loads = [2 * ceiling * (step + 1) / steps for step in range(steps)]
    points = [(load, min(load, ceiling) * chance.gauss(1, 0.02)) for load in loads]
    found = saturation.find(points)
    assert found is not None
    assert found.reached
    assert found.per_second == pytest.approx(ceiling, rel=0.06)


def test_a_target_that_keeps_up_is_not_called_saturated() -> None:
    """When a run keeps up with all its load, the highest throughput is reported, and not as a ceiling."""
    found = saturation.find([(100, 100), (200, 199), (300, 297)])
    assert found == saturation.Saturation(297, reached=False, overloaded=297)
    assert "did not saturate" in found.text("imports")


def test_collapse_under_overload_is_not_the_capacity() -> None:
    """For a target that sustains 4,300 and falls to 3,500 under twice the load, 4,300 is the ceiling."""
    found = saturation.find([(3000, 3000), (4300, 4300), (4900, 4150), (5500, 3600), (6100, 3500)])
    assert found == saturation.Saturation(4300, reached=True, overloaded=3500)
    assert found.text("deliveries") == "saturates at 4,300 deliveries per second, and does 3,500 at the highest load"


def test_same_load_at_different_times_counts_once() -> None:
    """A target that keeps up with a constant load on average is not saturated by slow moments."""
    found = saturation.find([(100, 92), (100, 108), (100, 99)])
    assert found is not None
    assert not found.reached


def test_no_points_have_no_saturation() -> None:
    """A run that ended before its first step has no saturation point."""
    assert saturation.find([]) is None


def test_beats_keep_time_with_slow_responses() -> None:
    """Beats follow a fixed schedule: a response late by less than a beat delays no later beat."""
    beat = Beat(1.0, 10.0)
    assert beat.next(10.75) == (0.25, 0)
    assert beat.next(11.5) == (0.5, 0)
    assert beat.due == 12.0


def test_beats_that_are_past_are_left_out_and_counted() -> None:
    """A user late by whole beats continues at once with the last of them and reports how many it skipped."""
    beat = Beat(1.0, 10.0)
    assert beat.next(14.5) == (0.0, 3)
    assert beat.due == 14.0


@given(st.integers(1, 200))
def test_users_begin_evenly_spread(count: int) -> None:
    """However many users there are, no stretch of the interval longer than three of their shares is without one."""
    begins = sorted(offset(number) for number in range(count))
    gaps = [after - before for before, after in zip(begins, [*begins[1:], begins[0] + 1], strict=True)]
    assert max(gaps) <= 3 / count


@given(st.sampled_from(sorted(KINDS)), st.floats(1, 1000), st.floats(0, 1), st.floats(10, 600))
def test_shapes_stay_between_start_and_rate(kind: str, rate: float, share: float, seconds: float) -> None:
    """Every shape covers the range from its lowest to its highest rate, and ends on time."""
    shape = Shape(kind, rate, seconds, rate * share)
    seen = [shape.at(seconds * number / 500) for number in range(500)]
    assert all(one is not None and shape.lowest - 1e-9 <= one <= rate + 1e-9 for one in seen)
    assert max(one for one in seen if one is not None) == pytest.approx(rate, rel=0.01)
    assert shape.at(seconds) is None
    assert shape.at(-0.1) is None


def test_morning_peaks_early_and_wave_in_the_middle() -> None:
    """The morning shape peaks at a quarter of the time, an enrolment wave at half of it."""
    for kind, peak in (("morning", 0.25), ("wave", 0.5)):
        shape = Shape(kind, 100, 1000)
        moments = [number / 10 for number in range(10_000)]
        assert max(moments, key=lambda moment: shape.at(moment) or 0) == pytest.approx(1000 * peak, abs=1)


def test_ramp_has_equal_steps() -> None:
    """A ramp of four steps from 10 to 40 offers 10, 20, 30 and 40 for a quarter of the time each."""
    shape = Shape("ramp", 40, 40, 10, 4)
    assert Shape("constant", 5, 40, steps=4).bins() == [(10 / 3, 10), (10, 20), (20, 30), (30, 40)]
    assert [shape.at(moment) for moment in (0, 9.9, 10, 29.9, 30, 39.9)] == [10, 10, 20, 30, 40, 40]
    assert [round(edge, 3) for edge in shape.bins()[1]] == [13.333, 20]
