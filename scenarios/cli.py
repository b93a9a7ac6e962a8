"""The `pfxlab` command. Exit codes: 0 ok, 1 verdict failed, 2 usage, 3 could not run."""

import asyncio
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, cast

import click
from rich.console import Console
from rich.table import Table

from connector_sim.errors import ConnectorError, PfxProblem
from device_sim.errors import EnrollmentRefused, SessionFailed
from emulator.config import Config
from emulator.server import PortTaken
from emulator.wire.ids import check_upn
from scenarios.commands import conformance as conformance_commands
from scenarios.commands import connector as connector_commands
from scenarios.commands import devices as devices_commands
from scenarios.commands import keys as keys_commands
from scenarios.commands import pfx as pfx_commands
from scenarios.commands import replay as replay_commands
from scenarios.commands import scenario as scenario_commands
from scenarios.commands import world as world_commands
from scenarios.config_file import ConfigProblem, read_config
from scenarios.control_client import ControlClient, NoLab, facts_of, fetch
from scenarios.demo import Demo, Material, Result, Sabotage, own_material
from scenarios.explain_view import way
from scenarios.journal_view import box
from scenarios.lab import DataUnusable, Lab
from scenarios.load import connector as connector_bench
from scenarios.load import devices as devices_bench
from scenarios.load import graph
from scenarios.open_lab import PARTS, open_lab
from scenarios.openssl import OpenSslFailed, OpenSslMissing
from scenarios.progress import Progress
from scenarios.ready import environment, ready, remove_ready_file, write_ready_file

VERDICT_FAILED, USAGE, COULD_NOT_RUN = 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pfxlab", prog_name="pfxlab")
def main() -> None:
    """Test Intune's imported PKCS (PFX) certificates without a tenant. Everything runs on this machine."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console that cannot show an arrow shows a question mark.
            stream.reconfigure(errors="replace")
    for number in _ENDING:
        signal.signal(number, _end)


_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end(number: int, _: object) -> None:
    """Leave by an exception, so that temporary folders with keys are removed on the way out."""
    sys.exit(128 + number)


def _stop(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


def _read_password(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        _stop(USAGE, f"{path}: expected the password as UTF-8 text on the first line, got other bytes.")


def _own(pfx_file: Path, password_file: Path | None, upn: str | None, *, allow_expired: bool) -> Material:
    if password_file is None or upn is None:
        raise click.UsageError("--pfx needs --password-file and --upn as well.")
    password = _read_password(password_file)
    try:
        now = datetime.now(UTC)
        return own_material(pfx_file.read_bytes(), password, allow_expired=allow_expired, lab_now=now)
    except PfxProblem as problem:
        _stop(USAGE, f"{pfx_file}: {problem}")


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@main.command()
@click.option("--pfx", "pfx_file", type=_FILE, help="Your own PFX instead of the test CA's certificates.")
@click.option("--password-file", type=_FILE, help="File whose first line is the PFX password.")
@click.option("--upn", help="User principal name to import for; made up in the lab's directory.")
@click.option("--allow-expired", is_flag=True, help="Import an expired certificate, as for reading old mail.")
@click.option(
    "--break", "sabotage", type=click.Choice(["missing-key", "wrong-key"]), help="See a connector fail: take its key."
)
@click.option("--seed", default=7, show_default=True, help="Ids of the run derive from it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def demo(
    pfx_file: Path | None,
    password_file: Path | None,
    upn: str | None,
    allow_expired: bool,
    sabotage: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Send imported certificates through every party and prove that each device can use them."""
    if pfx_file is None and password_file is not None:
        raise click.UsageError("--password-file belongs to --pfx.")
    if upn is not None:
        try:
            check_upn(upn)
        except ValueError as error:
            raise click.UsageError(f"--upn: {error}.") from None
    material = None if pfx_file is None else _own(pfx_file, password_file, upn, allow_expired=allow_expired)
    console = Console(highlight=False)
    if not as_json:
        console.print(f"PFX Lab demo, seed {seed}: PFX → Graph → Intune → connector → device → opened mail\n")
    try:
        progress = Progress(console, quiet=as_json)
        name = upn or f"user@{Config().domain}"
        result = asyncio.run(Demo(progress, name, material, cast("Sabotage | None", sabotage), seed).run())
    except (
        OpenSslMissing,
        OpenSslFailed,
        ConnectorError,
        SessionFailed,
        EnrollmentRefused,
        DataUnusable,
        OSError,
    ) as error:
        _stop(COULD_NOT_RUN, f"The demo could not run: {error}")
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        _show(console, result, sabotage)
    sys.exit(0 if result.passed else VERDICT_FAILED)


