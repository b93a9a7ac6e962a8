"""The plans: the modules that a kind of tool runs through, each against a right or a deliberately wrong server."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pfxlab.scenarios.conformance import parties
from pfxlab.scenarios.conformance.batches import expanded
from pfxlab.scenarios.conformance.evidence import COLLECTION, Given
from pfxlab.scenarios.conformance.odd_pfx import with_two_keys
from pfxlab.scenarios.conformance.stage import Stage

_USER: Final = "mara@pfxlab.example"
_GUEST: Final = "vera_customer.example#EXT#@pfxlab.example"
_UMLAUT: Final = "Grüße-an-alle-12"
_RECORDS: Final = "*/userPfxCertificates*"
_POST: Final = "POST */userPfxCertificates"

Prepare = Callable[[Stage], Awaitable[None]]
Drive = Callable[[Stage], Awaitable[None]]
Reached = Callable[[Stage], bool]


@dataclass(frozen=True)
class Module:
    """One run of the tool.

    `prepare` sets up the lab and the arguments. `reached`: whether the tool has done what it was asked for.
    `plain`: nothing is wrong, the tool must succeed. `passing`: the fault is transient, so the tool can still succeed.
    `drive`: what happens while a tool runs that ends only when it is stopped, as connectors do.
    `unclear`: an answer leaves open what happened, so that a tool may report a failure.
    """

    name: str
    title: str
    prepare: Prepare
    reached: Reached
    faults: Sequence[Mapping[str, Any]] = ()
    switches: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False
    passing: bool = False
    unclear: bool = False
    seconds: float = 40.0
    drive: Drive | None = None


@dataclass(frozen=True)
class Plan:
    """A kind of tool, and its modules. `arguments`: placeholders of its command line beyond the common ones."""

    name: str
    title: str
    modules: Sequence[Module]
    arguments: Sequence[str]


def _record_of(stage: Stage, given: Given) -> dict[str, Any] | None:
    return stage.records().get(given.record_id)


def _all_there(stage: Stage) -> bool:
    return all(_record_of(stage, given) is not None for given in stage.given)


def _none_there(stage: Stage) -> bool:
    return not any(_record_of(stage, given) for given in stage.given)


def _never(_: Stage) -> bool:
    return False


def _always(_: Stage) -> bool:
    return True


# import


def _one(upn: str = _USER, purpose: str = "smimeEncryption", **more: Any) -> Prepare:
    async def prepare(stage: Stage) -> None:
        stage.arguments = stage.write(stage.furnish(upn, purpose, **more))

    return prepare


async def _wrong_password(stage: Stage) -> None:
    stage.arguments = stage.write(stage.furnish(_USER), password="not-the-password")  # noqa: S106 - wrong on purpose


async def _two_keys(stage: Stage) -> None:
    given = stage.furnish(_USER)
    stage.given = [replace(given, pfx=with_two_keys(given.pfx))]
    stage.arguments = stage.write(stage.given[0])


async def _unknown_user(stage: Stage) -> None:
    given = replace(stage.furnish(_USER), upn="nobody@pfxlab.example")
    stage.given = [given]
    stage.arguments = stage.write(given)


async def _already_there(stage: Stage) -> None:
    given = stage.furnish(_USER)
    await stage.put_record(given)
    stage.arguments = stage.write(given)


def _throttled(form: str, wait: float, times: Any = 1, route: str = _POST) -> dict[str, Any]:
    return {"kind": "status", "route": route, "status": 429, "retry_after": form, "wait": wait, "times": times}


_IMPORT: Final = (
    Module("plain", "one certificate for encryption", _one(), _all_there, plain=True),
    Module("signing", "a certificate for signing", _one(purpose="smimeSigning"), _all_there, plain=True),
    Module("modern-pfx", "a PFX encrypted with AES", _one(modern=True), _all_there, plain=True),
    Module("apostrophe", "a user with an apostrophe", _one("shona.o'neil@pfxlab.example"), _all_there, plain=True),
    Module("guest", "a guest, whose user name contains #EXT#", _one(_GUEST), _all_there, plain=True),
    Module("throttled-seconds", "429 with Retry-After in seconds", _one(), _all_there, [_throttled("integer", 1)],
           passing=True),
    Module("throttled-fraction", "429 with a fractional Retry-After", _one(), _all_there,
           [_throttled("fractional", 0.7)], passing=True),
    Module("throttled-date", "429 with a date in Retry-After", _one(), _all_there, [_throttled("date", 2)],
           passing=True),
    Module("throttled-milliseconds", "429 with x-ms-retry-after-ms", _one(), _all_there, [_throttled("ms", 0.7)],
           passing=True),
    Module("throttled-silent", "429 without any header", _one(), _all_there, [_throttled("absent", 0)], passing=True),
    Module("throttled-forever", "429 each time", _one(), _all_there,
           [_throttled("fractional", 0.2, "always", _RECORDS)], unclear=True),
    Module("ambiguous-503", "503 after the record was written", _one(), _all_there,
           [{"kind": "status", "route": _POST, "status": 503, "after_write": True}], unclear=True, passing=True),
    Module("lost-answer", "the connection closes after the record was written", _one(), _all_there,
           [{"kind": "lost_answer", "route": _POST}], unclear=True, passing=True),
    Module("malformed-answer", "201 with a body that is not JSON", _one(), _all_there,
           [{"kind": "malformed", "route": _POST}], unclear=True),
    Module("odd-values", "201 with properties and enum values of a later version", _one(), _all_there,
           [{"kind": "odd_answer", "route": _POST}], unclear=True),
    Module("odd-status", "200 instead of 201", _one(), _all_there,
           [{"kind": "odd_answer", "form": "other_status", "route": _POST}], unclear=True),
    Module("expired-token", "the token expires before the import", _one(), _all_there,
           [{"kind": "expired_token", "route": _RECORDS}], unclear=True),
    Module("refused-400", "the generic 400", _one(), _all_there,
           [{"kind": "status", "route": _POST, "status": 400, "times": "always"}]),
    Module("forbidden-403", "403", _one(), _all_there,
           [{"kind": "status", "route": _POST, "status": 403, "times": "always"}]),
    Module("unknown-user", "a user who does not exist in the tenant", _unknown_user, _never),
    Module("already-there", "the record exists already", _already_there, _always, unclear=True),
    Module("wrong-password", "a password that does not open the PFX", _wrong_password, _never),
    Module("non-ascii-password", "a password with an umlaut", _one(password=_UMLAUT), _never),
    Module("chain-in-pfx", "a PFX that contains its CA", _one(chain=True), _all_there, unclear=True),
    Module("two-keys", "a PFX with two private keys", _two_keys, _never),
    Module("purpose-mismatch", "a signing certificate, to be imported for encryption",
           _one(usage="smimeSigning"), _all_there, unclear=True),
)  # fmt: skip


# bulk

_NAMES: Final = ("alan", "bea", "cleo", "dora", "eli")


async def _five(stage: Stage) -> None:
    given = [(name, stage.furnish(f"{name}@pfxlab.example", name=name)) for name in _NAMES]
    stage.arguments = stage.write_manifest(given)


async def _one_bad_file(stage: Stage) -> None:
    await _five(stage)
    bad = stage.given[1]
    (stage.folder / "bea.pfx").write_bytes(b"This is no PFX.")
    stage.facts["bad"] = bad.thumbprint


async def _two_there(stage: Stage) -> None:
    await _five(stage)
    for given in stage.given[:2]:
        await stage.put_record(given)


_BULK: Final = (
    Module("plain", "five certificates of five users", _five, _all_there, plain=True),
    Module("one-bad-file", "one of five files is not a PFX", _one_bad_file, _never),
    Module("some-there", "two of five records exist already", _two_there, _all_there, unclear=True),
    Module("throttled-seconds", "429 in the middle", _five, _all_there, [{**_throttled("integer", 1), "after": 2}],
           passing=True),
    Module("ambiguous-503", "503 after the third record was written", _five, _all_there,
           [{"kind": "status", "route": _POST, "status": 503, "after_write": True, "after": 2}], unclear=True,
           passing=True),
    Module("expired-token", "the token expires in the middle", _five, _all_there,
           [{"kind": "expired_token", "route": _RECORDS, "after": 2}], unclear=True),
    Module("odd-values", "answers with properties and enum values of a later version", _five, _all_there,
           [{"kind": "odd_answer", "route": _POST, "times": "always"}], unclear=True),
)  # fmt: skip


# update


async def _to_update(stage: Stage) -> None:
    given = stage.furnish(_USER)
    other = stage.furnish("other@pfxlab.example", name="other")
    await stage.put_record(given, keyName="OldKey")
    await stage.put_record(other)
    stage.given = [given]
    stage.arguments = stage.write(given)


async def _nothing_to_update(stage: Stage) -> None:
    stage.arguments = stage.write(stage.furnish(_USER))


def _updated(stage: Stage) -> bool:
    record = _record_of(stage, stage.given[0])
    return record is not None and record["key_name"] == stage.common()["key_name"]


_UPDATE: Final = (
    Module("plain", "a record that names another key", _to_update, _updated, plain=True),
    Module("odd-status", "PATCH is answered with 200 instead of 204", _to_update, _updated,
           [{"kind": "odd_answer", "form": "other_status", "route": "PATCH *"}], unclear=True),
    Module("documented-status", "PATCH is answered as documented, 200 with the record", _to_update, _updated,
           switches={"code_profile": "documented"}, plain=True),
    Module("throttled-seconds", "429 on the change", _to_update, _updated, [_throttled("integer", 1, 1, "PATCH *")],
           passing=True),
    Module("nothing-there", "the record does not exist", _nothing_to_update, _never),
)  # fmt: skip


# remove


async def _to_remove(stage: Stage) -> None:
    await _to_update(stage)


async def _apostrophe_to_remove(stage: Stage) -> None:
    given = stage.furnish("shona.o'neil@pfxlab.example")
    await stage.put_record(given)
    stage.arguments = stage.write(given)


async def _guest_to_remove(stage: Stage) -> None:
    given = stage.furnish(_GUEST)
    await stage.put_record(given)
    stage.arguments = stage.write(given)


async def _nothing_to_remove(stage: Stage) -> None:
    stage.arguments = stage.write(stage.furnish(_USER))


_REMOVE: Final = (
    Module("plain", "the removal of one of two records", _to_remove, _none_there, plain=True),
    Module("apostrophe", "a user with an apostrophe", _apostrophe_to_remove, _none_there, plain=True),
    Module("guest", "a guest, whose user name contains #EXT#", _guest_to_remove, _none_there, plain=True),
    Module("odd-status", "DELETE is answered with 200", _to_remove, _none_there,
           [{"kind": "odd_answer", "form": "other_status", "route": "DELETE *"}], unclear=True),
    Module("throttled-seconds", "429 on the removal", _to_remove, _none_there,
           [_throttled("integer", 1, 1, "DELETE *")], passing=True),
    Module("nothing-there", "the record does not exist", _nothing_to_remove, _none_there, unclear=True),
    Module("refused-403", "403", _to_remove, _none_there,
           [{"kind": "status", "route": "DELETE *", "status": 403, "times": "always"}]),
)  # fmt: skip


# read


def _read(stage: Stage) -> list[bool]:
    """Return for each record that was to be read whether an answer in this run contained it."""
    answers = [
        part.answer.decode("utf-8", "replace").lower()
        for one in stage.seen
        for part in expanded(one)
        if part.is_graph and part.method == "GET" and part.status == 200 and COLLECTION in part.path.lower()
    ]
    return [any(given.record_id in answer for answer in answers) for given in stage.given]


def _all_read(stage: Stage) -> bool:
    """Return whether all of the user's records were read, or the one record that was requested by thumbprint."""
    wanted = stage.given[0].thumbprint
    one_asked = any(wanted in f"{one.path}?{one.query}".lower() for one in stage.seen)
    return _read(stage)[0] if one_asked else all(_read(stage))


