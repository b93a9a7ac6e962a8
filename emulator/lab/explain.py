"""Why has this certificate (not) arrived? Follows it from import to device and stops at the first broken link.

Reads the store only. The links are those of sources.md#why-nothing-arrives; codes and remedies are in causes.py.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.principals.users import is_licensed
from pfxlab.emulator.intune.profiles import subject_of, target_profile
from pfxlab.emulator.intune.targeting import Obstacle, Profile, Subject, Target, obstacle
from pfxlab.emulator.lab.causes import REMEDIES
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.store.pfx_certificates import Outline
from pfxlab.emulator.wire.numbers import counted
from pfxlab.emulator.wire.platforms import PLATFORM_OF_TYPE

_SHOWN: Final = 200
_SEARCHED: Final = 1000
"""Refused imports and sign-ins that are searched, newest first."""

_SIGN_IN_CODES: Final = frozenset({"UserBlocked", "PasswordExpired", "SecondFactorRequired", "BlockedByPolicy"})


@dataclass(frozen=True)
class Link:
    """One link of the chain: `code` is empty if it holds; `evidence` says what was seen, `remedy` what to do."""

    name: str
    evidence: str
    code: str = ""
    remedy: str = ""


class _Broken(Exception):
    def __init__(self, name: str, code: str, evidence: str) -> None:
        super().__init__(code)
        self.link = Link(name, evidence, code, REMEDIES[code])


@dataclass
class Explanation:
    """The path of one certificate to one device. `arrived`: the device has installed and reported it."""

    user: str
    thumbprint: str | None = None
    device: str | None = None
    device_name: str | None = None
    links: list[Link] = field(default_factory=list)
    arrived: bool = False

    @property
    def broken(self) -> Link | None:
        """Return the first broken link, None when the certificate has arrived."""
        return next((link for link in self.links if link.code), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        broken = self.broken
        return {
            "user": self.user,
            "thumbprint": self.thumbprint,
            "deviceId": self.device,
            "deviceName": self.device_name,
            "arrived": self.arrived,
            "broken": None if broken is None else vars(broken),
            "links": [vars(link) for link in self.links],
        }


def explain(
    cloud: Cloud, tenant_id: str, user: str, device: str | None = None, thumbprint: str | None = None
) -> list[Explanation]:
    """Return one explanation for each certificate of the user on each of the user's devices.

    `device` (id or name) and `thumbprint` narrow it down. If the chain breaks before there is a certificate and a
    device, the list has one explanation that says so.
    """
    found: list[Explanation] = []
    try:
        row = _user(cloud, tenant_id, user)
        records = _records(cloud, tenant_id, row, thumbprint)
        devices = _devices(cloud, row, device)
    except _Broken as broken:
        return [Explanation(user, thumbprint, device, links=[broken.link])]
    for one in devices:
        for record in records:
            explanation = Explanation(user, record.thumbprint, one.id, one.device_name)
            explanation.links.append(Link("import", f"record {record.id}, purpose {record.intended_purpose.name}"))
            explanation.links.append(Link("device", f"{one.device_name}, {one.platform} {one.os_version}, id {one.id}"))
            try:
                for step in _CHAIN:
                    explanation.links.append(step(cloud, one, record, str(row["id"])))
                explanation.arrived = True
            except _Broken as broken:
                explanation.links.append(broken.link)
            found.append(explanation)
    return found


def _user(cloud: Cloud, tenant_id: str, name: str) -> Any:
    row = cloud.directory.user(tenant_id, name)
    if row is None:
        refused = _refused_import(cloud, name)
        if refused:
            raise _Broken("import", "ImportRefused", refused)
        raise _Broken("user", "UserUnknown", f"the tenant has no user {name!r}")
    return row


def _refused_import(cloud: Cloud, text: str) -> str | None:
    """Return the reason of the latest refused import that names a user or thumbprint, or None."""
    entries = cloud.journal.entries(outcome="refused", path="userpfxcertificates", limit=_SEARCHED, newest=True)
    for entry in entries:
        if entry.fields.get("method") == "POST" and text.lower() in f"{entry.reason} {entry.fields}".lower():
            return f"the import at {entry.time} was refused, {entry.fields.get('rule')}: {entry.reason}"
    return None


def _refused_sign_in(cloud: Cloud) -> tuple[str, str] | None:
    """Return (code, evidence) of the last sign-in of a user, if it was refused for the user's state; None otherwise."""
    for entry in cloud.journal.entries(party="entra", limit=_SEARCHED, newest=True):
        rule = str(entry.fields.get("rule", ""))
        if entry.event == "sign-in refused" and rule in _SIGN_IN_CODES:
            return rule, f"the sign-in at {entry.time} was refused: {entry.reason}"
        if entry.event == "token issued" and entry.fields.get("grant") != "client_credentials":
            return None
    return None


