"""Functions of the verbs in emulator/lab/verbs.py, for a lab with connectors and devices."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from pfxlab.connector_sim.bulk_import import Item, import_all
from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.device_sim.errors import EnrollmentRefused, SessionFailed
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.faults.plan import read_fault
from pfxlab.emulator.lab.moments import read_duration, read_moment
from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.emulator.lab.verbs import VerbFailed
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.lab.lab import FIRST
from pfxlab.scenarios.lab.softhsm_missing import NoHsm
from pfxlab.scenarios.lab.tenant.certificates import ImportResult
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.mail.authority import CertificatePlan
from pfxlab.scenarios.mail.openssl import OpenSslFailed, OpenSslMissing
from pfxlab.scenarios.scenario import expectations
from pfxlab.scenarios.scenario.expectations import NotMet

Arguments = Mapping[str, Any]


def _names(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


async def _connector(world: World, given: Any) -> str:
    wanted: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    name = wanted.get("name", FIRST)
    if wanted.get("action", "start") == "stop":
        await world.lab.stop_connector(name)
        return f"connector {name} stopped"
    await world.lab.start_connector(name, wanted.get("batch", 500), own_keys=wanted.get("own_keys", False))
    await world.lab.connectors_work()
    return f"connector {name} works"


async def _user(world: World, given: Any) -> str:
    if isinstance(given, Mapping):
        wanted = {"sign_in": given.get("sign_in"), "licence": given.get("licence")}
        properties = given.get("properties")
        world.directory.user(given["upn"], **wanted, properties=properties)
        said = [f"{name} {str(value).lower()}" for name, value in wanted.items() if value is not None]
        said += [] if properties is None else [f"with {', '.join(sorted(properties))}"]
        return ", ".join([f"{given['upn']} in the directory", *said])
    names = _names(given)
    for upn in names:
        world.directory.user(upn)
    return f"{', '.join(names)} in the directory"


async def _group(world: World, given: Arguments) -> str:
    members = _names(given.get("members"))
    world.directory.group(given["name"], members)
    return f"group {given['name']} of {counted(len(members), 'user')}"


async def _device(world: World, given: Arguments) -> str:
    device = await world.devices.enroll(given["name"], given["platform"], given["user"], given.get("os_version"))
    return f"{given['name']} of {given['user']} enrolled, {device.hardware.platform} {device.hardware.os_version}"


async def _action(world: World, given: Arguments) -> str:
    await world.devices.request(given["device"], given["action"])
    return f"{given['action']} requested for {given['device']}"


async def _profile(world: World, given: Arguments) -> str:
    groups, excluded = _names(given.get("groups", ["Mail users"])), _names(given.get("excluded"))
    settings = given.get("settings", {})
    await world.profiles.create(given["name"], given["platform"], given["purpose"], groups, excluded, settings)
    without = f" without {', '.join(excluded)}" if excluded else ""
    return f"profile {given['name']}, {given['platform']}, {given['purpose']}, for {', '.join(groups)}{without}"


async def _assign(world: World, given: Arguments) -> str:
    groups, excluded = _names(given.get("groups")), _names(given.get("excluded"))
    await world.profiles.assign(given["profile"], groups, excluded)
    return f"profile {given['profile']} assigned to {', '.join(groups) or 'nobody'}"


def _plan(given: Arguments) -> CertificatePlan:
    return CertificatePlan(
        label=given["name"],
        purpose=IntendedPurpose[given.get("purpose", "smimeEncryption")],
        padding=PaddingScheme[given.get("padding", "oaepSha512")],
        starts_days_ago=1,
        lasts_days=read_duration(given.get("lasts", "730d")).days,
        legacy=given.get("pfx", "3des") == "3des",
        chain=given.get("chain", False),
        password=given.get("password", ""),
    )


async def _certificate(world: World, given: Arguments) -> str:
    begins = read_moment(given["begins"]) if "begins" in given else world.lab.clock.now() - timedelta(days=1)
    certificate = world.certificates.issue(given["name"], given["user"], _plan(given), begins)
    ends = certificate.issued.certificate.not_valid_after_utc
    return f"{given['name']} issued to {given['user']}, valid {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"


async def _import(world: World, given: Any) -> str:
    wanted: dict[str, Any] = {"certificate": given} if isinstance(given, str | list) else dict(given)
    refused, names = wanted.pop("refused", None), _names(wanted.pop("certificate"))
    for name in names:
        _check_import(name, await world.certificates.import_named(name, **wanted), refused)
    what = ", ".join(names)
    return f"{what} imported" if refused is None else f"import of {what} refused as expected: {refused}"


def _check_import(name: str, done: ImportResult, refused: str | None) -> None:
    if done.record_id is None and refused is None:
        raise VerbFailed(f"expected {name} to be imported, got {done.rule}: {done.reason}")
    if refused is not None and done.rule != refused:
        got = "it was imported" if done.record_id is not None else f"{done.rule}: {done.reason}"
        raise VerbFailed(f"expected the import of {name} to be refused with {refused}, got {got}")


class _ToolClock:
    """The wall clock for a tool that waits. One that stands is advanced, and the lab's with it."""

    def __init__(self, world: World) -> None:
        self._lab, self._wall = world.lab.clock, world.lab.cloud.wall
        self.now = self._wall.now

    async def sleep(self, seconds: float) -> None:
        """Wait, or advance both clocks instead."""
        if not isinstance(self._wall, LabClock):
            await self._wall.sleep(seconds)
            return
        step = timedelta(seconds=max(seconds, 0.001))
        self._wall.advance(step)
        self._lab.freeze()
        self._lab.advance(step)


