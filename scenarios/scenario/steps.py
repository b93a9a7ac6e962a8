"""The vocabulary of scenarios: each step with the JSON Schema of its arguments and what it does. A table."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from jsonschema import Draft202012Validator

from pfxlab.connector_sim.bulk_import import Item, import_all
from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.device_sim.errors import EnrollmentRefused, SessionFailed
from pfxlab.emulator.config import Switches, switches_with
from pfxlab.emulator.faults import kinds
from pfxlab.emulator.faults.plan import read_fault
from pfxlab.emulator.lab.moments import read_duration, read_moment
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios.lab.lab import FIRST, KEY_NAME
from pfxlab.scenarios.lab.softhsm_missing import NoHsm
from pfxlab.scenarios.lab.world import Imported, World
from pfxlab.scenarios.mail.authority import CertificatePlan
from pfxlab.scenarios.mail.openssl import OpenSslFailed, OpenSslMissing
from pfxlab.scenarios.scenario import expectations
from pfxlab.scenarios.scenario.expectations import NotMet
from pfxlab.scenarios.scenario.schemas import LIST_OF_NAMES, MOMENT, NAME, PURPOSE, SPAN, TEXT, UPN, closed, either

Arguments = Mapping[str, Any]


class StepFailed(ValueError):
    """A step could not be done, or something was not as expected; the text says what."""


@dataclass(frozen=True)
class Step:
    """One word of the vocabulary: what it does in a sentence, the schema of its arguments, the deed."""

    does: str
    schema: Mapping[str, Any]
    perform: Callable[[World, Any], Awaitable[str]]


def _names(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
    names = _names(given)
    for upn in names:
        world.user(upn)
    return f"{', '.join(names)} in the directory"


async def _group(world: World, given: Arguments) -> str:
    members = _names(given.get("members"))
    world.group(given["name"], members)
    return f"group {given['name']} of {_plural(len(members), 'user')}"


async def _device(world: World, given: Arguments) -> str:
    device = await world.add_device(given["name"], given["platform"], given["user"], given.get("os_version"))
    return f"{given['name']} of {given['user']} enrolled, {device.hardware.platform} {device.hardware.os_version}"


async def _action(world: World, given: Arguments) -> str:
    await world.device_action(given["device"], given["action"])
    return f"{given['action']} asked for {given['device']}"


async def _profile(world: World, given: Arguments) -> str:
    groups, excluded = _names(given.get("groups", ["Mail users"])), _names(given.get("excluded"))
    settings = given.get("settings", {})
    await world.profile(given["name"], given["platform"], given["purpose"], groups, excluded, settings)
    without = f" without {', '.join(excluded)}" if excluded else ""
    return f"profile {given['name']}, {given['platform']}, {given['purpose']}, for {', '.join(groups)}{without}"


async def _assign(world: World, given: Arguments) -> str:
    groups, excluded = _names(given.get("groups")), _names(given.get("excluded"))
    await world.assign(given["profile"], groups, excluded)
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
    made = world.certificate(given["name"], given["user"], _plan(given), begins)
    ends = made.issued.certificate.not_valid_after_utc
    return f"{given['name']} issued to {given['user']}, valid {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"


async def _import(world: World, given: Any) -> str:
    wanted: dict[str, Any] = {"certificate": given} if isinstance(given, str | list) else dict(given)
    refused, names = wanted.pop("refused", None), _names(wanted.pop("certificate"))
    for name in names:
        _check_import(name, await world.import_certificate(name, **wanted), refused)
    what = ", ".join(names)
    return f"{what} imported" if refused is None else f"import of {what} refused as expected: {refused}"


def _check_import(name: str, done: Imported, refused: str | None) -> None:
    if done.record_id is None and refused is None:
        raise StepFailed(f"expected {name} to be imported, got {done.rule}: {done.reason}")
    if refused is not None and done.rule != refused:
        got = "it was imported" if done.record_id is not None else f"{done.rule}: {done.reason}"
        raise StepFailed(f"expected the import of {name} to be refused with {refused}, got {got}")


class _Hurried:
    """The lab's clock for a tool that waits: waiting moves it, since nothing else happens meanwhile."""

    def __init__(self, world: World) -> None:
        self._clock = world.lab.clock
        self.now = self._clock.now

    async def sleep(self, seconds: float) -> None:
        """Let that much time be over."""
        self._clock.freeze()
        self._clock.advance(timedelta(seconds=max(seconds, 0.001)))