def _records(cloud: Cloud, tenant_id: str, user: Any, thumbprint: str | None) -> list[Outline]:
    records = cloud.certificates.of_user(user["id"])
    wanted = [one for one in records if thumbprint is None or one.thumbprint.lower() == thumbprint.lower()]
    if wanted:
        return wanted
    if thumbprint is not None and cloud.certificates.was_deleted(user["id"], thumbprint):
        raise _Broken("import", "RecordDeleted", f"the record of {thumbprint} was deleted")
    refused = _refused_import(cloud, thumbprint or user["user_principal_name"])
    if refused:
        raise _Broken("import", "ImportRefused", refused)
    sign_in = _refused_sign_in(cloud)
    if sign_in is not None:
        raise _Broken("sign-in", *sign_in)
    which = "" if thumbprint is None else f", none with thumbprint {thumbprint}"
    raise _Broken(
        "import", "NothingImported", f"{user['user_principal_name']} has {counted(len(records), 'record')}{which}"
    )


def _devices(cloud: Cloud, user: Any, wanted: str | None) -> list[Device]:
    mine = cloud.devices.of_user(user["id"])
    chosen = [one for one in mine if wanted is None or wanted.lower() in (one.id, one.device_name.lower())]
    if chosen:
        return chosen
    other = None if wanted is None else cloud.devices.get(wanted)
    if other is not None and not other.user_id:
        raise _Broken("device", "DeviceWithoutUser", f"{other.device_name} was enrolled without a user")
    if other is not None:
        raise _Broken("device", "DeviceOfAnother", f"{other.device_name} belongs to the user {other.user_id}")
    raise _Broken(
        "device",
        "DeviceUnknown",
        f"{user['user_principal_name']} has {counted(len(mine), 'device')}, but not the requested one",
    )


def _targeted(cloud: Cloud, device: Device, record: Outline, user_id: str) -> Link:
    """The profile: one for the platform, with the record's purpose, assigned to the user or device."""
    user = cloud.directory.user(device.tenant_id, user_id)
    if user is not None and not is_licensed(user):
        raise _Broken("user", "UserUnlicensed", f"{user['user_principal_name']} has no licence for Intune")
    leaving = cloud.devices.leaving(device.id)
    if leaving is not None:
        raise _Broken("device", "DeviceLeaves", f"{leaving} is pending until the next check-in")
    delivery = _delivery(cloud, device, record)
    if delivery is not None and delivery.state is State.LEFT:
        raise _Broken("profile", "LeftThere", f"no profile delivers it any more, but {device.platform} keeps it")
    filters = cloud.filters.by_id(device.tenant_id)
    profiles = [
        (stored.display_name, profile)
        for stored in cloud.profiles.all(device.tenant_id)
        if PLATFORM_OF_TYPE.get(stored.odata_type) == device.platform
        and (profile := target_profile(stored, cloud.profiles.assignments(stored.id), filters)) is not None
    ]
    if not profiles:
        raise _Broken("profile", "NoProfile", f"there is no imported-PFX profile for {device.platform}")
    fitting = [(name, one) for name, one in profiles if one.purpose is record.intended_purpose]
    if not fitting:
        offered = ", ".join(f"profile {name!r} has {one.purpose.name}" for name, one in profiles[:5])
        evidence = f"the record's purpose is {record.intended_purpose.name}; {offered}"
        raise _Broken("profile", "PurposeMismatch", evidence)
    subject = subject_of(device, cloud.directory.groups_of(user_id, device.id))
    problems = [(name, _reach(one, subject)) for name, one in fitting]
    reached = [name for name, problem in problems if problem is None]
    if reached:
        return Link("profile", f"{reached[0]!r} has purpose {record.intended_purpose.name} and targets the device")
    # Report the nearest miss: filtered out, excluded, then assigned to others, then not assigned at all.
    order = ("FilteredOut", "Excluded", "NotInGroup", "NotAssigned")
    name, problem = min(problems, key=lambda one: order.index(one[1][0] if one[1] else order[-1]))
    code, evidence = problem or ("NotAssigned", "")
    raise _Broken("assignment", code, f"profile {name!r} {evidence}")


def _reach(profile: Profile, subject: Subject) -> tuple[str, str] | None:
    """Return (code, evidence) of why a profile does not reach a device, or None if it does."""
    miss = obstacle(profile, subject)
    if miss is None:
        return None
    return str(miss.obstacle), _EVIDENCE[miss.obstacle](miss.targets, subject)


