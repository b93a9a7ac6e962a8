"""Everything that a running lab can do on request: one table of verbs with names, arguments and docs.

The control API and its OpenAPI description, the steps of scenarios, `pfxlab world`, the pytest fixtures and the pages
about all of them are generated from it. Verbs are implemented in `control.py` if the cloud can carry them out
itself, and in scenarios/scenario/steps.py if they need a connector or a device. A new verb is a row here and a function
there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from pfxlab.emulator.config import Switches, switches_with
from pfxlab.emulator.entra.principals.users import SIGN_IN_STATES
from pfxlab.emulator.faults import kinds
from pfxlab.emulator.faults.plan import read_fault
from pfxlab.emulator.lab import expectations
from pfxlab.emulator.lab.moments import read_duration, read_moment
from pfxlab.emulator.lab.schemas import LIST_OF_NAMES, MOMENT, NAME, PURPOSE, SPAN, TEXT, UPN, closed, either
from pfxlab.emulator.store.journal_entries import FILTERS
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.json_schema import draft_2020_12, narrowed, place_of, problem_of
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.emulator.wire.text import quoted

Json = Mapping[str, Any]


class VerbFailed(ValueError):
    """A verb failed, or an expectation was not met; the text says which."""


@dataclass(frozen=True)
class Endpoint:
    """A verb's own address in the control API.

    `query`: name → what it means; `body`, `answer`: JSON Schemas. `public`: needs no token.
    """

    operation: str
    method: str
    path: str
    answer: Json
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    public: bool = False


@dataclass(frozen=True)
class Verb:
    """One row. `arguments`: the JSON Schema of what a scenario gives it; None when no scenario can use it.

    `first`: the argument that a bare value on the command line stands for. `endpoint`: its own address in the control
    API; a verb with arguments can always be reached as `POST /do/NAME`.
    """

    name: str
    does: str
    arguments: Json | None = None
    first: str = ""
    endpoint: Endpoint | None = None

    def named_arguments(self) -> dict[str, Json]:
        """Return the arguments that have names, with their schemas."""
        whole = self.arguments or {}
        forms = [whole, *whole.get("anyOf", ())]
        return {name: schema for form in forms for name, schema in form.get("properties", {}).items()}

    def takes_names_only(self) -> bool:
        """Return whether every form of its arguments is an object."""
        whole = self.arguments or {}
        return all(
            form.get("type") == "object" for form in ([whole] if "type" in whole else whole.get("anyOf", [whole]))
        )

    def takes_nothing(self) -> bool:
        """Return whether it has no arguments at all."""
        return self.arguments == _NOTHING


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer"}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_LIST: Final = {"type": "array", "items": {"type": "object"}}
_CLOCK: Final = _object(time=_MOMENT, frozen={"type": "boolean"})
_FAULT: Final = {**_object(id=_TEXT, kind=_TEXT, fitted=_WHOLE, struck=_WHOLE), "additionalProperties": True}
_FAULTS: Final = _object(faults={"type": "array", "items": _FAULT})
_FILTERED: Final = {name: f"only entries with this {name}" for name in FILTERS} | {
    "after": "only entries after this sequence number"
}
_FLAG: Final = {"type": "boolean"}
_NOTHING: Final = {"type": ["null", "boolean"], "title": "no arguments"}
_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": 100_000}
_PLATFORM: Final = {"enum": list(PLATFORMS)}
_PADDING: Final = {"enum": [scheme.name for scheme in PaddingScheme]}
_NAMES: Final = {"type": "array", "items": NAME, "minItems": 1}

DONE: Final = _object(done=_TEXT)
"""The answer of `POST /do/NAME`: what happened, in one sentence."""

VERBS: Final = (
    # What is in the lab
    Verb("connector", "Start or stop a certificate connector; `batch`: requests per lease; `own_keys`: a separate key"
         " store.",
         either(NAME, closed({"name": NAME, "action": {"enum": ["start", "stop"]}, "batch": _COUNT,
                              "own_keys": _FLAG}, [])),
         first="name"),
    Verb("user", "Add one or more mail users to the directory, or change one: `sign_in` says what sign-in makes of the"
         " user, `licence` whether Intune serves it; `properties`: as Graph shows them, such as proxyAddresses.",
         either(UPN, {"type": "array", "items": UPN},
                closed({"upn": UPN, "sign_in": {"enum": list(SIGN_IN_STATES)}, "licence": _FLAG,
                        "properties": {"type": "object", "title": "properties of a user"}}, ["upn"])),
         first="upn"),
    Verb("group", "Create a group, or set its members.", closed({"name": NAME, "members": LIST_OF_NAMES}),
         first="name"),
    Verb("device", "Enrol a device of a user.",
         closed({"name": NAME, "platform": _PLATFORM, "user": UPN, "os_version": TEXT}, ["name", "platform", "user"]),
         first="name"),
    Verb("action", "Request an action on a device over Graph.",
         closed({"device": NAME, "action": {"enum": ["syncDevice", "wipe", "retire", "delete"]}}), first="device"),
    Verb("profile", "Create a PKCS imported certificate profile and assign it, to the mail users if `groups` is left"
         " out.",
         closed({"name": NAME, "platform": _PLATFORM, "purpose": PURPOSE, "groups": LIST_OF_NAMES,
                 "excluded": LIST_OF_NAMES, "settings": {"type": "object"}}, ["name", "platform", "purpose"]),
         first="name"),
    Verb("assign", "Assign a profile to other groups; without groups, unassign it.",
         closed({"profile": NAME, "groups": LIST_OF_NAMES, "excluded": LIST_OF_NAMES}, ["profile"]), first="profile"),
    Verb("certificate", "Issue a certificate from the test CA; `pfx` says how its PFX is protected, `chain` adds"
         " the CA to it.",
         closed({"name": NAME, "user": UPN, "purpose": PURPOSE, "padding": _PADDING, "begins": MOMENT, "lasts": SPAN,
                 "pfx": {"enum": ["3des", "aes"]}, "chain": _FLAG,
                 "password": {"type": "string", "minLength": 1, "maxLength": 1000}}, ["name", "user"]),
         first="name"),
    Verb("import", "Import certificates over Graph; `refused` names the rule that must refuse them.",
         either(NAME, _NAMES,
                closed({"certificate": either(NAME, _NAMES), "upn": TEXT, "purpose": PURPOSE, "padding": _PADDING,
                        "key": NAME, "raw_password": _FLAG, "refused": TEXT}, ["certificate"])),
         first="certificate"),
    Verb("bulk_import", "Import a certificate for `count` users, one after the other, as `pfxlab pfx import` does.",
         closed({"certificate": NAME, "count": _COUNT}), first="certificate"),
    Verb("delete", "Delete a certificate's record in Graph.", NAME),
    Verb("key", "Create a key on the connector, remove one, or move one to a new server.",
         either(closed({"name": NAME, "action": {"enum": ["add", "remove"]}}),
                closed({"name": NAME, "action": {"const": "move"}, "to": NAME})), first="name"),
    Verb("hsm", "Create a key in the connector's hardware security module (SoftHSM).", closed({"key": NAME}),
         first="key"),
    # Time
    Verb("get_clock", "Return the lab's time, and whether its clock is frozen.",
         endpoint=Endpoint("clock", "GET", "/clock", _CLOCK)),
    Verb("move_clock",
         "`freeze` (true, or a moment), `resume`, `set` (a moment; nothing happens in between) or `advance` (a"
         " duration; everything scheduled in between happens in order, then the clock is frozen). With `advance`,"
         " `expireTokens` (true) lets every access token expire that was issued until then.",
         endpoint=Endpoint("setClock", "POST", "/clock", _object(**_CLOCK["properties"], checkIns=_LIST),
                           body=_object(freeze={"type": ["boolean", "string"]}, resume=_FLAG, set=_MOMENT,
                                        advance=_TEXT, expireTokens=_FLAG))),
    Verb("clock", "Set the clock, or skip a time span; nothing happens in between.",
         either(closed({"set": MOMENT}), closed({"skip": SPAN}))),
    Verb("pass", "Let time pass; everything scheduled in between happens in order; `check_in_every`: the devices'"
         " check-in interval, for devices that are mostly off; `expire_tokens`: let every access token expire that was"
         " issued until then.",
         either(SPAN, closed({"time": SPAN, "check_in_every": SPAN, "expire_tokens": _FLAG}, ["time"])), first="time"),
    Verb("settle", "Do everything that is due now; no time passes.", _NOTHING,
         endpoint=Endpoint("settle", "POST", "/settle", _object(**_CLOCK["properties"], checkIns=_WHOLE, left=_WHOLE))),
    Verb("check_in", "Let devices check in now.", LIST_OF_NAMES),
    Verb("lock", "Lock or unlock a device.", closed({"device": NAME, "locked": _FLAG}), first="device"),
    # Faults and switches
    Verb("faults", "List planned faults, with how often each matched and struck.",
         endpoint=Endpoint("faults", "GET", "/faults", _FAULTS)),
    Verb("fault", "Plan a fault; see docs/faults.md.", kinds.schema(), first="kind",
         endpoint=Endpoint("addFault", "POST", "/faults", _FAULT, body=kinds.schema())),
    Verb("no_faults", "Remove every planned fault.", _NOTHING,
         endpoint=Endpoint("removeFaults", "DELETE", "/faults", _FAULTS)),
    Verb("get_fault", "Return one planned fault.", endpoint=Endpoint("fault", "GET", "/faults/{id}", _FAULT)),
    Verb("remove_fault", "Remove one planned fault; return it with its counters.",
         endpoint=Endpoint("removeFault", "DELETE", "/faults/{id}", _FAULT)),
    Verb("get_switches", "Return every switch of docs/divergences.md.",
         endpoint=Endpoint("switches", "GET", "/switches", {"type": "object"})),
    Verb("switches", "Set some switches of docs/divergences.md, from the next request on.",
         {"type": "object", "minProperties": 1},
         endpoint=Endpoint("setSwitches", "PATCH", "/switches", {"type": "object"}, body={"type": "object"})),
    Verb("cloud", "Direct the administrator's tool to the hosts of a national cloud.",
         {"enum": ["lab", "global", "usGovernment", "china"]}),
    # State
    Verb("snapshots", "List snapshots.",
         endpoint=Endpoint("snapshots", "GET", "/snapshots", _object(snapshots={"type": "array", "items": _TEXT}))),
    Verb("snapshot", "Save the state of the whole lab under a name.", NAME,
         endpoint=Endpoint("takeSnapshot", "POST", "/snapshots", _object(name=_TEXT), body=_object(name=_TEXT))),
    Verb("restore", "Restore the whole lab from a snapshot.", NAME,
         endpoint=Endpoint("restoreSnapshot", "POST", "/snapshots/{name}/restore", _CLOCK)),
    Verb("reset", "Reset the whole lab to its initial state.",
         endpoint=Endpoint("reset", "POST", "/reset",
                           _object(**_CLOCK["properties"], milliseconds={"type": "number"}))),
    Verb("seed", "Run steps of a scenario (docs/scenarios.md): users, devices, imports.",
         endpoint=Endpoint("seed", "POST", "/seed", _object(done={"type": "array", "items": _TEXT}),
                           body=_object(steps=_LIST))),
    Verb("bundle", "Return the reproduction bundle of this run, for `pfxlab replay`.",
         endpoint=Endpoint("bundle", "GET", "/bundle", {"type": "string", "format": "binary"})),
    # Questions
    Verb("health", "Return the emulator's health, its seed and the lab's time.",
         endpoint=Endpoint("health", "GET", "/health", _object(status=_TEXT, seed=_WHOLE, time=_MOMENT), public=True)),
    Verb("damaged", "Return what of the lab's folder is damaged, with what to do; everything else goes on.",
         endpoint=Endpoint("damaged", "GET", "/damaged", _object(damaged=_LIST))),
    Verb("journal", "Return journal entries, oldest first.",
         endpoint=Endpoint("journal", "GET", "/journal", _object(entries=_LIST),
                           {**_FILTERED, "limit": "largest number of entries"})),
    Verb("count_entries", "Return how many journal entries match.",
         endpoint=Endpoint("countEntries", "GET", "/journal/count", _object(count=_WHOLE), _FILTERED)),
    Verb("wait_for_entries", "Wait until enough journal entries match.",
         endpoint=Endpoint("waitForEntries", "GET", "/journal/wait",
                           _object(met=_FLAG, entries=_LIST, nearMisses=_LIST),
                           {**_FILTERED, "count": "number of entries", "seconds": "longest wait in real seconds"})),
    Verb("near_misses", "Return the latest journal entries that nearly match, and how they differ.",
         endpoint=Endpoint("nearMisses", "GET", "/journal/near-misses", _object(nearMisses=_LIST), _FILTERED)),
    Verb("explain", "Explain why certificates of a user have arrived or not.",
         endpoint=Endpoint("explain", "GET", "/explain", _object(explanations=_LIST),
                           {"user": "user principal name", "device": "id or name", "thumbprint": "of one certificate",
                            "tenant": "id or domain"})),
    Verb("expect", "Check what must be true now.", expectations.SCHEMA),
)  # fmt: skip


def steps() -> dict[str, Verb]:
    """Return the verbs that a scenario can use, by name."""
    return {verb.name: verb for verb in VERBS if verb.arguments is not None}


def endpoints() -> list[tuple[Verb, Endpoint]]:
    """Return the addresses of the control API with their verbs: their own, then `POST /do/NAME` of every step."""
    own = [(verb, verb.endpoint) for verb in VERBS if verb.endpoint is not None]
    return own + [
        (verb, Endpoint(f"do_{name}", "POST", f"/do/{name}", DONE, body=verb.arguments))
        for name, verb in steps().items()
    ]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of one step of a scenario: an object with one property, the verb's name."""
    properties = {name: {**(verb.arguments or {}), "description": verb.does} for name, verb in steps().items()}
    one = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**one, "minProperties": 1, "maxProperties": 1}