def _some_read(stage: Stage) -> bool:
    """Return whether any record was read: a rule of its own judges whether all were."""
    return any(_read(stage))


def _several(upn: str = _USER, count: int = 4) -> Prepare:
    async def prepare(stage: Stage) -> None:
        for number in range(count):
            await stage.put_record(stage.furnish(upn, name=f"mail {number}"))
        stage.arguments = {"upn": upn, "thumbprint": stage.given[0].thumbprint}

    return prepare


_READ: Final = (
    Module("plain", "four records of a user", _several(), _all_read, plain=True),
    Module("pages", "one record per page", _several(), _some_read, switches={"page_size": 1}, plain=True),
    Module("apostrophe", "a user with an apostrophe", _several("shona.o'neil@pfxlab.example", 2), _all_read,
           plain=True),
    Module("guest", "a guest, whose user name contains #EXT#", _several(_GUEST, 2), _all_read, plain=True),
    Module("odd-values", "records with properties and enum values of a later version", _several(), _all_read,
           [{"kind": "odd_answer", "route": _RECORDS, "times": "always"}], unclear=True),
    Module("link-elsewhere", "the link to the next page leads to another host", _several(), _all_read,
           [{"kind": "next_link", "variant": "other_host", "route": _RECORDS}], {"page_size": 1}, unclear=True),
    Module("link-in-a-circle", "the link to the next page leads back to the first", _several(), _all_read,
           [{"kind": "next_link", "variant": "same_page", "route": _RECORDS, "times": "always"}], {"page_size": 1},
           unclear=True, seconds=15),
    Module("throttled-seconds", "429 on the list", _several(), _all_read, [_throttled("integer", 1, 1, _RECORDS)],
           passing=True),
    Module("expired-token", "the token expires before the list", _several(), _all_read,
           [{"kind": "expired_token", "route": _RECORDS}], unclear=True),
)  # fmt: skip


