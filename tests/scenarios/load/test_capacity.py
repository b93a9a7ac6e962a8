"""The capacity planner, against queueing arithmetic done by hand and against the simulation over the real queue."""

import json
import random

import pytest
from click.testing import CliRunner

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.load.capacity.model import ARRIVALS, Rates, Tenant, assumptions, flow, needed, spread
from pfxlab.scenarios.load.capacity.simulation import simulate


def test_queue_of_even_arrivals_matches_arithmetic() -> None:
    """Of 7,200 deliveries in an hour by 1.5 a second, 1,800 are queued at the end: 20 minutes of work."""
    seen = flow(7200, 3600, spread("constant"), 1.5)
    assert seen.longest_queue == pytest.approx(1800)
    assert seen.queue_seconds == pytest.approx(1200)
    assert seen.finished == pytest.approx(4800)
    assert seen.busy == pytest.approx(1)


def test_needed_capacity_of_even_arrivals_matches_arithmetic() -> None:
    """Arrivals a for w seconds fit connectors of c = a·w/(w+q) with a queue of q seconds; a fifth is spared."""
    tenant = Tenant(1000, 2, 3.6, 3600, "constant")
    answer = needed(tenant, Rates(1.0, 0.0, 1), 1200)
    assert answer.exact == pytest.approx(2 * 3600 / 4800, rel=0.001)
    assert answer.connectors == 2
    assert answer.peak_per_second == pytest.approx(2)


def test_hsm_replaces_the_processor() -> None:
    """With an HSM the rate is that of its private operations, as long as the processor keeps up with the rest."""
    assert Rates(0.0004, 0.0001, 2).per_second == pytest.approx(4000)
    assert Rates(0.0004, 0.0001, 2, hsm=50).per_second == 50
    assert Rates(0.0004, 0.0001, 2, hsm=1e6).per_second == pytest.approx(20_000)


@pytest.mark.parametrize(
    "number", [*range(3), *(pytest.param(one, marks=pytest.mark.campaign) for one in range(3, 20))]
)
def test_planner_and_simulation_agree_within_a_tenth(number: int) -> None:
    """With a tenth more capacity than planned the simulated queue stays within its limit, with a tenth less it does not."""
    chance = random.Random(number)  # noqa: S311 - a test's tenants
    tenant = Tenant(
        chance.randint(500, 40_000),
        chance.choice([1, 1.5, 2, 3]),
        chance.choice([1, 2, 3, 5]),
        chance.choice([1800, 3600, 7200, 14_400]),
        chance.choice(ARRIVALS),
    )
    rates, limit = Rates(1 / chance.choice([5, 20, 100, 2000]), 0.0, 1), chance.choice([300, 600, 1800])
    exact = needed(tenant, rates, limit).exact
    more, less = (simulate(tenant, exact * part, rates.per_second, number, 1200) for part in (1.1, 0.9))
    assert more.flow.queue_seconds < limit < less.flow.queue_seconds
    assert 0 < more.mean_wait <= more.longest_wait


def test_slow_hsms_of_large_tenants_are_simulated() -> None:
    """The simulation of a scaled-down tenant with slow connectors finishes."""
    seen = simulate(Tenant(500_000, 2, 3, 7200), 100.0, 5.0, largest=300)
    assert seen.flow.finished >= 7200 * 0.9
    assert seen.mean_wait > 0


def test_assumptions_are_complete() -> None:
    """The assumptions mention window, deliveries, queue, cores or HSM, and the reserve."""
    tenant = Tenant(100, 2, 3, 7200)
    for rates, said in ((Rates(0.0003, 0.0001, 4), "300 µs of a core"), (Rates(0.0003, 0.0001, 4, 25), "HSM does 25")):
        text = " ".join(assumptions(tenant, rates, 600))
        assert all(part in text for part in (said, "2 hours", "600 deliveries", "10 minutes", "4 cores", "20%"))


def test_plan_command_prints_one_json_object() -> None:
    """`pfxlab plan --json` prints connectors, rates, options, simulation and assumptions, and nothing else."""
    arguments = ["plan", "--users", "2000", "--hsm-rate", "2", "--window", "1h", "--max-queue", "15m", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["tenant"]["deliveries"] == 12_000
    assert told["rates"]["per_second"] == 2
    assert told["connectors"] >= told["exact"] > 1
    assert len(told["options"]) == 3
    assert told["simulated"]["at_connectors"]["flow"]["queue_seconds"] <= 900
    assert told["simulated"]["at_exact"]["flow"]["queue_seconds"] == pytest.approx(900, rel=0.25)


@pytest.mark.parametrize("window", ["0h", "3x", "2d", "99h"])
def test_invalid_window_is_refused(window: str) -> None:
    """An invalid window, or one longer than a day, ends with code 2."""
    result = CliRunner().invoke(main, ["plan", "--users", "5", "--window", window])
    assert (result.exit_code, "expected a time up to 24h" in result.output) == (2, True)
