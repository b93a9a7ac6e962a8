"""`pfxlab load`: load plans, run on one machine or many. See docs/load.md."""

import signal
import tempfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.emulator.wire.files.damaged import Damaged
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios import terminal
from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import (
    COULD_NOT_RUN,
    NEW_FILE,
    USAGE,
    VERDICT_FAILED,
    missing_for_load,
    print_json,
    stop,
)
from pfxlab.scenarios.commands.completion import LOAD_PLANS
from pfxlab.scenarios.commands.options import Duration
from pfxlab.scenarios.commands.ready_file import ready_facts
from pfxlab.scenarios.ending import Interrupted
from pfxlab.scenarios.load.plan_file import PATHS, LoadPlan, PlanProblem, built_in, changed, read_plan, schema
from pfxlab.scenarios.load.shapes import KINDS
from pfxlab.scenarios.nearest import near

if TYPE_CHECKING:
    from pfxlab.scenarios.load.drive.run import Options, RunResult

_SHOWN = 12


def _found(name: str) -> LoadPlan:
    """Return a plan by name or from a file, or end the command."""
    try:
        known = built_in()
        if name in known:
            return known[name]
        if not Path(name).exists():
            stop(USAGE, f"expected a file or one of the plans {', '.join(known)}, got {name}{near(name, known)}")
        return read_plan(Path(name))
    except PlanProblem as problem:
        stop(USAGE, str(problem))


def _list(*, as_json: bool) -> None:
    plans = built_in()
    if as_json:
        shown = [
            {"name": one.name, "title": one.title, "path": one.path, "shape": one.shape.kind} for one in plans.values()
        ]
        print_json(shown)
        return
    width = max(map(len, plans))
    for one in plans.values():
        click.echo(f"{one.name:<{width}}  {one.path:<10}  {one.shape.kind:<8}  {one.title}")
    click.echo("\nNext: pfxlab load NAME, or pfxlab load NAME --shape ramp --rate 500 --duration 30s")


class _Table:
    """The live table: the last seconds of the run."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan, self._samples = plan, list[dict[str, Any]]()

    def add(self, sample: dict[str, Any]) -> Table:
        """Return the table with one more second in it."""
        self._samples = [*self._samples[1 - _SHOWN :], sample]
        table = Table(
            box=None, header_style="bold", pad_edge=False, caption=self._caption(sample), caption_justify="left"
        )
        for column in ("second", "offered", "achieved", "failed", "left out", "p50 ms", "p95 ms", "p99 ms"):
            table.add_column(column, justify="right")
        for one in self._samples:
            style = "red" if one["failures"] else ""
            counts = [f"{one[name]:,.0f}" for name in ("offered", "achieved", "failures", "unsent")]
            times = [f"{one[name]:,.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")]
            table.add_row(str(one["t"] + 1), *counts, *times, style=style)
        return table

    def _caption(self, sample: dict[str, Any]) -> str:
        return f"{self._plan.unit} per second · second {sample['t'] + 1} of {self._plan.shape.seconds:.0f}"


@click.command()
@click.argument("plan", required=False, shell_complete=LOAD_PLANS)
@click.option("--list", "listing", is_flag=True, help="List the plans that come with the lab, and run none.")
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON Schema of a plan, for editors.")
@click.option("--shape", type=suggest.Choice(list(KINDS)), help="Shape of the load, instead of the plan's.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Highest rate, per second, instead of the plan's."
)
@click.option("--duration", type=Duration("1s"), help="Length of the run, instead of the plan's.")
@click.option("--users", type=click.IntRange(1, 100_000), help="Simulated users that share the highest rate.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Load generators, instead of the plan's.")
@click.option("--ready-file", type=NEW_FILE, help="Load the running lab of this ready file instead of starting one.")
@click.option("--against", metavar="URL", help="Address of that lab, if not the one in its ready file; loopback only.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the report.  [default: load-PLAN]"
)
@click.option("--ui", is_flag=True, help="Serve Locust's web page on this machine until Ctrl-C.")
@click.option("--ui-port", default=8089, show_default=True, type=click.IntRange(1, 65535), help="Port of that page.")
@click.option(
    "--workers",
    "expect",
    default=0,
    type=click.IntRange(0, 64),
    help="Number of `pfxlab load-worker` processes to wait for.",
)
@click.option(
    "--master-port",
    default=5557,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port that the workers connect to.",
)
@click.option("--kit", type=click.Path(file_okay=False, path_type=Path), help="Folder to write the workers' kit to.")
@options.as_json("the report")
def load(
    plan: str | None, listing: bool, show_schema: bool, shape: str | None, rate: float | None, duration: float | None,
    users: int | None, jobs: int | None, ready_file: Path | None, against: str | None, out: Path | None, ui: bool,
    ui_port: int, expect: int, master_port: int, kit: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run a load test: where the lab saturates, what limits it, and whether it meets the thresholds.

    PLAN is a name from `--list` or a YAML file. A lab is started for the run unless --ready-file names one that runs.
    """
    if show_schema:
        print_json(schema())
        return
    if listing:
        _list(as_json=as_json)
        return
    if plan is None:
        raise click.UsageError(f"expected a plan; those that come with the lab: {', '.join(built_in())}")
    try:
        chosen = changed(_found(plan), kind=shape, rate=rate, seconds=duration, users=users, processes=expect or jobs)
    except PlanProblem as problem:
        raise click.UsageError(str(problem)) from None
    if expect and kit is None:
        raise click.UsageError("expected --kit FOLDER with --workers: the workers need a copy of it")
    if kit is not None and kit.exists() and any(kit.iterdir()):
        raise click.UsageError(f"expected a folder that is empty or not there for --kit, got {kit}")
    facts = _facts(chosen, ready_file, against)
    folder = out or Path(f"load-{chosen.name}")
    folder.mkdir(parents=True, exist_ok=True)
    _do(chosen, facts, folder, ui_port if ui else None, master_port if expect else None, expect, kit, as_json=as_json)


