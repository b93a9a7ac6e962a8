"""`pfxlab plan`: how many connectors a tenant needs, from what one does on this machine."""

from dataclasses import asdict
from typing import Final

import click

from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import missing_for_load, print_result
from pfxlab.scenarios.commands.options import Duration
from pfxlab.scenarios.load.capacity.model import (
    ARRIVALS,
    Answer,
    Flow,
    Rates,
    Tenant,
    assumptions,
    flow,
    needed,
    spread,
)

_TELLING: Final = 3000
"""With fewer deliveries than this, random variation of the queue hides what is planned for."""


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.1f} min"


@click.command()
@click.option("--users", required=True, type=click.IntRange(1, 10_000_000), help="Users with imported certificates.")
@click.option("--devices-per-user", default=2.0, show_default=True, type=click.FloatRange(0.1, 100), help="On average.")
@click.option(
    "--certs-per-user",
    default=3.0,
    show_default=True,
    type=click.FloatRange(1, 100),
    help="On average, including old ones.",
)
@click.option("--window", default="2h", show_default=True, type=Duration(), help="Time in which all devices check in.")
@click.option(
    "--arrivals",
    default="morning",
    show_default=True,
    type=suggest.Choice(ARRIVALS),
    help="How the check-ins spread over the window.",
)
@click.option(
    "--max-queue", default="10m", show_default=True, type=Duration(),
    help="Longest queue, as working time of the connectors.",
)  # fmt: skip
@click.option(
    "--bits",
    default="2048",
    show_default=True,
    type=suggest.Choice(["2048", "3072", "4096"]),
    help="Size of the connector's key.",
)
@click.option(
    "--hsm-rate", type=click.FloatRange(0, min_open=True), help="Private operations per second of each connector's HSM."
)
@click.option("--cores", type=click.IntRange(1, 1024), help="Cores of a connector's server.  [default: this machine's]")
@click.option("--seed", default=7, show_default=True, help="Seed of the simulated check-ins.")
@options.as_json("the answer")
def plan(
    users: int, devices_per_user: float, certs_per_user: float, window: float, arrivals: str, max_queue: float,
    bits: str, hsm_rate: float | None, cores: int | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Estimate how many connectors a tenant needs if all its devices check in within a time window.

    One connector is measured on this machine first; the answer is then checked against a simulation that moves
    real deliveries through the lab's own queue.
    """
    try:
        from pfxlab.scenarios.load.capacity.rates import measure
        from pfxlab.scenarios.load.capacity.simulation import simulate
    except ImportError as error:
        missing_for_load(error)
    tenant = Tenant(users, devices_per_user, certs_per_user, window, arrivals)
    if tenant.deliveries < 1:
        raise click.UsageError("expected at least one delivery, got users, devices and certificates that make none")
    click.echo("measuring one connector on this machine …", err=True)
    rates = measure(int(bits), hsm_rate, cores)
    answer = needed(tenant, rates, max_queue)
    click.echo("simulating …", err=True)
    exact = simulate(tenant, answer.exact, rates.per_second, seed)
    planned = simulate(tenant, answer.connectors, rates.per_second, seed)
    taken = assumptions(tenant, rates, max_queue)
    nearby = sorted({max(1, answer.connectors - 1), answer.connectors, answer.connectors + 1})
    shares = spread(arrivals)
    options = {number: flow(tenant.deliveries, window, shares, number * rates.per_second) for number in nearby}
    result = {
        "tenant": {**asdict(tenant), "deliveries": tenant.deliveries},
        "rates": {**asdict(rates), "per_second": rates.per_second},
        "connectors": answer.connectors,
        "exact": answer.exact,
        "peak_per_second": answer.peak_per_second,
        "options": [{"connectors": number, **asdict(found)} for number, found in options.items()],
        "simulated": {"at_exact": asdict(exact), "at_connectors": asdict(planned)},
        "assumptions": taken,
    }
    text = _text(tenant, rates, answer, options, max_queue)
    text += (
        f"\n\nSimulated, {answer.connectors} of them: the longest queue {_minutes(planned.flow.queue_seconds)},"
        f" a wait of {planned.mean_wait:,.1f} s on average and {_minutes(planned.longest_wait)} at most."
        + (
            f" With {answer.exact:.3g} the queue grows to {_minutes(exact.flow.queue_seconds)};"
            f" the plan says {_minutes(max_queue)}."
            if tenant.deliveries >= _TELLING
            else ""
        )
        + "\n\n"
        + "Assumptions:\n"
        + "\n".join(f"  - {one}" for one in taken)
        + "\n"
        "Next: pfxlab load connector shows where one connector saturates against the lab's service."
    )
    print_result(result, text, as_json=as_json)


def _text(tenant: Tenant, rates: Rates, answer: Answer, options: dict[int, Flow], max_queue: float) -> str:
    lines = [
        f"{counted(answer.connectors, 'connector')} for {tenant.deliveries:,} deliveries,"
        f" up to {answer.peak_per_second:,.1f} per second:"
        f" {answer.exact:.3g} connectors at full load, plus a reserve of a fifth.",
        f"One connector does {rates.per_second:,.0f} per second.",
        "",
        "connectors  longest queue  all done after   in use",
    ]
    for number, found in options.items():
        mark = "" if found.queue_seconds <= max_queue else "  too long"
        lines.append(
            f"{number:>10}  {_minutes(found.queue_seconds):>13}  {_minutes(found.finished):>14}"
            f"  {found.busy:>6.0%}{mark}"
        )
    return "\n".join(lines)