# connector and device: both run until they are stopped

_PATIENT: Final = {"connector_retry_seconds": 0.2, "connector_attempts": 1, "connector_lease_seconds": 3}


async def _nothing(stage: Stage) -> None:
    stage.arguments = stage.service_places()


_CONNECTOR: Final = (
    Module("plain", "three certificates for a phone and a PC, each with another padding", _nothing,
           parties.all_delivered, switches=_PATIENT, drive=parties.deliver, plain=True),
    Module("key-missing", "one record names a key that the server does not have", _nothing, parties.all_delivered,
           switches=_PATIENT, drive=parties.deliver_with_missing_key),
    Module("wrong-key", "one password is encrypted to another key of that name", _nothing, parties.all_delivered,
           switches=_PATIENT, drive=parties.deliver_with_wrong_key),
    Module("service-busy", "the service answers 503 a few times", _nothing, parties.all_delivered,
           [{"kind": "status", "route": "*/connector/v1/lease", "status": 503, "times": 6}], _PATIENT,
           drive=parties.deliver, passing=True),
    Module("lost-completion", "the answer to a completion is lost", _nothing, parties.all_delivered,
           [{"kind": "lost_answer", "route": "*/connector/v1/complete"}], _PATIENT, drive=parties.deliver,
           passing=True),
)  # fmt: skip