def check(name: str, given: Any) -> None:
    """Check a verb and its arguments against the table.

    Raises:
        ValueError: it has not, or not with these arguments; with the place.

    """
    verb = steps().get(name)
    if verb is None or verb.arguments is None:
        raise ValueError(f"{str(name)[:40]}: expected one of {', '.join(steps())}")
    error = next(iter(draft_2020_12(verb.arguments).iter_errors(given)), None)
    if error is not None:
        error = narrowed(error)
        raise ValueError(f"{f'{name}/{place_of(error)}'.rstrip('/')}: {problem_of(error)}")
    try:
        check_values(name, given)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None


def check_steps(given: Sequence[Any]) -> None:
    """Check the steps of a scenario against the table.

    Raises:
        ValueError: the first that it has not, with its number.

    """
    for number, step in enumerate(given, 1):
        if not isinstance(step, dict) or len(step) != 1:
            raise ValueError(
                f"step {number}: expected an object with one verb, got {len(step)} of them"
                if isinstance(step, dict)
                else f"step {number}: expected an object with one verb, got {type(step).__name__}"
            )
        try:
            check(*next(iter(step.items())))
        except ValueError as problem:
            raise ValueError(f"step {number}, {problem}") from None


def check_values(name: str, given: Any) -> None:
    """Check what a schema cannot express about a verb's arguments: faults, switches, spans and moments.

    Raises:
        ValueError: what was expected, and what came.

    """
    if name == "fault":
        read_fault(dict(given))
    elif name == "switches":
        switches_with(Switches(), given)
    elif name == "pass":
        for span in [given] if isinstance(given, str) else [one for one in given.values() if not isinstance(one, bool)]:
            if read_duration(span) <= timedelta():
                raise ValueError(f"expected some time to pass, got {quoted(span)}")
    elif name == "clock":
        (read_moment if "set" in given else read_duration)(next(iter(given.values())))
    elif name == "certificate" and "begins" in given:
        read_moment(given["begins"])
