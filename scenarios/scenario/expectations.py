"""Checks the conditions that a scenario may expect, which are listed in emulator/lab/expectations.py."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.cmdlets import COLLECTION
from pfxlab.device_sim.mailbox import NothingToSignWith, sign_mail
from pfxlab.emulator.journal.near_misses import near_misses
from pfxlab.emulator.lab.expectations import CONDITIONS
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.lab.lab import FIRST
from pfxlab.scenarios.lab.tenant.names import Unknown
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.mail import canaries, proofs
from pfxlab.scenarios.mail.openssl import OpenSsl

Given = Mapping[str, Any]
_LOOKED_AT: Final = 1000


class NotMet(Exception):
    """A condition is not met; the text says what was expected, what was found and, where known, why."""


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _why(world: World, device: str, certificate: str) -> str:
    """Return the lab's explanation of a certificate on a device, or an empty text."""
    try:
        upn = world.certificates.get(certificate).upn
        for results in world.explain(upn, device, certificate):
            if results.broken is not None:
                return f"; {results.broken.code}: {results.broken.evidence}. {results.broken.remedy}"
    except Unknown:
        pass
    return ""


async def _holds(world: World, given: Given) -> str:
    device, wanted = given["device"], sorted(_names(given["holds"]))
    for name in wanted:
        world.certificates.get(name)
    held = world.holds(device)
    missing = [name for name in wanted if name not in held]
    if held != wanted:
        why = _why(world, device, missing[0]) if missing else ""
        raise NotMet(f"expected {device} to hold {wanted or 'nothing'}, got {held or 'nothing'}{why}")
    return f"{device} holds {', '.join(wanted) or 'nothing'}"


async def _lacks(world: World, given: Given) -> str:
    there = [name for name in _names(given["lacks"]) if name in world.holds(given["device"])]
    if there:
        raise NotMet(f"expected {given['device']} to lack {', '.join(there)}, which it holds")
    return f"{given['device']} lacks {', '.join(_names(given['lacks']))}"


async def _opens(world: World, given: Given) -> str:
    openssl, device = OpenSsl(), world.devices.get(given["device"])
    names = _names(given["opens"])
    for age, name in enumerate(names):
        made = world.certificates.get(name)
        mail = await proofs.write_mail(openssl, name, made.issued.certificate, made.thumbprint, age)
        proof = proofs.opens(device, mail)
        if not proof.passed:
            why = _why(world, given["device"], name)
            raise NotMet(f"expected {given['device']} to open mail to {name}, got: {proof.detail}{why}")
    return f"{given['device']} opens mail that OpenSSL encrypted to {', '.join(names)}"


async def _signs_with(world: World, given: Given) -> str:
    device, made = world.devices.get(given["device"]), world.certificates.get(given["signs_with"])
    try:
        _, identity = sign_mail(b"Signed by a scenario\r\n", device.store)
    except NothingToSignWith as error:
        why = _why(world, given["device"], given["signs_with"])
        raise NotMet(f"expected {given['device']} to sign, got: {error}{why}") from None
    if identity.thumbprint != made.thumbprint:
        raise NotMet(f"expected {given['device']} to sign with {given['signs_with']}, got {identity.thumbprint}")
    proof = await proofs.signs(OpenSsl(), device, world.certificates.authority().certificate)
    if not proof.passed:
        raise NotMet(f"expected OpenSSL to verify what {given['device']} signed, got: {proof.detail}")
    return f"{given['device']} signs with {given['signs_with']}, and OpenSSL verifies it"


async def _managed(world: World, given: Given) -> str:
    managed = world.devices.get(given["device"]).managed
    if managed is not given["managed"]:
        raise NotMet(f"expected {given['device']} managed: {given['managed']}, got {managed}")
    return f"{given['device']} is {'managed' if managed else 'no longer managed'}"


async def _identity_since(world: World, given: Given) -> str:
    device = world.devices.get(given["device"])
    begins = device.identity.certificate.not_valid_before_utc
    age = world.lab.clock.now() - begins
    if (age < timedelta(days=given["identity_age_below_days"])) is not True:
        raise NotMet(f"expected the identity of {given['device']} renewed, got one that began {begins:%Y-%m-%d}")
    return f"{given['device']} has an identity of {begins:%Y-%m-%d}"


def _delivery(world: World, given: Given) -> Delivery | None:
    device_id = world.devices.get(given["device"]).identity.device_id
    thumbprint = world.certificates.get(given["certificate"]).thumbprint
    mine = [d for d in world.lab.cloud.deliveries.of_device(device_id) if d.thumbprint == thumbprint]
    return mine[-1] if mine else None


async def _state(world: World, given: Given) -> str:
    delivery = _delivery(world, given)
    state = "none" if delivery is None else str(delivery.state)
    if state != given["state"]:
        reason = "" if delivery is None or not delivery.reason else f" ({delivery.reason})"
        raise NotMet(
            f"expected the delivery of {given['certificate']} to {given['device']} {given['state']}, got {state}"
            f"{reason}{_why(world, given['device'], given['certificate'])}"
        )
    return f"{given['certificate']} is {state} on {given['device']}"