def _excluded(targets: tuple[Target, ...], _: Subject) -> str:
    return f"excludes the group {targets[0].group_id}, of the user or device"


def _elsewhere(targets: tuple[Target, ...], subject: Subject) -> str:
    wanted = ", ".join(target.group_id for target in targets)
    return f"is assigned to {wanted}; the user and the device are only in {len(subject.groups)} other groups"


def _filtered(targets: tuple[Target, ...], subject: Subject) -> str:
    """Name the filters that decide, their rules, and why they match the device or do not."""
    reasons = []
    for one in (target.filter for target in targets):
        if one is None:
            continue
        on = subject.platform in one.platforms
        found = "matches the device" if one.matches(subject) else "does not match the device"
        reasons.append(
            f"filter {one.name!r} {found}{'' if on else ', which is of another platform'}: {one.rule.text[:200]}"
        )
    return f"has an assignment with a filter in mode {targets[0].mode}; {'; '.join(reasons)}"


_EVIDENCE: Final[dict[Obstacle, Callable[[tuple[Target, ...], Subject], str]]] = {
    Obstacle.PLATFORM: lambda _, subject: f"is not for {subject.platform}",
    Obstacle.EXCLUDED: _excluded,
    Obstacle.NOT_ASSIGNED: lambda _, __: "is not assigned to any group",
    Obstacle.NOT_IN_GROUP: _elsewhere,
    Obstacle.FILTERED_OUT: _filtered,
}


def _delivery(cloud: Cloud, device: Device, record: Outline) -> Delivery | None:
    """Return the delivery of a record to a device that is furthest along."""
    mine = [one for one in cloud.deliveries.of_certificate(record.id) if one.device_id == device.id]
    order = [State.INSTALLED, State.OFFERED, State.READY, State.LEASED, State.REQUESTED, State.FAILED, State.WANTED]
    return min(mine, key=lambda one: order.index(one.state) if one.state in order else len(order), default=None)


def _checked_in(cloud: Cloud, device: Device, record: Outline, user_id: str) -> Link:
    """The device's check-in since a profile targets it."""
    delivery = _delivery(cloud, device, record)
    damage = _damage(cloud, "device", [device.id])
    if damage and (delivery is None or delivery.state is not State.INSTALLED):
        raise _Broken("check-in", "DeviceDamaged", damage)
    if delivery is None or delivery.state in (State.SUPERSEDED, State.REMOVED):
        same = [one for one in cloud.certificates.of_user(user_id) if one.intended_purpose is record.intended_purpose]
        newest = max(same, key=lambda one: one.start_date)
        if newest.id != record.id:
            raise _Broken(
                "selection", "NewerStandsIn", f"{newest.thumbprint} of the same purpose has a later start date"
            )
        raise _Broken("check-in", "NotAskedYet", f"last check-in {device.last_sync:%Y-%m-%d %H:%M} UTC")
    if delivery.state is State.REMOVING:
        raise _Broken("check-in", "BeingRemoved", f"removal pending since {delivery.last_modified:%Y-%m-%d %H:%M} UTC")
    if delivery.state is State.WANTED:
        if _latest_event(cloud, device) == "nothing sent":
            raise _Broken("check-in", "UserNotSignedIn", "its user was not signed in at the last check-in")
        raise _Broken("check-in", "NotAskedYet", f"last check-in {device.last_sync:%Y-%m-%d %H:%M} UTC")
    return Link("check-in", "the device has requested it")


def _damage(cloud: Cloud, kind: str, ids: Collection[str]) -> str:
    """Return what is damaged of a device or connector by its id, empty for nothing."""
    return next((str(one.problem) for one in cloud.damaged() if one.kind == kind and one.id in ids), "")


def _latest_event(cloud: Cloud, device: Device) -> str | None:
    """Return the latest event of a device in the journal, or None."""
    entries = cloud.journal.entries(device=device.id, limit=1, newest=True)
    return entries[0].event if entries else None


_CONNECTOR_CODES: Final = frozenset(
    {"KeyNotFound", "ProviderUnknown", "DecryptFailed", "PaddingUnsupported", "HsmUnavailable", "PinRefused"}
)