def _show(console: Console, result: Result, sabotage: str | None) -> None:
    table = Table(title="\nWhat arrived and what it is good for", title_justify="left")
    for column in ("device", "certificate", "delivery", "proof"):
        table.add_column(column)
    for row in result.deliveries:
        proof = _proof_of(result, row)
        style = "" if row["state"] == "installed" and proof != "failed" else "red"
        table.add_row(row["device"], row["certificate"], row["state"], proof, style=style)
    console.print(table)
    secrets_line = "FOUND IN THE CLOUD" if result.findings else "not in the cloud's data, not in any log"
    skipped = f"; not searched for: {', '.join(result.unsearched)}" if result.unsearched else ""
    console.print(f"passwords and private keys: {secrets_line} ({result.searched:,} bytes searched{skipped})")
    if result.passed:
        console.print("\n[bold green]PASSED[/]  Next: [bold]pfxlab up[/] keeps a lab running for your own tool,")
        console.print(
            "        [bold]pfxlab demo --pfx FILE --password-file FILE --upn UPN[/] sends your own certificate."
        )
        return
    console.print("\n[bold red]FAILED[/]")
    for reason in result.reasons():
        console.print(f"  {reason}", markup=False)
    if sabotage is not None:
        console.print(f"  (as asked for by --break {sabotage})")


def _proof_of(result: Result, row: dict[str, str]) -> str:
    wanted = "signs a mail" if row["certificate"] == "signing" else f"opens mail to {row['certificate']}"
    mine = [p for p in result.proofs if p.device == row["device"]]
    proof = next((p for p in mine if p.name == wanted), None) or next(iter(mine), None)
    if proof is None:
        return "none"
    return f"{proof.name.partition(' to ')[0]}: {proof.detail}" if proof.passed else "failed"


