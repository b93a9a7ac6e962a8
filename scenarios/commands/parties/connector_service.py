"""What `pfxlab connector` does."""

import asyncio
import contextlib
import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from cryptography import x509
from filelock import FileLock, Timeout

from pfxlab import private_file
from pfxlab.connector_sim import identity
from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.connector_sim.errors import ConnectorError, FileDamaged
from pfxlab.connector_sim.eventlog import HEALTH, EventLogFile
from pfxlab.connector_sim.service import Connector, Settings, enroll
from pfxlab.connector_sim.validate import RESULT_FILE, validate
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.scenarios import ending
from pfxlab.scenarios.commands.common import (
    COULD_NOT_RUN,
    USAGE,
    VERDICT_FAILED,
    print_result,
    secret,
    stop,
)
from pfxlab.scenarios.commands.parties.keys import installed, refusals
from pfxlab.scenarios.commands.ready_file import ready_facts
from pfxlab.scenarios.user_folder import data_folder

_EVENTS: Final = "events.jsonl"


_PLACE: Final = "service.json"


_LONGEST_NAME: Final = 256  # as the contract says, schemas/connector-enroll.json


def _own(data: Path | None) -> Path:
    return data or data_folder() / "connector"


def enroll_(
    data: Path | None, ready_file: Path | None, user: str | None, password_file: Path | None, name: str, machine: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Do what the command says."""
    place, facts = _own(data), ready_facts(ready_file)
    for option, value in (("--name", name), ("--machine", machine)):
        if not 1 <= len(value.strip()) <= _LONGEST_NAME:
            raise click.UsageError(f"{option}: expected 1 to {_LONGEST_NAME} characters, got {len(value.strip())}.")
    if (user is None) != (password_file is None):
        raise click.UsageError("--user and --password-file belong together.")
    who = facts["administrator"]
    if user is not None and password_file is not None:
        who = {"upn": user, "password": secret(password_file)}
    settings = Settings(facts["graph_url"], Path(facts["ca_file"]))

    async def work() -> identity.Identity:
        async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
            form = {"grant_type": "password", "client_id": facts["public_application"]["client_id"]}
            token = await client.sign_in({**form, "username": who["upn"], "password": who["password"]})
        return await enroll(settings, token, place, name, machine)

    with refusals():
        if identity.find(place) is not None:
            stop(USAGE, f"expected a folder without a connector, got {place}, which holds one; give another --data")
        # Written before enrolment: a connector that cannot be stored would be an orphan in the service.
        remembered = {"service_url": settings.service_url, "ca_pem": settings.ca_file.read_text()}
        private_file.replace(place / _PLACE, json.dumps(remembered).encode())
    try:
        made = ending.run(work())
    except (ConnectorError, OSError) as error:
        (place / _PLACE).unlink()
        with contextlib.suppress(OSError):
            place.rmdir()
        stop(COULD_NOT_RUN, f"The connector could not enrol: {error}")
    text = f"Enrolled as {made.connector_id}.\nNext: pfxlab connector run --data {place} --keys DIR"
    print_result({"connectorId": made.connector_id, "folder": str(place)}, text, as_json=as_json)


def _enrolled(place: Path) -> identity.Identity:
    """Return the connector of a folder, or end the command."""
    with refusals():
        who = identity.find(place)
        if who is None and (place / _PLACE).exists():
            expected = "the connector's key and certificate beside service.json"
            remedy = f"delete {place} and enrol again"
            if identity.is_pending(place):
                remedy = f"finish the enrolment that was cut off: pfxlab connector enroll --data {place}"
            raise FileDamaged(place / "connector-….pem", expected, "no such file", remedy)
    if who is None:
        stop(
            USAGE,
            f"expected an enrolled connector in {place}, got none. Next: pfxlab connector enroll --data {place}",
        )
    return who


def _service(place: Path) -> tuple[str, str]:
    """Return the address of the service a connector belongs to, and the CA it trusts."""
    path, remedy = place / _PLACE, f"delete {place} and enrol again: pfxlab connector enroll --data {place}"
    with refusals(), reading(path, "the service's address and the CA to trust", remedy):
        remembered = json.loads(path.read_text("utf-8"))
        url, ca_pem = str(remembered["service_url"]), str(remembered["ca_pem"])
        x509.load_pem_x509_certificate(ca_pem.encode())
        return url, ca_pem


def run(
    data: Path | None, provider: str, folder: Path | None, module: Path | None, token_label: str | None,
    pin_file: Path | None, proxy: str | None, report_version: str, batch: int,
    jobs: int,
) -> None:  # fmt: skip
    """Do what the command says."""
    place = _own(data)
    with refusals():
        providers = installed(provider, folder, module, token_label, pin_file)
    who, (service_url, ca_pem) = _enrolled(place), _service(place)
    ca_file = place / "ca.pem"
    with refusals(), reading(ca_file, "a file that can be written", "delete it"):
        private_file.replace(ca_file, ca_pem.encode())
    settings = replace(Settings(service_url, ca_file), proxy=proxy, version=report_version, batch=batch, processes=jobs)

    async def serve() -> bool:
        """Return whether the service still knew the connector."""
        stopped, clock = asyncio.Event(), LabClock()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        log = EventLogFile(place / _EVENTS, clock)
        working = Connector(settings, who, providers, clock, log)
        await working.start()
        click.echo(f"Connector {who.connector_id} works for {settings.service_url}; events in {place / _EVENTS}.")
        click.echo("Next: pfxlab connector status in another shell. Ctrl-C ends it gracefully.")
        ends = [asyncio.create_task(event.wait()) for event in (stopped, working.dismissed)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in ends:
                waiting.cancel()
            await working.stop()
            log.close()
        return not working.dismissed.is_set()

    try:
        with FileLock(place / "lock", timeout=0):
            known = ending.run(serve())
    except Timeout:
        stop(COULD_NOT_RUN, f"expected no other process to run the connector in {place}, got one; enrol another beside")
    except OSError as error:
        stop(COULD_NOT_RUN, f"The connector could not run: {error}")
    if not known:
        text = f"The connector was deleted from the service. Delete {place} and enrol again:"
        stop(COULD_NOT_RUN, f"{text} pfxlab connector enroll --data {place}")
    click.echo("Drained and stopped.")


def status(data: Path | None, as_json: bool) -> None:
    """Do what the command says."""
    place = _own(data)
    who = _enrolled(place)
    counts: Counter[str] = Counter()
    last: dict[str, Any] = {}
    heartbeat: dict[str, Any] | None = None
    with refusals():
        for event in _logged(place):
            counts[f"{event['id']} {event['name']}"] += 1
            last = event
            heartbeat = event if event["id"] in HEALTH else heartbeat
    days = (who.ends - datetime.now(UTC)).days
    result = {
        "connectorId": who.connector_id,
        "certificateEnds": who.ends.isoformat(),
        "events": dict(sorted(counts.items())),
        "heartbeat": heartbeat,
        "last": last or None,
    }
    shown = [f"Connector {who.connector_id}, certificate valid for {days} more days."]
    shown += [f"Heartbeat: {heartbeat['time']} {heartbeat['text']}" if heartbeat else "No heartbeat yet."]
    shown += [f"  {name}: {number}" for name, number in sorted(counts.items())]
    shown += [f"Last: {last['time']} {last['name']}: {last['text']}" if last else "No events yet."]
    print_result(result, "\n".join(shown), as_json=as_json)


def _logged(place: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a connector's log, oldest first; a torn line, as after a full disk, is passed over."""
    for path in (place / f"{_EVENTS}.1", place / _EVENTS):
        if path.exists():
            with reading(path, "the connector's event log", "delete it"), path.open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(ValueError):
                        event = jsontext.decode(line)
                        if _is_event(event):
                            yield event


def _is_event(line: Any) -> bool:
    return isinstance(line, dict) and {"id", "name", "time", "text"} <= line.keys() and isinstance(line["id"], int)


def validate_(
    provider: str, folder: Path | None, module: Path | None, token_label: str | None, pin_file: Path | None, path: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Do what the command says."""
    with refusals():
        try:
            outcomes = validate(path, installed(provider, folder, module, token_label, pin_file))
        except UnicodeDecodeError:
            stop(USAGE, f"{path}: expected text, got other bytes")
    result = [{"line": one.line, "passed": one.passed, "text": one.text} for one in outcomes]
    lines = [f"{'Passed' if one.passed else 'Failed'}: {one.text}" for one in outcomes]
    print_result(result, "\n".join([*lines, f"Written to {path.with_name(RESULT_FILE)}."]), as_json=as_json)
    if not outcomes or not all(one.passed for one in outcomes):
        raise SystemExit(VERDICT_FAILED)