_DEVICE: Final = (
    Module("plain", "a certificate for the device's user", _nothing, parties.all_delivered, drive=parties.let_install,
           plain=True),
    Module("removed", "the record is deleted once the device has it", _nothing, parties.all_removed,
           drive=parties.let_install_and_remove),
    Module("wrong-password", "a password that does not open the PFX", _nothing, parties.all_failed,
           drive=parties.let_fail),
)  # fmt: skip

_SERVICE: Final = ("folder", "keys_dir", "private_key_file", "operator_upn", "operator_password_file")
_FILES: Final = ("pfx", "password", "password_file", "upn", "purpose", "thumbprint")

PLANS: Final = {
    plan.name: plan
    for plan in (
        Plan("import", "imports one certificate for one user", _IMPORT, _FILES),
        Plan("bulk", "imports the certificates of a folder or manifest", _BULK, ("pfx_dir", "manifest")),
        Plan("update", "changes an existing record", _UPDATE, _FILES),
        Plan("remove", "removes a record", _REMOVE, _FILES),
        Plan("read", "reads the records of a user", _READ, ("upn", "thumbprint")),
        Plan("connector", "is a connector: leases, re-encrypts, completes, until it is stopped", _CONNECTOR, _SERVICE),
        Plan("device", "enrols devices and lets them check in, until it is stopped", _DEVICE, _SERVICE),
    )
}
"""Name → plan."""