def _parts(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    parts = tuple(part for part in value.split(",") if part)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise click.BadParameter(f"expected a list of {', '.join(PARTS)}, got {', '.join(unknown)}")
    return parts


@main.command()
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep everything in this folder.")
@click.option("--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Written as JSON when it serves.")
@click.option("--with", "parts", default="", callback=_parts, help="Also run: connector,devices")
@click.option("--config", "config_file", type=_FILE, help="YAML: switches, further tenants; see docs/configuration.md.")
@click.option("--seed", type=int, help="Ids derive from it.  [default: 7]")
@click.option("--explain", is_flag=True, help="Tell clients the true reason of a refusal in x-pfxlab-reason.")
@click.option("--json", "as_json", is_flag=True, help="Print the ready facts as JSON and nothing else.")
def up(
    port: int,
    data: Path | None,
    ready_file: Path | None,
    parts: tuple[str, ...],
    config_file: Path | None,
    seed: int | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Run a lab that stays, for your own tool. SIGTERM or Ctrl-C ends it; --data keeps every record."""

    written: list[str] = []
    config = _config(config_file, seed, explain=explain)
    if ready_file is not None and not ready_file.resolve().parent.is_dir():
        raise click.UsageError(f"--ready-file: expected a folder {ready_file.parent} that exists, got none.")

    async def serve(folder: Path) -> None:
        lab = Lab(folder, config)
        stopped = _stop_event()
        async with open_lab(lab, parts, port):
            facts = ready(lab)
            if ready_file is not None:
                write_ready_file(ready_file, facts)
                written.append(facts["control_token"])
            _announce(facts, parts, as_json=as_json)
            await stopped.wait()

    try:
        _run_over(data, serve)
    finally:
        if ready_file is not None and written:
            remove_ready_file(ready_file, written[0])


def _config(path: Path | None, seed: int | None, *, explain: bool = False) -> Config:
    try:
        return read_config(path, seed, explain=explain)
    except ConfigProblem as problem:
        _stop(USAGE, str(problem))


def _run_over(data: Path | None, serve: Callable[[Path], Coroutine[None, None, None]]) -> None:
    """Run a lab over a folder, or over a temporary one."""
    try:
        if data is not None:
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            asyncio.run(serve(data))
        else:
            with tempfile.TemporaryDirectory(prefix="pfxlab-") as folder:
                asyncio.run(serve(Path(folder)))
    except (PortTaken, OSError, DataUnusable, sqlite3.Error, ConnectorError, EnrollmentRefused, SessionFailed) as error:
        _stop(COULD_NOT_RUN, f"The lab could not run: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _pass_on_signals(process: asyncio.subprocess.Process) -> None:
    """Let the command, not us, decide what a signal means; we end when it has."""

    def pass_on(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    for number in _ENDING:
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, pass_on, number)
    # Ctrl-C reaches the command by itself, it belongs to the same terminal.
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)


def _stop_event() -> asyncio.Event:
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no signal handlers in its event loop; Ctrl-C raises KeyboardInterrupt there.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, event.set)
    return event


def _announce(facts: dict[str, Any], parts: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    running = " with " + " and ".join(parts) if parts else ""
    click.echo(f"PFX Lab serves Graph and sign-in at {facts['graph_url']}{running} (loopback only, TEST ONLY).\n")
    for name, value in environment(facts).items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"\nAdmin centre: {facts['admin_url']} (sign in as {facts['operator']['upn']}, see the ready file).")
    click.echo("Next: paste these lines into the shell your tool runs in. Ctrl-C ends the lab.")
    sys.stdout.flush()


@main.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep everything in this folder.")
@click.option("--with", "parts", default="", callback=_parts, help="Also run: connector,devices")
@click.option("--config", "config_file", type=_FILE, help="YAML: switches, further tenants; see docs/configuration.md.")
@click.option("--seed", type=int, help="Ids derive from it.  [default: 7]")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(
    data: Path | None, parts: tuple[str, ...], config_file: Path | None, seed: int | None, command: tuple[str, ...]
) -> None:
    """Run COMMAND against a lab that lives as long as it; the exit code is the command's."""
    codes: list[int] = []
    config = _config(config_file, seed)

    async def serve(folder: Path) -> None:
        lab = Lab(folder, config)
        async with open_lab(lab, parts) as world:
            world.driven_by_command = True
            facts = ready(lab)
            ready_file = folder / "operator" / "ready.json"
            write_ready_file(ready_file, facts)
            variables = {**os.environ, **environment(facts), "PFXLAB_READY_FILE": str(ready_file)}
            process = await asyncio.create_subprocess_exec(*command, env=variables)
            _pass_on_signals(process)
            codes.append(await process.wait())

    if shutil.which(command[0]) is None:
        _stop(USAGE, f"expected a command that exists, got {command[0]!r}")
    _run_over(data, serve)
    code = codes[0]
    sys.exit(code if code >= 0 else 128 - code)


@main.command()
@click.option("--ready-file", type=_FILE, help="Ready file of the lab; without it the environment of `pfxlab exec`.")
@click.option("--follow", is_flag=True, help="Go on showing what happens until Ctrl-C.")
@click.option("--refused", is_flag=True, help="Refusals only.")
@click.option("--rule", help="Only refusals for this stable reason, such as UserUnknown.")
@click.option("--path", "part", help="Only requests with this text in their path.")
@click.option("--json", "as_json", is_flag=True, help="Print entries as JSON lines and nothing else.")
def journal(
    ready_file: Path | None, follow: bool, refused: bool, rule: str | None, part: str | None, as_json: bool
) -> None:
    """Show what a running lab was asked, what it told the client, and why it really refused."""
    console, after = Console(highlight=False), 0
    wanted = {"outcome": "refused" if refused else None, "rule": rule, "path": part}
    filters = {name: value for name, value in wanted.items() if value is not None}
    try:
        facts = facts_of(ready_file)
        while True:
            entries = fetch(facts, after, filters)
            for entry in entries:
                after = entry["seq"]
                if as_json:
                    click.echo(json.dumps(entry))
                else:
                    console.print(box(entry))
            if not entries and not follow:
                break
            if not entries:
                time.sleep(0.5)
    except NoLab as error:
        _stop(COULD_NOT_RUN, f"The journal could not be read: {error}")
    except KeyboardInterrupt:
        pass
    if not as_json and not after:
        console.print("Nothing was recorded yet, or nothing that fits. Next: point a tool at the lab.")


@main.command()
@click.option("--user", required=True, help="User principal name.")
@click.option("--device", help="Only this device of the user's, by id or name.")
@click.option("--thumbprint", help="Only this certificate.")
@click.option("--ready-file", type=_FILE, help="Ready file of the lab; without it the environment of `pfxlab exec`.")
@click.option("--json", "as_json", is_flag=True, help="Print the explanations as JSON and nothing else.")
def explain(
    user: str, device: str | None, thumbprint: str | None, ready_file: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Say why a user's certificates have, or have not, arrived, and what to do. Exit code 1: one has not."""
    wanted = {"user": user, "device": device, "thumbprint": thumbprint}
    try:
        query = {name: value for name, value in wanted.items() if value is not None}
        told = ControlClient(facts_of(ready_file)).call("GET", "/explain", query=query)["explanations"]
    except NoLab as error:
        _stop(COULD_NOT_RUN, f"Nothing could be explained: {error}")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        console = Console(highlight=False)
        for one in told:
            console.print(way(one))
    if not all(one["arrived"] for one in told):
        sys.exit(VERDICT_FAILED)


@main.group()
def bench() -> None:
    """Measure the lab against a baseline of the same run."""


@bench.command(name="graph")
@click.option("--imports", default=4000, show_default=True, type=click.IntRange(100), help="Imports in each turn.")
@click.option(
    "--records", default=1_000_000, show_default=True, type=click.IntRange(2000), help="Size of the large store."
)
@click.option("--turns", default=7, show_default=True, type=click.IntRange(1), help="Turns; the median ratio counts.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def bench_graph(imports: int, records: int, turns: int, as_json: bool) -> None:
    """Imports per second against a bare handler; lists and filters at a million records against a thousand."""

    def tell(text: str) -> None:
        if not as_json:
            click.echo(text)

    try:
        report = graph.run(tell, imports, records, turns)
    except (OSError, RuntimeError) as error:
        _stop(COULD_NOT_RUN, f"The benchmark could not run: {error}")
    click.echo(json.dumps(report, indent=2))


@bench.command(name="connector")
@click.option("--turns", default=5, show_default=True, type=click.IntRange(1), help="Turns; the median ratio counts.")
@click.option("--seconds", default=2, show_default=True, type=click.IntRange(1), help="Length of each OpenSSL run.")
@click.option(
    "--requests", default=20_000, show_default=True, type=click.IntRange(1000), help="Requests of an end-to-end turn."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def bench_connector(turns: int, seconds: int, requests: int, as_json: bool) -> None:
    """Re-encryptions per second against `openssl speed rsa2048`, in memory and end to end over mutual TLS."""

    def tell(text: str) -> None:
        if not as_json:
            click.echo(text)

    try:
        report = connector_bench.run(tell, turns, seconds, requests)
    except (OSError, RuntimeError) as error:
        _stop(COULD_NOT_RUN, f"The benchmark could not run: {error}")
    click.echo(json.dumps(report, indent=2))


@bench.command(name="devices")
@click.option("--devices", "count", default=10_000, show_default=True, type=click.IntRange(10), help="In the store.")
@click.option("--sample", default=1000, show_default=True, type=click.IntRange(10), help="Those of them that check in.")
@click.option("--turns", default=5, show_default=True, type=click.IntRange(1), help="Turns; the median ratio counts.")
@click.option("--delivered", default=1000, show_default=True, type=click.IntRange(2), help="Devices of the delivery.")
@click.option("--profile", type=click.Path(dir_okay=False, path_type=Path), help="Write the delivery's profile here.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def bench_devices(
    count: int, sample: int, turns: int, delivered: int, profile: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Idle check-ins against a bare handler with the same client certificates; what a delivery's time goes into."""

    def tell(text: str) -> None:
        if not as_json:
            click.echo(text)

    try:
        report = devices_bench.run(tell, count, min(sample, count), turns, delivered, profile)
    except (OSError, RuntimeError, SessionFailed) as error:
        _stop(COULD_NOT_RUN, f"The benchmark could not run: {error}")
    click.echo(json.dumps(report, indent=2))


main.add_command(keys_commands.keys)
main.add_command(connector_commands.connector)
main.add_command(devices_commands.devices)
main.add_command(pfx_commands.pfx)
main.add_command(conformance_commands.conformance)
main.add_command(scenario_commands.scenario)
main.add_command(world_commands.world)
main.add_command(replay_commands.bundle_command)
main.add_command(replay_commands.replay)

if __name__ == "__main__":
    main()
