"""`pfxlab bench`: the lab against a baseline measured in the same run."""

from pathlib import Path

import click

from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.options import Duration


@click.group(cls=suggest.Group)
def bench() -> None:
    """Benchmark the lab against a baseline measured in the same run."""


@bench.command(name="graph")
@click.option("--imports", default=4000, show_default=True, type=click.IntRange(100), help="Imports per measurement.")
@click.option(
    "--records", default=1_000_000, show_default=True, type=click.IntRange(2000), help="Size of the large store."
)
@click.option(
    "--turns", default=7, show_default=True, type=click.IntRange(1), help="Measurements; the median ratio counts."
)
@options.as_json()
def bench_graph(imports: int, records: int, turns: int, as_json: bool) -> None:
    """Compare imports with a bare handler, and lists and filters of a million records with those of a thousand."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_graph(imports, records, turns, as_json)


@bench.command(name="connector")
@click.option(
    "--turns", default=5, show_default=True, type=click.IntRange(1), help="Measurements; the median ratio counts."
)
@click.option(
    "--duration",
    default="2s",
    show_default=True,
    type=Duration("1s"),
    help="Length of each OpenSSL run, in whole seconds.",
)
@click.option(
    "--requests",
    default=20_000,
    show_default=True,
    type=click.IntRange(1000),
    help="Requests per end-to-end measurement.",
)
@options.as_json()
def bench_connector(turns: int, duration: float, requests: int, as_json: bool) -> None:
    """Compare re-encryption with `openssl speed rsa2048`, in memory and end to end over mutual TLS."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_connector(turns, duration, requests, as_json)


@bench.command(name="devices")
@click.option(
    "--devices", "count", default=10_000, show_default=True, type=click.IntRange(10), help="Devices in the store."
)
@click.option("--sample", default=1000, show_default=True, type=click.IntRange(10), help="Devices that check in.")
@click.option(
    "--turns", default=5, show_default=True, type=click.IntRange(1), help="Measurements; the median ratio counts."
)
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
    """Compare idle check-ins with a bare handler and the same client certificates; profile a delivery."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_devices(count, sample, turns, delivered, profile, as_json)


@bench.command(name="admin")
@click.option(
    "--certificates", default=100_000, show_default=True, type=click.IntRange(100), help="Records in the store."
)
@click.option("--devices", default=10_000, show_default=True, type=click.IntRange(10), help="Devices in the store.")
@click.option("--viewers", default=50, show_default=True, type=click.IntRange(1, 500), help="Open overview pages.")
@click.option("--imports", default=6000, show_default=True, type=click.IntRange(100), help="Imports per measurement.")
@click.option(
    "--turns", default=5, show_default=True, type=click.IntRange(1), help="Measurements; the median ratio counts."
)
@options.as_json()
def bench_admin(
    certificates: int, devices: int, viewers: int, imports: int, turns: int, as_json: bool
) -> None:  # fmt: skip
    """Time the admin centre's pages over a large store; compare imports with and without open pages."""
    from pfxlab.scenarios.commands.load import bench_run as work

    work.bench_admin(certificates, devices, viewers, imports, turns, as_json)
