"""What `pfxlab devices` does."""

import contextlib
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import click
from filelock import FileLock, Timeout

from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.device_sim.client import Device, DeviceClient
from pfxlab.device_sim.errors import DeviceDamaged, SessionFailed
from pfxlab.device_sim.fleet import Fleet, Member, ProgressCallback, Round
from pfxlab.device_sim.keys import KeyPool
from pfxlab.device_sim.mailbox import CannotOpen, NothingToSignWith, may_sign, open_mail, sign_mail
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.wire.files.damaged import Damaged
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios import ending, terminal
from pfxlab.scenarios.commands.common import (
    COULD_NOT_RUN,
    USAGE,
    VERDICT_FAILED,
    print_json,
    print_result,
    stop,
)
from pfxlab.scenarios.commands.ready_file import ready_facts
from pfxlab.scenarios.parties.fleet import FleetUsers, free_numbers, key_source, open_fleet, plan
from pfxlab.scenarios.user_folder import data_folder

_T = TypeVar("_T")


_SHOWN: Final = 50


_NO_SERVICE: Final = DeviceClient("https://localhost", b"", LabClock())


def _own(data: Path | None) -> Path:
    return data or data_folder() / "devices"


Stage: TypeAlias = Callable[[str], ProgressCallback]
"""Begins a stage with a title and returns its progress callback."""


def _with_progress(work: Callable[[Stage], Coroutine[Any, Any, _T]], *, quiet: bool) -> _T:
    """Run something with a progress bar per stage; end the command if the lab does not answer."""
    try:
        with terminal.stages(quiet=quiet) as stage:
            return ending.run(work(stage))
    except (GraphRefused, OSError, Damaged) as error:
        stop(COULD_NOT_RUN, f"The devices could not do that: {error}")


def _result(result: Round) -> dict[str, Any]:
    failures = {text: number for text, number in result.outcomes.items() if text != "ok"}
    return {
        "done": result.done,
        "failed": sum(failures.values()),
        "messages": result.messages,
        "seconds": round(result.took, 2),
        "per_second": round(result.done / result.took, 1) if result.took else 0.0,
        "milliseconds": result.percentiles(),
        "failures": failures,
    }