async def _bulk_import(world: World, given: Arguments) -> str:
    count, template = given["count"], world.record(given["certificate"])
    items = [Item(upn, {**template, "userPrincipalName": upn}) for upn in world.users(count)]
    begun, outcomes = world.lab.clock.now(), []
    async for outcome in import_all(await world.administrator.client(), items, _Hurried(world), at_once=1):
        outcomes.append(outcome)
    failed = [one for one in outcomes if one.state == "failed"]
    if failed:
        raise StepFailed(f"expected {count} imports, got {len(failed)} failures: {failed[0].reason}")
    took = world.lab.clock.now() - begun
    attempts = sum(one.attempts for one in outcomes)
    return f"{_plural(count, 'record')} imported in {_plural(attempts, 'attempt')}, {took} of lab time"


async def _delete(world: World, given: str) -> str:
    count = await world.delete_record(given)
    if not count:
        raise StepFailed(f"expected a record of {given} to delete, got none")
    return f"record of {given} deleted"


async def _key(world: World, given: Arguments) -> str:
    name = given["name"]
    if given["action"] == "remove":
        world.keys.remove(name)
        return f"key {name} taken from the connector"
    if given["action"] == "add":
        world.keys.add(name)
        return f"key {name} made on the connector"
    # As Export- and Import-IntunePublicKey with the private key: what a new server is given of the old one.
    world.keys.move(name, given["to"])
    return f"key {name} exported, and imported on the server of the connector {given['to']}"


async def _pass(world: World, given: Any) -> str:
    wanted = {"time": given} if isinstance(given, str) else given
    every = read_duration(wanted["check_in_every"]) if "check_in_every" in wanted else None
    came = await world.pass_time(read_duration(wanted["time"]), every)
    failed = sum(one.failed is not None for one in came)
    missed = f", {failed} of them in vain" if failed else ""
    return (
        f"{wanted['time']} passed, {_plural(len(came), 'check-in')}{missed}, now {world.lab.clock.now():%Y-%m-%d %H:%M}"
    )


async def _clock(world: World, given: Arguments) -> str:
    clock = world.lab.clock
    if "set" in given:
        clock.set(read_moment(given["set"]))
    else:
        clock.advance(read_duration(given["skip"]))
    return f"clock put to {clock.now():%Y-%m-%d %H:%M}; nobody was there in between"


async def _settle(world: World, _: Any) -> str:
    came = await world.settle()
    return f"everything due is done, {_plural(came, 'check-in')}"


async def _check_in(world: World, given: Any) -> str:
    told = []
    for name in _names(given):
        came = await world.check_in(name)
        told.append(f"{name} in vain ({came.failed})" if came.failed else f"{name} with {came.messages} messages")
    return f"check-in: {', '.join(told)}"


async def _fault(world: World, given: Arguments) -> str:
    planned = world.plan_fault(read_fault(dict(given)))
    times = planned.fault.times
    often = "always" if times is None else _plural(times, "time")
    return f"{planned.id} planned: {planned.fault.kind}, {often}"


async def _no_faults(world: World, _: Any) -> str:
    told = ", ".join(f"{one.id} struck {_plural(one.struck, 'time')}" for one in world.clear_faults())
    return f"faults taken back: {told or 'there were none'}"


async def _switches(world: World, given: Arguments) -> str:
    world.set_switches(**given)
    return f"switches set: {', '.join(f'{name} {value}' for name, value in given.items())}"


async def _cloud(world: World, given: str) -> str:
    await world.administrator.national_cloud(given)
    return f"the tool speaks to the hosts of the cloud {given}"