async def _bulk_import(world: World, given: Arguments) -> str:
    count, template = given["count"], world.certificates.record(given["certificate"])
    items = [Item(upn, {**template, "userPrincipalName": upn}) for upn in world.directory.users(count)]
    clock = _ToolClock(world)
    begun, outcomes = clock.now(), []
    async for outcome in import_all(await world.administrator.client(), items, clock, at_once=1):
        outcomes.append(outcome)
    failed = [one for one in outcomes if one.state == "failed"]
    if failed:
        raise VerbFailed(f"expected {count} imports, got {len(failed)} failures: {failed[0].reason}")
    took = clock.now() - begun
    attempts = sum(one.attempts for one in outcomes)
    return f"{counted(count, 'record')} imported in {counted(attempts, 'attempt')}, {took} of the tool's time"


async def _delete(world: World, given: str) -> str:
    count = await world.certificates.delete_records(given)
    if not count:
        raise VerbFailed(f"expected a record of {given} to delete, got none")
    return f"record of {given} deleted"


async def _key(world: World, given: Arguments) -> str:
    name = given["name"]
    if given["action"] == "remove":
        world.keys.remove(name)
        return f"key {name} taken from the connector"
    if given["action"] == "add":
        world.keys.add(name)
        return f"key {name} made on the connector"
    # As Export- and Import-IntunePublicKey with the private key, when a server is replaced.
    world.keys.move(name, given["to"])
    return f"key {name} exported, and imported on the server of the connector {given['to']}"


async def _pass(world: World, given: Any) -> str:
    wanted: dict[str, Any] = {"time": given} if isinstance(given, str) else dict(given)
    every = read_duration(wanted["check_in_every"]) if "check_in_every" in wanted else None
    expire = wanted.get("expire_tokens", False)
    check_ins = await world.pass_time(read_duration(wanted["time"]), every, expire_tokens=expire)
    failed = sum(one.failed is not None for one in check_ins)
    missed = f", {failed} of them failed" if failed else ""
    count, now = counted(len(check_ins), "check-in"), world.lab.clock.now()
    return f"{wanted['time']} passed, {count}{missed}, now {now:%Y-%m-%d %H:%M}"