def _say(what: str, facts: dict[str, Any], next_step: str) -> str:
    times = ", ".join(f"{name} {value} ms" for name, value in facts["milliseconds"].items())
    done = counted(facts["done"], "device")
    lines = [f"{done} {what} in {facts['seconds']} s ({facts['per_second']} per second; {times})."]
    lines += [f"  {number} failed: {text}" for text, number in list(facts["failures"].items())[:5]]
    return "\n".join([*lines, f"Next: {next_step}"])


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keep other processes from working with the fleet of a folder: two would enrol the same devices."""
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(place / "lock", timeout=0)
        lock.acquire()
    except Timeout:
        stop(COULD_NOT_RUN, f"expected no other process to work with the fleet in {place}, got one; wait for its end")
    except OSError as error:
        stop(COULD_NOT_RUN, f"The devices could not do that: {error}")
    try:
        yield
    finally:
        lock.release()


def enroll(
    data: Path | None, ready_file: Path | None, count: int, platforms: tuple[str, ...], users: int | None,
    shared_keys: int, seed: int, jobs: int, as_json: bool,
) -> None:  # fmt: skip
    """Do what the command says."""
    place, facts = _own(data), ready_facts(ready_file, "setup_application", "mail_user")

    async def work(stage: Stage) -> Round:
        source = key_source(place, min(shared_keys, count))
        if isinstance(source, KeyPool):
            source.fill(stage("creating keys"))
        fleet = await open_fleet(place, facts, source, jobs)
        members = fleet.members()
        numbers = free_numbers(members, count)
        people = FleetUsers(place, is_new=not members)
        names = await people.make(facts, users or numbers[-1] + 1, stage("creating users"))
        wanted = plan(platforms, names, numbers, seed, people.prefix)
        tokens = await people.tokens(facts, [member.upn for member, _ in wanted])
        return await fleet.enroll(wanted, tokens, stage("enrolling"))

    with _locked(place):
        shown = _result(_with_progress(work, quiet=as_json))
    step = (
        "pfxlab devices checkin"
        + (f" --ready-file {ready_file}" if ready_file else "")
        + (f" --data {data}" if data else "")
    )
    print_result(shown, _say("enrolled", shown, step), as_json=as_json)
    if shown["failed"]:
        raise SystemExit(VERDICT_FAILED)


def _chosen(fleet: Fleet, names: tuple[str, ...]) -> list[Member]:
    try:
        members = fleet.members()
    except DeviceDamaged as error:
        stop(COULD_NOT_RUN, str(error))
    if not members:
        stop(USAGE, f"expected a fleet in {fleet.folder}, got none. Next: pfxlab devices enroll --data {fleet.folder}")
    unknown = set(names) - {member.name for member in members}
    if unknown:
        stop(USAGE, f"expected names that `pfxlab devices show` lists, got {', '.join(sorted(unknown))}")
    return [member for member in members if not names or member.name in names]


def checkin(
    names: tuple[str, ...], data: Path | None, ready_file: Path | None, rounds: int, jobs: int, as_json: bool
) -> None:
    """Do what the command says."""
    place, facts = _own(data), ready_facts(ready_file)

    async def work(stage: Stage) -> list[Round]:
        fleet = await open_fleet(place, facts, at_once=jobs)
        members = _chosen(fleet, names)
        return [await fleet.check_in(members, stage("checking in")) for _ in range(rounds)]

    with _locked(place):
        results = [_result(one) for one in _with_progress(work, quiet=as_json)]
    step = "pfxlab devices show" + (f" --data {data}" if data else "")
    lines = [_say("checked in", shown, step) for shown in results]
    print_result({"rounds": results}, "\n".join(lines), as_json=as_json)
    if any(shown["failed"] for shown in results):
        raise SystemExit(VERDICT_FAILED)


def _offline_fleet(data: Path | None) -> Fleet:
    """Return a fleet to look at; what its devices hold is known without the lab."""
    return Fleet(_own(data), _NO_SERVICE)


def _certificates(device: Device) -> list[dict[str, Any]]:
    return [
        {
            "thumbprint": one.thumbprint,
            "subject": one.certificate.subject.rfc4514_string(),
            "notBefore": one.certificate.not_valid_before_utc.isoformat(),
            "notAfter": one.certificate.not_valid_after_utc.isoformat(),
            "maySign": may_sign(one.certificate),
            "source": one.source,
        }
        for one in device.store.identities()
    ]


def show(name: str | None, data: Path | None, as_json: bool) -> None:
    """Do what the command says."""
    fleet = _offline_fleet(data)
    chosen = sorted(_chosen(fleet, () if name is None else (name,)), key=lambda one: one.name)
    if name is not None:
        device = _open(fleet, chosen[0])
        held = _certificates(device)
        lines = [
            f"{name}, {device.hardware.device_name}, {device.hardware.os_version}: {counted(len(held), 'certificate')}"
        ]
        lines += [f"  {c['thumbprint']}  until {c['notAfter'][:10]}  {c['subject']}" for c in held]
        damaged = list(map(str, device.store.damaged.values()))
        lines += [f"  DAMAGED  {problem}" for problem in damaged]
        result = {"name": name, "deviceId": device.identity.device_id, "certificates": held, "damaged": damaged}
        print_result(result, "\n".join(lines), as_json=as_json)
        return
    if as_json:
        print_json([{**vars(one), **_holds(fleet, one)} for one in chosen])
        return
    held_by = {one: _holds(fleet, one) for one in chosen[:_SHOWN]}
    rows = [
        (one.name, one.platform, one.upn, "DAMAGED" if holds["certificates"] is None else str(holds["certificates"]))
        for one, holds in held_by.items()
    ]
    columns = ("device", "platform", "user", "certificates")
    terminal.print_rows(terminal.console(), terminal.Rows(columns, rows, ("certificates",)))
    for one, holds in held_by.items():
        for problem in holds["damaged"]:
            click.echo(f"Damaged: {one.name}: {problem}")
    if len(chosen) > _SHOWN:
        click.echo(f"… and {len(chosen) - _SHOWN} more; --json shows all.")
    click.echo(f"Next: pfxlab devices show {chosen[0].name}")


def _holds(fleet: Fleet, member: Member) -> dict[str, Any]:
    """Return how many certificates a device holds, None when it is damaged itself, and what is damaged of it."""
    try:
        store = fleet.open(member).store
    except SessionFailed as error:
        return {"certificates": None, "damaged": [str(error)]}
    return {"certificates": len(store.identities()), "damaged": list(map(str, store.damaged.values()))}


def _open(fleet: Fleet, member: Member) -> Device:
    try:
        return fleet.open(member)
    except SessionFailed as error:
        stop(COULD_NOT_RUN, str(error))


def mail(name: str, data: Path | None, opened: Path | None, text: Path | None, out: Path | None) -> None:
    """Do what the command says."""
    if (opened is None) == (text is None):
        raise click.UsageError("expected either --open or --sign.")
    fleet = _offline_fleet(data)
    device = _open(fleet, _chosen(fleet, (name,))[0])
    try:
        if opened is not None:
            result, used = open_mail(opened.read_bytes(), device.store)
        else:
            result, used = sign_mail(text.read_bytes() if text else b"", device.store)
    except (CannotOpen, NothingToSignWith) as error:
        stop(VERDICT_FAILED, f"{name}: {error}")
    if out is None:
        sys.stdout.buffer.write(result)
    else:
        out.write_bytes(result)
    click.echo(f"with {used.thumbprint}", err=True)