async def _locked(world: World, given: Arguments) -> str:
    world.lock(given["device"], locked=given["locked"])
    return f"{given['device']} {'locked' if given['locked'] else 'unlocked'}"


async def _snapshot(world: World, given: str) -> str:
    world.kept[given] = await world.take()
    return f"snapshot {given} taken"


async def _restore(world: World, given: str) -> str:
    if given not in world.kept:
        raise StepFailed(f"expected a snapshot ({', '.join(world.kept) or 'none'}), got {given!r}")
    await world.restore(world.kept[given])
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
        raise StepFailed(str(error)) from None


_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": 100_000}
_PLATFORM: Final = {"enum": list(PLATFORMS)}
_PADDING: Final = {"enum": [scheme.name for scheme in PaddingScheme]}

STEPS: Final = {
    "connector": Step(
        "starts or stops a certificate connector; `batch`: requests at once; `own_keys`: a key store of its own",
        either(
            NAME,
            closed(
                {
                    "name": NAME,
                    "action": {"enum": ["start", "stop"]},
                    "batch": _COUNT,
                    "own_keys": {"type": "boolean"},
                },
                [],
            ),
        ),
        _connector,
    ),
    "user": Step("adds mail users to the directory", either(UPN, {"type": "array", "items": UPN}), _user),
    "group": Step("makes a group, or sets its members", closed({"name": NAME, "members": LIST_OF_NAMES}), _group),
    "device": Step(
        "enrols a device of a user",
        closed({"name": NAME, "platform": _PLATFORM, "user": UPN, "os_version": TEXT}, ["name", "platform", "user"]),
        _device,
    ),
    "action": Step(
        "asks Graph for an action on a device",
        closed({"device": NAME, "action": {"enum": ["syncDevice", "wipe", "retire", "delete"]}}),
        _action,
    ),
    "profile": Step(
        "creates a PKCS imported certificate profile and assigns it, to the mail users unless said otherwise",
        closed(
            {
                "name": NAME,
                "platform": _PLATFORM,
                "purpose": PURPOSE,
                "groups": LIST_OF_NAMES,
                "excluded": LIST_OF_NAMES,
                "settings": {"type": "object"},
            },
            ["name", "platform", "purpose"],
        ),
        _profile,
    ),
    "assign": Step(
        "assigns a profile to other groups; none takes it back",
        closed({"profile": NAME, "groups": LIST_OF_NAMES, "excluded": LIST_OF_NAMES}, ["profile"]),
        _assign,
    ),
    "certificate": Step(
        "lets the test CA issue a certificate; `pfx` says how its PFX is protected, `chain` puts the CA into it",
        closed(
            {
                "name": NAME,
                "user": UPN,
                "purpose": PURPOSE,
                "padding": _PADDING,
                "begins": MOMENT,
                "lasts": SPAN,
                "pfx": {"enum": ["3des", "aes"]},
                "chain": {"type": "boolean"},
                "password": {"type": "string", "minLength": 1, "maxLength": 1000},
            },
            ["name", "user"],
        ),
        _certificate,
    ),
    "import": Step(
        "imports certificates over Graph; `refused` names the rule by which that must fail",
        either(
            NAME,
            {"type": "array", "items": NAME, "minItems": 1},
            closed(
                {
                    "certificate": either(NAME, {"type": "array", "items": NAME, "minItems": 1}),
                    "upn": TEXT,
                    "purpose": PURPOSE,
                    "padding": _PADDING,
                    "key": NAME,
                    "raw_password": {"type": "boolean"},
                    "refused": TEXT,
                },
                ["certificate"],
            ),
        ),
        _import,
    ),
    "bulk_import": Step(
        "imports a certificate for so many users, one after the other, as `pfxlab pfx import` does",
        closed({"certificate": NAME, "count": _COUNT}),
        _bulk_import,
    ),
    "delete": Step("deletes a certificate's record in Graph", NAME, _delete),
    "key": Step(
        "makes a key on the connector, takes one away, or moves one to a new server",
        either(
            closed({"name": NAME, "action": {"enum": ["add", "remove"]}}),
            closed({"name": NAME, "action": {"const": "move"}, "to": NAME}),
        ),
        _key,
    ),
    "hsm": Step("makes a key in a hardware security module (SoftHSM) of the connector", closed({"key": NAME}), _hsm),
    "pass": Step(
        "lets time pass; all that is scheduled in between happens, in order; `check_in_every`: devices that are"
        " switched on now and then only",
        either(SPAN, closed({"time": SPAN, "check_in_every": SPAN})),
        _pass,
    ),
    "clock": Step(
        "puts the clock; nobody is there in between",
        either(closed({"set": MOMENT}), closed({"skip": SPAN})),
        _clock,
    ),
    "settle": Step("lets everything happen that is due now; no time passes", {"type": ["null", "boolean"]}, _settle),
    "check_in": Step("lets devices check in now", LIST_OF_NAMES, _check_in),
    "lock": Step("locks or unlocks a device", closed({"device": NAME, "locked": {"type": "boolean"}}), _locked),
    "fault": Step("plans a fault, see docs/faults.md", kinds.schema(), _fault),
    "no_faults": Step("takes every fault back", {"type": ["null", "boolean"]}, _no_faults),
    "switches": Step("sets switches of docs/divergences.md", {"type": "object", "minProperties": 1}, _switches),
    "cloud": Step(
        "lets the administrator's tool speak to the hosts of a national cloud",
        {"enum": ["lab", "global", "usGovernment", "china"]},
        _cloud,
    ),
    "snapshot": Step("keeps the state of the whole lab under a name", NAME, _snapshot),
    "restore": Step("brings the whole lab back to a snapshot", NAME, _restore),
    "expect": Step("says what must be true now", expectations.SCHEMA, _expect),
}
"""Name → step."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema of one step: an object with one property, the step's name."""
    properties = {name: {**step.schema, "description": step.does} for name, step in STEPS.items()}
    one = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**one, "minProperties": 1, "maxProperties": 1}


