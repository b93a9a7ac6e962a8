"""`pfxlab connector`: a certificate connector of its own, as on the customer's server."""

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from connector_sim import identity
from connector_sim.cmdlets import GraphClient
from connector_sim.errors import ConnectorError
from connector_sim.eventlog import EventLogFile
from connector_sim.keys.software import PROVIDER_NAME
from connector_sim.service import VERSION, Connector, Settings, enroll
from connector_sim.validate import RESULT_FILE, TEST_FILE, validate
from emulator.clock import LabClock
from scenarios.commands.common import COULD_NOT_RUN, FILE, USAGE, VERDICT_FAILED, data_folder, stop, tell
from scenarios.commands.keys import PROVIDER_OPTIONS, installed, refusals

_EVENTS: Final = "events.jsonl"
_PLACE: Final = "service.json"
_FOLDER = click.option(
    "--folder", "home", type=click.Path(file_okay=False, path_type=Path),
    help="The connector's own folder: identity and event log.",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")


def _own(home: Path | None) -> Path:
    return home or data_folder() / "connector"


@click.group()
def connector() -> None:
    """Enrol and run certificate connectors beside a lab; start as many as you like."""


@connector.command(name="enroll")
@_FOLDER
@click.option("--ready-file", type=FILE, required=True, help="Ready file of the lab: address, CA, sign-in.")
@click.option("--user", help="Administrator's UPN; without it the lab's own administrator.")
@click.option("--password-file", type=FILE, help="File whose first line is that user's password.")
@click.option("--name", default="PFX Certificate Connector", show_default=True, help="Display name.")
@click.option("--machine", default="LAB-SERVER", show_default=True, help="Machine name.")
@_JSON
def enroll_(
    home: Path | None, ready_file: Path, user: str | None, password_file: Path | None, name: str, machine: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Enrol with the account of an Intune or Global Administrator; anybody else is refused."""
    place, facts = _own(home), _facts(ready_file)
    if identity.find(place) is not None:
        stop(USAGE, f"expected a folder without a connector, got {place}, which holds one; give another --folder")
    if (user is None) != (password_file is None):
        raise click.UsageError("--user and --password-file belong together.")
    who = facts["operator"] if user is None else {"upn": user, "password": _first_line(password_file)}
    settings = Settings(facts["graph_url"], Path(facts["ca_file"]))

    async def work() -> identity.Identity:
        async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
            form = {"grant_type": "password", "client_id": facts["public"]["client_id"]}
            token = await client.sign_in({**form, "username": who["upn"], "password": who["password"]})
        return await enroll(settings, token, place, name, machine)

    try:
        made = asyncio.run(work())
    except (ConnectorError, OSError) as error:
        stop(COULD_NOT_RUN, f"The connector could not enrol: {error}")
    remembered = {"service_url": settings.service_url, "ca_pem": settings.ca_file.read_text()}
    (place / _PLACE).write_text(json.dumps(remembered))
    text = f"Enrolled as {made.connector_id}.\nNext: pfxlab connector run --folder {place} --keys DIR"
    tell({"connectorId": made.connector_id, "folder": str(place)}, text, as_json=as_json)


def _facts(ready_file: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(ready_file.read_text("utf-8"))
    except ValueError:
        stop(USAGE, f"{ready_file}: expected the ready file of a running lab, got something else")
    return facts


def _first_line(path: Path | None) -> str:
    return "" if path is None else path.read_text("utf-8-sig").partition("\n")[0].rstrip("\r")


def _with_keys(command: Any) -> Any:
    for option in reversed(PROVIDER_OPTIONS):
        command = option(command)
    return click.option("--provider", default=PROVIDER_NAME, help="Name of the HSM that --pkcs11 adds.")(command)


@connector.command()
@_FOLDER
@_with_keys
@click.option("--proxy", help="Outbound proxy, http://host:port.")
@click.option("--version", default=VERSION, show_default=True, help="Version to report, to see old ones warned of.")
@click.option("--batch", default=500, show_default=True, type=click.IntRange(1, 500), help="Requests in a lease.")
@click.option(
    "--processes",
    default=os.cpu_count() or 1,
    show_default="one for each core",
    type=click.IntRange(0, 256),
    help="Worker processes for large leases, each with an HSM session of its own; 0: threads alone.",
)
def run(
    home: Path | None, provider: str, folder: Path | None, module: Path | None, token_label: str | None,
    pin_file: Path | None, proxy: str | None, version: str, batch: int,
    processes: int,
) -> None:  # fmt: skip
    """Run until SIGTERM or Ctrl-C, then finish what is at hand and give the rest back."""
    place = _own(home)
    with refusals():
        providers, who = installed(provider, folder, module, token_label, pin_file), identity.find(place)
    if who is None or not (place / _PLACE).exists():
        stop(
            USAGE,
            f"expected an enrolled connector in {place}, got none. Next: pfxlab connector enroll --folder {place}",
        )
    remembered = json.loads((place / _PLACE).read_text())
    ca_file = place / "ca.pem"
    ca_file.write_text(remembered["ca_pem"])
    settings = replace(
        Settings(remembered["service_url"], ca_file), proxy=proxy, version=version, batch=batch, processes=processes
    )

    async def serve() -> None:
        stopped, clock = asyncio.Event(), LabClock()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        log = EventLogFile(place / _EVENTS, clock)
        working = Connector(settings, who, providers, clock, log)
        await working.start()
        click.echo(f"Connector {who.connector_id} works for {settings.service_url}; events in {place / _EVENTS}.")
        click.echo("Next: pfxlab connector status in another shell. Ctrl-C ends it gracefully.")
        try:
            await stopped.wait()
        finally:
            await working.stop()
            log.close()
        click.echo("Drained and stopped.")

    try:
        asyncio.run(serve())
    except OSError as error:
        stop(COULD_NOT_RUN, f"The connector could not run: {error}")


@connector.command()
@_FOLDER
@_JSON
def status(home: Path | None, as_json: bool) -> None:
    """Show who the connector is, how long its certificate lasts, and what its event log says."""
    place = _own(home)
    with refusals():
        who = identity.find(place)
    if who is None:
        stop(
            USAGE,
            f"expected an enrolled connector in {place}, got none. Next: pfxlab connector enroll --folder {place}",
        )
    counts: Counter[str] = Counter()
    last: dict[str, Any] = {}
    for path in (place / f"{_EVENTS}.1", place / _EVENTS):
        if path.exists():
            with path.open("rb") as lines:
                for line in lines:
                    last = json.loads(line)
                    counts[f"{last['id']} {last['name']}"] += 1
    days = (who.ends - datetime.now(UTC)).days
    result = {
        "connectorId": who.connector_id,
        "certificateEnds": who.ends.isoformat(),
        "events": dict(sorted(counts.items())),
        "last": last,
    }
    shown = [f"Connector {who.connector_id}, certificate for {days} more days."]
    shown += [f"  {name}: {number}" for name, number in sorted(counts.items())]
    shown += [f"Last: {last['time']} {last['name']}: {last['text']}" if last else "No events yet."]
    tell(result, "\n".join(shown), as_json=as_json)


@connector.command(name="validate")
@_with_keys
@click.option("--file", "path", type=FILE, default=TEST_FILE, show_default=True, help="Lines of six fields.")
@_JSON
def validate_(
    provider: str, folder: Path | None, module: Path | None, token_label: str | None, pin_file: Path | None, path: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Prove that this account can decrypt with its keys: the on-premises validation of the import module."""
    with refusals():
        try:
            outcomes = validate(path, installed(provider, folder, module, token_label, pin_file))
        except UnicodeDecodeError:
            stop(USAGE, f"{path}: expected text, got other bytes")
    result = [{"line": one.line, "passed": one.passed, "text": one.text} for one in outcomes]
    lines = [f"{'Passed' if one.passed else 'Failed'}: {one.text}" for one in outcomes]
    tell(result, "\n".join([*lines, f"Written to {path.with_name(RESULT_FILE)}."]), as_json=as_json)
    if not outcomes or not all(one.passed for one in outcomes):
        raise SystemExit(VERDICT_FAILED)
