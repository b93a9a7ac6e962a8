"""Runs a benchmark and prints its report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pfxlab.device_sim.errors import SessionFailed
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, print_json, stop
from pfxlab.scenarios.load.bench import admin_pages, graph
from pfxlab.scenarios.load.bench import connector as connector_bench
from pfxlab.scenarios.load.bench import devices as devices_bench

Progress = Callable[[str], None]


def _print(measured: Callable[[Progress], dict[str, Any]], *, as_json: bool) -> None:
    """Run a benchmark, print its progress unless `as_json`, and print the report."""

    def progress(text: str) -> None:
        if not as_json:
            click.echo(text)

    try:
        report = measured(progress)
    except EOFError:
        stop(COULD_NOT_RUN, "The benchmark could not run: a process that it started has ended")
    except (OSError, RuntimeError, SessionFailed) as error:
        stop(COULD_NOT_RUN, f"The benchmark could not run: {error}")
    print_json(report)


def bench_graph(imports: int, records: int, turns: int, as_json: bool) -> None:
    """Run the command; see `pfxlab bench --help`."""
    _print(lambda progress: graph.run(progress, imports, records, turns), as_json=as_json)


def bench_connector(turns: int, duration: float, requests: int, as_json: bool) -> None:
    """Run the command; see `pfxlab bench --help`."""
    _print(lambda progress: connector_bench.run(progress, turns, int(duration), requests), as_json=as_json)


def bench_devices(
    count: int, sample: int, turns: int, delivered: int, profile: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Run the command; see `pfxlab bench --help`."""
    _print(
        lambda progress: devices_bench.run(progress, count, min(sample, count), turns, delivered, profile),
        as_json=as_json,
    )


def bench_admin(
    certificates: int, devices: int, viewers: int, imports: int, turns: int, as_json: bool
) -> None:  # fmt: skip
    """Run the command; see `pfxlab bench --help`."""
    _print(lambda progress: admin_pages.run(progress, certificates, devices, viewers, imports, turns), as_json=as_json)
