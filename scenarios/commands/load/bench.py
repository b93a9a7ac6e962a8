"""`pfxlab bench`: the lab against a baseline of the same run."""

from pathlib import Path

import click

from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.options import Duration


@click.group(cls=suggest.Group)
def bench() -> None:
    """Measure the lab against a baseline of the same run."""


@bench.command(name="graph")
@click.option("--imports", default=4000, show_default=True, type=click.IntRange(100), help="Imports per turn.")
@click.option(
    "--records", default=1_000_000, show_default=True, type=click.IntRange(2000), help="Size of the large store."
)
@click.option("--turns", default=7, show_default=True, type=click.IntRange(1), help="Turns; the median ratio counts.")
@options.as_json()
def bench_graph(imports: int, records: int, turns: int, as_json: bool) -> None:
    """Imports per second against a bare handler; lists and filters at a million records against a thousand."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_graph(imports, records, turns, as_json)


@bench.command(name="connector")
@click.option("--turns", default=5, show_default=True, type=click.IntRange(1), help="Turns; the median ratio counts.")
@click.option(
    "--duration",
    default="2s",
    show_default=True,
    type=Duration("1s"),
    help="Length of each OpenSSL run, in whole seconds.",
)
@click.option(
    "--requests", default=20_000, show_default=True, type=click.IntRange(1000), help="Requests of an end-to-end turn."
)
@options.as_json()
def bench_connector(turns: int, duration: float, requests: int, as_json: bool) -> None:
    """Re-encryptions per second against `openssl speed rsa2048`, in memory and end to end over mutual TLS."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_connector(turns, duration, requests, as_json)


@bench.command(name="devices")
@click.option(
    "--devices", "count", default=10_000, show_default=True, type=click.IntRange(10), help="Number in the store."
)
@click.option(
    "--sample", default=1000, show_default=True, type=click.IntRange(10), help="Number of devices that check in."
)
@click.option("--turns", default=5, show_default=True, type=click.IntRange(1), help="Turns; the median ratio counts.")
@click.option(
    "--delivered", default=1000, show_default=True, type=click.IntRange(2), help="Devices that receive a certificate."
)
@click.option(
    "--profile", type=click.Path(dir_okay=False, path_type=Path), help="Write the delivery's profile to this file."
)
@options.as_json()
def bench_devices(
    count: int, sample: int, turns: int, delivered: int, profile: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Idle check-ins against a bare handler with the same client certificates; what a delivery's time goes into."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_devices(count, sample, turns, delivered, profile, as_json)


@bench.command(name="admin")
@click.option(
    "--certificates", default=100_000, show_default=True, type=click.IntRange(100), help="Number in the store."
)
@click.option("--devices", default=10_000, show_default=True, type=click.IntRange(10), help="Number in the store.")
@click.option("--viewers", default=50, show_default=True, type=click.IntRange(1, 500), help="Number of open overviews.")
@click.option("--imports", default=6000, show_default=True, type=click.IntRange(100), help="Imports per turn.")
@click.option("--turns", default=5, show_default=True, type=click.IntRange(1), help="Turns; the median ratio counts.")
@options.as_json()
def bench_admin(
    certificates: int, devices: int, viewers: int, imports: int, turns: int, as_json: bool
) -> None:  # fmt: skip
    """Time pages of the admin centre over a large store; measure imports with open pages against without."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_admin(certificates, devices, viewers, imports, turns, as_json)