def _do(
    plan: LoadPlan, facts: dict[str, Any] | None, folder: Path, ui_port: int | None, master_port: int | None,
    expect: int, kit: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Run a plan, write the report, and end as its verdict asks."""
    try:
        from pfxlab.scenarios.load.drive import run
        from pfxlab.scenarios.load.drive.prepare import CannotPrepare
        from pfxlab.scenarios.load.report import report
    except ImportError as error:
        missing_for_load(error)
    console = terminal.console(stderr=True, quiet=as_json)
    _say_plan(console, plan, ui_port)
    options = run.Options(facts, ui_port, master_port, expect, kit)
    try:
        outcome = _run(plan, options, folder, console)
    except (run.CannotRun, CannotPrepare, GraphRefused, SessionFailed) as error:
        stop(COULD_NOT_RUN, f"The load run could not run: {error}")
    except Interrupted as signalled:
        click.echo("Interrupted before anything was measured; there is no report.", err=True)
        raise signalled from None
    body, judged = report.complete(outcome)
    report.write(folder, body, judged, datetime.now(UTC))
    if as_json:
        print_json(body)
    else:
        report.print_summary(terminal.console(), body, judged)
        _say_end(folder, body)
    if outcome.ended:
        code = 128 + signal.SIGINT if outcome.ended == run.INTERRUPTED else COULD_NOT_RUN
        stop(code, f"The run ended early: {outcome.ended}. The report of what was measured is in {folder}.")
    if body["verdict"] == "FAIL":
        raise SystemExit(VERDICT_FAILED)


def _run(plan: LoadPlan, options: "Options", folder: Path, console: Console) -> "RunResult":
    """Run a plan with a live table on a terminal, a line every five seconds elsewhere."""
    from pfxlab.scenarios.load.drive import run

    table = _Table(plan)
    live = Live(console=console, transient=True, refresh_per_second=2) if not terminal.is_plain(console) else None

    def show_sample(sample: dict[str, Any]) -> None:
        if live is not None:
            live.update(table.add(sample))
        elif sample["t"] % 5 == 4:
            console.print(_line(sample), highlight=False)

    with live or nullcontext():
        return run.run(plan, options, folder, lambda text: console.print(text, highlight=False), show_sample)


def _facts(plan: LoadPlan, ready_file: Path | None, against: str | None) -> dict[str, Any] | None:
    """Return what is known of a running target; None if the run starts its own."""
    if ready_file is None:
        if against is not None:
            raise click.UsageError("expected --ready-file with --against: it says how to sign in, and whom to trust")
        return None
    if plan.path in ("connector", "crypto"):
        raise click.UsageError(
            f"expected a plan for graph, checkin or enrollment with --ready-file, got path {plan.path}: it needs a lab"
            " of its own"
        )
    facts = ready_facts(ready_file, "setup_application", "mail_user")
    if against is None:
        return facts
    _check_address(against)
    tenant = facts["authority_url"].rstrip("/").rpartition("/")[2]
    return {**facts, "graph_url": against.rstrip("/"), "authority_url": f"{against.rstrip('/')}/{tenant}"}


def _check_address(url: str) -> None:
    """Refuse what is no address of a server."""
    try:
        parts = urlsplit(url)
        known = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 443) > 0
    except ValueError:
        known = False
    if not known:
        raise click.UsageError(f"expected --against https://HOST:PORT, got {url}")


def _say_plan(console: Console, plan: LoadPlan, ui_port: int | None) -> None:
    shape = plan.shape
    if plan.openssl_share:
        most = f"{100 * plan.openssl_share:g} % of OpenSSL's rate in {plan.unit} per second"
    else:
        most = f"{shape.rate:,g} {plan.unit} per second by {counted(plan.users_for(shape.rate), 'simulated user')}"
    console.print(f"{plan.title}", style="bold", highlight=False)
    console.print(
        f"{plan.path}: {PATHS[plan.path][1]}; {shape.kind}, up to {most}, {shape.seconds:g} s,"
        f" {counted(plan.processes, 'load generator')}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if ui_port is not None:
        console.print(
            f"Locust's page: http://localhost:{ui_port} (Ctrl-C ends it and writes the report)", highlight=False
        )


def _line(sample: dict[str, Any]) -> str:
    return (
        f"second {sample['t'] + 1}: offered {sample['offered']:,.0f}, achieved {sample['achieved']:,},"
        f" failed {sample['failures']:,}, p95 {sample['p95_ms']:,.1f} ms"
    )


def _say_end(folder: Path, report: dict[str, Any]) -> None:
    click.echo(f"{report['verdict']}: {folder / 'report.html'}, report.json, plots as SVG and PNG, locust.html")
    if report["saturation"] is not None and report["unit"] == "deliveries":
        click.echo("Next: pfxlab plan --users 10000 says how many connectors a tenant needs")
    else:
        click.echo(f"Next: open {folder / 'report.html'}")


@click.command(name="load-worker")
@click.argument("kit", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--master-port", default=5557, show_default=True, type=click.IntRange(1, 65535), help="Port of the master."
)
def load_worker(kit: Path, master_port: int) -> None:
    """Run a load generator for `pfxlab load --workers N`, with a copy of its kit.

    The master's address is on this machine. If it runs on another, forward its port and the lab's through a tunnel.
    """
    try:
        from pfxlab.scenarios.load.drive import kit as kits
        from pfxlab.scenarios.load.drive import run
    except ImportError as error:
        missing_for_load(error)
    if not (kit / "plan.json").exists():
        raise click.UsageError(f"expected the kit of a load run in {kit}, got a folder without plan.json")
    found = kits.Kit(kit)
    try:
        found.plan  # noqa: B018 - read here, where its user sees what is wrong with it
    except Damaged as error:
        stop(USAGE, str(error))
    with tempfile.TemporaryDirectory(prefix="pfxlab-load-") as log:
        process = run.start_locust(found, run.worker_arguments(master_port, Path(log) / "worker.log"))
        click.echo(f"Load generator started; it works when the master at port {master_port} says so. Ctrl-C ends it.")
        code = 0
        try:
            code = process.wait()
        except Interrupted as signalled:
            click.echo("Ending it.")
            raise signalled from None
        finally:
            # However this ends, by a signal as well: no load generator may be left running.
            run.end(process)
    if code > 0:
        stop(
            COULD_NOT_RUN, f"expected a master at port {master_port} of this machine, the load generator ended ({code})"
        )