async def _because(world: World, given: Given) -> str:
    certificate, device = given.get("certificate"), given.get("device")
    upn = given.get("user") or world.certificates.get(str(certificate)).upn
    results = world.explain(upn, device, certificate)
    codes = sorted({"arrived" if one.broken is None else one.broken.code for one in results})
    if codes != [given["because"]]:
        evidence = "; ".join(one.broken.evidence for one in results if one.broken is not None)
        raise NotMet(f"expected the explanation {given['because']}, got {', '.join(codes)} {evidence}".rstrip())
    return f"explained: {given['because']}"


async def _records(world: World, given: Given) -> str:
    if "certificate" in given:
        count = len(await world.certificates.records(given["certificate"]))
    else:
        count = int(await world.administrator.call("GET", f"{COLLECTION}/$count"))
    if count != given["records"]:
        raise NotMet(f"expected {given['records']} records, got {count}")
    return f"{counted(count, 'record')} in Graph"


async def _active(world: World, given: Given) -> str:
    cloud = world.lab.cloud
    shown = "PFX Lab connector" if given["connector"] == FIRST else f"PFX Lab connector {given['connector']}"
    found = [c for c in cloud.connectors.of_tenant(world.lab.operator.credentials.tenant_id) if c.display_name == shown]
    silent = timedelta(seconds=cloud.config.switches.connector_inactive_after_seconds)
    active = bool(found) and cloud.clock.now() - found[0].last_connection < silent
    if active is not given["active"]:
        raise NotMet(f"expected the connector {given['connector']} active: {given['active']}, got {active}")
    return f"connector {given['connector']} is {'active' if active else 'inactive'}"


async def _processed(world: World, given: Given) -> str:
    """Check how many requests a connector has leased."""
    name = given["connector"]
    ids = [one.connector_id for one in world.lab.connectors() if one.name == name]
    took = Counter[str]()
    for entry in world.lab.cloud.journal.entries(event="lease taken", limit=100_000):
        took[str(entry.fields["connector"])] += len(entry.fields["deliveries"])
    count = sum(took[one] for one in ids)
    if count < given["processed_at_least"]:
        raise NotMet(f"expected the connector {name} to take {given['processed_at_least']} requests, got {count}")
    return f"connector {name} took {counted(count, 'request')}"


async def _struck(world: World, given: Given) -> str:
    planned = world.lab.cloud.faults.get(given["fault"])
    if planned is None:
        raise NotMet(f"expected the fault {given['fault']} to be planned, got none of that name")
    if planned.struck != given["struck"]:
        raise NotMet(f"expected {given['fault']} to have struck {given['struck']} times, got {planned.struck}")
    return f"{given['fault']} struck {planned.struck} times"


async def _journal(world: World, given: Given) -> str:
    journal, wanted = world.lab.cloud.journal, given["journal"]
    count = journal.count(**wanted)
    exact, least = given.get("count"), given.get("at_least", 1)
    if count != exact if exact is not None else count < least:
        expected = f"{exact}" if exact is not None else f"at least {least}"
        near = near_misses(journal.entries(limit=_LOOKED_AT, newest=True), wanted)
        hint = "" if not near else f"; nearest: {near[0].entry.event} with {dict(near[0].differs)}"
        raise NotMet(f"expected {expected} journal entries with {dict(wanted)}, got {count}{hint}")
    return f"{count} journal entries with {', '.join(f'{name} {value}' for name, value in wanted.items())}"


async def _secrets(world: World, _: Given) -> str:
    """Check that no password or private key of the scenario's certificates is in the cloud's data."""
    watched = []
    for name, made in world.certificates.issued.items():
        if len(made.issued.password) >= canaries.SHORTEST:
            watched.append(canaries.of_password(name, made.issued.password))
        if isinstance(made.issued.key, rsa.RSAPrivateKey):
            watched += canaries.of_key(name, made.issued.key)
    world.lab.cloud.journal.flush()
    found = canaries.search(watched, canaries.files_below(world.lab.folder / "cloud"))
    if found:
        raise NotMet(f"expected no secret in the cloud's data, got {found[0].canary} in {found[0].place}")
    return f"none of {counted(len(watched), 'secret')} in the cloud's data"


CHECKS: Final[dict[str, Callable[[World, Given], Awaitable[str]]]] = {
    "holds": _holds,
    "lacks": _lacks,
    "opens": _opens,
    "signs_with": _signs_with,
    "managed": _managed,
    "identity_age_below_days": _identity_since,
    "state": _state,
    "because": _because,
    "records": _records,
    "active": _active,
    "processed_at_least": _processed,
    "struck": _struck,
    "journal": _journal,
    "secrets": _secrets,
}


async def check(world: World, given: Given) -> str:
    """Check every condition; return what was found in a sentence.

    Raises:
        NotMet: the first condition that is not met.

    """
    results = []
    for name, checked in CHECKS.items():
        if name in given:
            lacking = [need for need in CONDITIONS[name].needs if need not in given]
            if lacking:
                raise NotMet(f"expected {' and '.join(lacking)} beside {name}, got none")
            results.append(await checked(world, given))
    return "; ".join(results)