def _recrypted(cloud: Cloud, device: Device, record: Outline, _: str) -> Link:
    """The connector's work: leased, attempted, re-encrypted for the device's key."""
    delivery = _need(cloud, device, record)
    reason = (delivery.reason or "")[:_SHOWN]
    if delivery.state is State.FAILED and delivery.attempts and not delivery.maybe_on_device:
        code = reason.partition(":")[0]
        known = code if code in _CONNECTOR_CODES else "ConnectorFailed"
        raise _Broken("connector", known, f"gave up after {delivery.attempts} attempts: {reason}")
    if delivery.state is State.LEASED:
        evidence = f"leased by connector {delivery.leased_by} until {delivery.lease_until}"
        raise _Broken("connector", "ConnectorBusy", evidence)
    if delivery.state is not State.REQUESTED:
        return Link("connector", "re-encrypted for the device's key")
    connectors = cloud.connectors.of_tenant(device.tenant_id)
    if not connectors:
        raise _Broken("connector", "NoConnector", "the tenant has no connector")
    silent = timedelta(seconds=cloud.config.switches.connector_inactive_after_seconds)
    active = [one for one in connectors if cloud.clock.now() - one.last_connection < silent]
    if not active:
        latest = max(one.last_connection for one in connectors)
        damage = _damage(cloud, "connector", [one.id for one in connectors])
        if damage:
            raise _Broken("connector", "ConnectorDamaged", damage)
        evidence = f"{len(connectors)} enrolled, last contact {latest:%Y-%m-%d %H:%M} UTC"
        raise _Broken("connector", "ConnectorInactive", evidence)
    if reason:
        code = reason.partition(":")[0]
        evidence = f"attempt {delivery.attempts} failed: {reason}; next attempt after {delivery.not_before}"
        raise _Broken("connector", code if code in _CONNECTOR_CODES else "RetryLater", evidence)
    evidence = f"waiting since {delivery.last_modified:%H:%M:%S} for one of {len(active)} active connectors"
    raise _Broken("connector", "ConnectorBusy", evidence)


def _need(cloud: Cloud, device: Device, record: Outline) -> Delivery:
    delivery = _delivery(cloud, device, record)
    if delivery is None:
        raise _Broken("check-in", "NotAskedYet", "there is no delivery")
    return delivery


_DEVICE_CODES: Final[tuple[tuple[str, str], ...]] = (
    (r"\b9001\b", "TooManyCertificates"),
    (r"\b9000\b|Status 86\b", "WrongPassword"),
    (r"\b1006\b|NTE_BAD_DATA", "EncryptedForAnotherKey"),
    (r"\b9005\b|\b9006\b|CRYPT_E_BAD_ENCODE|Status 1403\b", "NotAPfx"),
    (r"ERROR_DISK_FULL|NSCocoaErrorDomain 640|\b640\b", "StorageFull"),
    (r"TBS_E_TPM_NOT_FOUND", "NoTpm"),
    (r"NTE_NOT_SUPPORTED", "KeyStorageRefused"),
    (r"the record says|no identity with thumbprint", "AnotherCertificate"),
    (r"Status 1401\b", "UserDeclined"),
    (r"Status 1404\b", "DeviceDenied"),
)


def _delivered(cloud: Cloud, device: Device, record: Outline, _: str) -> Link:
    """The device's work: fetched, installed, reported."""
    delivery = _need(cloud, device, record)
    if delivery.state is State.READY:
        raise _Broken("delivery", "NotFetchedYet", f"ready since {delivery.last_modified:%Y-%m-%d %H:%M} UTC")
    if delivery.state is State.OFFERED:
        raise _Broken("delivery", *_unconfirmed(cloud, device, delivery))
    if delivery.state is State.FAILED:
        reason = delivery.reason or ""
        code = next((code for pattern, code in _DEVICE_CODES if re.search(pattern, reason)), "DeviceRefused")
        raise _Broken("device", code, f"{reason[:_SHOWN]} (portal: {delivery.error_code})")
    return Link(
        "delivery", f"installed and reported by the device, last change {delivery.last_modified:%Y-%m-%d %H:%M} UTC"
    )


def _unconfirmed(cloud: Cloud, device: Device, delivery: Delivery) -> tuple[str, str]:
    """Return (code, evidence) of why a device has not confirmed a certificate it was sent."""
    sent = f"sent at {delivery.last_modified:%Y-%m-%d %H:%M} UTC"
    if cloud.commands.put_off(device.id):
        return "DeviceBusy", f"{sent}; the device answered NotNow"
    if device.platform == "android":
        return "UserAsked", f"{sent}; the device administrator's agent prompts the user"
    return "NotConfirmedYet", sent


_Step = Callable[[Cloud, Device, Outline, str], Link]
_CHAIN: Final[tuple[_Step, ...]] = (_targeted, _checked_in, _recrypted, _delivered)