def check(steps: Sequence[Any]) -> None:
    """Let steps pass that the vocabulary has.

    Raises:
        ValueError: the first that it has not, with its number.

    """
    validator = Draft202012Validator(schema())
    for number, step in enumerate(steps, 1):
        error = next(iter(validator.iter_errors(step)), None)
        if error is not None:
            where = "/".join(str(part) for part in error.absolute_path)
            raise ValueError(f"step {number}{f', {where}' if where else ''}: {error.message[:300]}")
        ((word, given),) = step.items()
        try:
            check_values(word, given)
        except ValueError as problem:
            raise ValueError(f"step {number}, {word}: {problem}") from None


def check_values(word: str, given: Any) -> None:
    """Check what a schema cannot say of a step's arguments: faults, switches, spans and moments that can be.

    Raises:
        ValueError: what was expected, and what came.

    """
    if word == "fault":
        read_fault(dict(given))
    elif word == "switches":
        switches_with(Switches(), given)
    elif word == "pass":
        for span in [given] if isinstance(given, str) else given.values():
            if read_duration(span) <= timedelta():
                raise ValueError(f"expected some time to pass, got {span!r}")
    elif word == "clock":
        (read_moment if "set" in given else read_duration)(next(iter(given.values())))
    elif word == "certificate" and "begins" in given:
        read_moment(given["begins"])


async def perform(world: World, step: Mapping[str, Any]) -> str:
    """Carry out one step and return what happened in a sentence.

    Raises:
        StepFailed: it could not be done, or something is not as expected.
        ValueError: a name that nothing has, or a moment that cannot be.

    """
    ((name, given),) = step.items()
    try:
        return await STEPS[name].perform(world, given)
    except (ConnectorError, EnrollmentRefused, SessionFailed, OpenSslFailed, OpenSslMissing) as error:
        raise StepFailed(str(error)) from None


__all__ = ["KEY_NAME", "STEPS", "Step", "StepFailed", "check", "perform", "schema"]