async def _clock(world: World, given: Arguments) -> str:
    clock = world.lab.clock
    if "set" in given:
        clock.set(read_moment(given["set"]))
    else:
        clock.advance(read_duration(given["skip"]))
    return f"clock set to {clock.now():%Y-%m-%d %H:%M}; nothing happened in between"


async def _settle(world: World, _: Any) -> str:
    check_ins = await world.settle()
    return f"everything due is done, {counted(check_ins, 'check-in')}"


async def _check_in(world: World, given: Any) -> str:
    results = []
    for name in _names(given):
        done = await world.check_in(name)
        results.append(
            f"{name} failed ({done.failed})" if done.failed else f"{name} with {counted(done.messages, 'message')}"
        )
    return f"check-in: {', '.join(results)}"


async def _fault(world: World, given: Arguments) -> str:
    planned = world.faults.plan(read_fault(dict(given)))
    times = planned.fault.times
    often = "always" if times is None else counted(times, "time")
    return f"{planned.id} planned: {planned.fault.kind}, {often}"


async def _no_faults(world: World, _: Any) -> str:
    struck = ", ".join(f"{one.id} struck {counted(one.struck, 'time')}" for one in world.faults.remove_all())
    return f"faults removed: {struck or 'none'}"


async def _switches(world: World, given: Arguments) -> str:
    world.set_switches(**given)
    return f"switches set: {', '.join(f'{name} {value}' for name, value in given.items())}"


async def _cloud(world: World, given: str) -> str:
    await world.administrator.national_cloud(given)
    return f"the tool speaks to the hosts of the cloud {given}"


async def _locked(world: World, given: Arguments) -> str:
    world.devices.lock(given["device"], locked=given["locked"])
    return f"{given['device']} {'locked' if given['locked'] else 'unlocked'}"


async def _snapshot(world: World, given: str) -> str:
    world.kept.write(given, await world.take())
    return f"snapshot {given} taken"


async def _restore(world: World, given: str) -> str:
    await world.restore(world.kept.read(given))
    return f"back at snapshot {given}"


async def _hsm(world: World, given: Arguments) -> str:
    try:
        from pfxlab.scenarios.lab.softhsm import use_hsm
    except ImportError:
        raise NoHsm("expected python-pkcs11, got none; install pfxlab[hsm]") from None
    return use_hsm(world, given["key"])


async def _expect(world: World, given: Arguments) -> str:
    try:
        return await expectations.check(world, given)
    except NotMet as error:
        raise VerbFailed(str(error)) from None


StepFunction = Callable[[World, Any], Awaitable[str]]
FUNCTIONS: Final[Mapping[str, StepFunction]] = {
    "connector": _connector,
    "user": _user,
    "group": _group,
    "device": _device,
    "action": _action,
    "profile": _profile,
    "assign": _assign,
    "certificate": _certificate,
    "import": _import,
    "bulk_import": _bulk_import,
    "delete": _delete,
    "key": _key,
    "hsm": _hsm,
    "pass": _pass,
    "clock": _clock,
    "settle": _settle,
    "check_in": _check_in,
    "lock": _locked,
    "fault": _fault,
    "no_faults": _no_faults,
    "switches": _switches,
    "cloud": _cloud,
    "snapshot": _snapshot,
    "restore": _restore,
    "expect": _expect,
}
"""Name of a verb (emulator/lab/verbs.py) → its function."""


async def perform(world: World, step: Mapping[str, Any]) -> str:
    """Carry out one step and return what happened in a sentence.

    Raises:
        VerbFailed: it could not be done, or something is not as expected.
        ValueError: an unknown name, or a moment out of range.

    """
    ((name, given),) = step.items()
    try:
        return await FUNCTIONS[name](world, given)
    except (BadSnapshot, ConnectorError, EnrollmentRefused, SessionFailed, OpenSslFailed, OpenSslMissing) as error:
        raise VerbFailed(str(error)) from None
