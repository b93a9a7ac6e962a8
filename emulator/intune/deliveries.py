"""Moves deliveries through their table: brings a device's rows in line with targeting, leases work, takes results."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.principals.users import is_licensed
from pfxlab.emulator.intune import portal_errors
from pfxlab.emulator.intune.profiles import subject_of, target_profile
from pfxlab.emulator.intune.targeting import Certificate, is_targeted, select
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.deliveries import Delivery, retry_pause
from pfxlab.emulator.store.delivery_states import TABLE, State, Trigger, columns_set, next_state
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.wire.connector import NotRecrypted, Result
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.emulator.wire.platforms import PLATFORMS

_GONE = (State.REMOVED, State.SUPERSEDED, State.REMOVING, State.LEFT)


def apply(cloud: Cloud, delivery: Delivery, trigger: Trigger, reason: str | None = None, **changes: Any) -> Delivery:
    """Take one step of the table, save it and write it down.

    Raises:
        IllegalTransition: the table has no such step.

    """
    state = next_state(delivery.state, trigger)
    columns: dict[str, Any] = {**columns_set(trigger, state), **changes, "reason": reason}
    changed = replace(delivery, state=state, last_modified=cloud.clock.now(), **columns)
    with cloud.store.atomic():
        cloud.deliveries.save(changed)
        cloud.journal.record(
            "intune",
            f"delivery {trigger}",
            outcome="failed" if state is State.FAILED else "ok",
            reason=reason,
            delivery=delivery.id,
            device=delivery.device_id,
            thumbprint=delivery.thumbprint,
            before=str(delivery.state),
            state=str(state),
        )
    return changed


def possible(delivery: Delivery, trigger: Trigger) -> bool:
    """Return whether the table has that step for the delivery."""
    return (delivery.state, trigger) in TABLE


class Wants(dict[tuple[str, str], tuple[str, str, IntendedPurpose]]):
    """(profile id, certificate id) → (user id, thumbprint, purpose) of what a device should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.outdated: set[tuple[str, str]] = set()


def wants_of(cloud: Cloud, device: Device) -> Wants:
    """Return what targeting gives a device's users on it; `outdated` are pairs a newer certificate stands in for."""
    wants = Wants()
    for user_id in cloud.devices.users_of(device):
        _add_wants(cloud, device, user_id, wants)
    return wants


def _add_wants(cloud: Cloud, device: Device, user_id: str, wants: Wants) -> None:
    subject = subject_of(device, cloud.directory.groups_of(user_id, device.id))
    records = {record.id: record for record in cloud.certificates.of_user(user_id)}
    if not records or not _is_served(cloud, device.tenant_id, user_id):
        return
    certificates = [Certificate(r.id, r.intended_purpose, r.start_date) for r in records.values()]
    filters = cloud.filters.by_id(device.tenant_id)
    for stored, assignments in cloud.profiles.targeted(device.tenant_id):
        profile = target_profile(stored, assignments, filters)
        if profile is None or not is_targeted(profile, subject):
            continue
        chosen = select(profile.purpose, certificates, cloud.config.switches.deliver)
        for certificate in chosen:
            wants[profile.id, certificate.id] = (user_id, records[certificate.id].thumbprint, certificate.purpose)
        same_purpose = {c.id for c in certificates if c.purpose == profile.purpose}
        wants.outdated |= {(profile.id, key) for key in same_purpose - {c.id for c in chosen}}


def _is_served(cloud: Cloud, tenant_id: str, user_id: str) -> bool:
    """Return whether Intune delivers anything to a user: one without a licence gets nothing."""
    user = cloud.directory.user(tenant_id, user_id)
    return user is None or is_licensed(user)


def reconcile(cloud: Cloud, device: Device) -> list[Delivery]:
    """Bring a device's deliveries in line with targeting and with its present key; return all of them."""
    wants = wants_of(cloud, device)
    with cloud.store.atomic():
        present = cloud.deliveries.of_device(device.id)
        known = {(d.profile_id, d.certificate_id): d for d in present}
        new = [unit for unit in wants if unit not in known]
        for unit in new:
            _create(cloud, device, unit, *wants[unit])
        moved = [
            _realign(cloud, device, delivery, wanted=unit in wants, outdated=unit in wants.outdated)
            for unit, delivery in known.items()
        ]
        return cloud.deliveries.of_device(device.id) if new or any(moved) else present


def _create(
    cloud: Cloud, device: Device, unit: tuple[str, str], user_id: str, thumbprint: str, purpose: IntendedPurpose
) -> None:
    now = cloud.clock.now()
    delivery = Delivery(
        id=cloud.chance.guid(),
        tenant_id=device.tenant_id,
        device_id=device.id,
        user_id=user_id,
        profile_id=unit[0],
        certificate_id=unit[1],
        thumbprint=thumbprint,
        purpose=purpose,
        state=State.WANTED,
        payload_uuid=cloud.chance.guid().upper(),
        created=now,
        last_modified=now,
    )
    cloud.deliveries.save(delivery)
    cloud.journal.record(
        "intune",
        "delivery wanted",
        delivery=delivery.id,
        device=device.id,
        thumbprint=thumbprint,
        state="wanted",
    )


def _realign(cloud: Cloud, device: Device, delivery: Delivery, *, wanted: bool, outdated: bool) -> bool:
    """Take the step that targeting calls for; return whether there was one."""
    trigger = None
    if wanted:
        if delivery.state in _GONE:
            trigger = Trigger.TARGETED
        elif delivery.device_key_thumbprint not in (None, device.key_thumbprint):
            trigger = Trigger.KEY_RENEWED
    elif not _kept_after_deletion(cloud, delivery):
        if not delivery.maybe_on_device:
            trigger = Trigger.NEWER_CAME if outdated else Trigger.WITHDRAWN
        elif not outdated and _stays_when_unassigned(cloud, device, delivery):
            trigger = Trigger.LEFT_THERE
        else:
            trigger = Trigger.TAKEN_BACK
    if trigger is None or not possible(delivery, trigger):
        return False
    apply(cloud, delivery, trigger)
    return True


def _stays_when_unassigned(cloud: Cloud, device: Device, delivery: Delivery) -> bool:
    """Return whether a certificate stays although its profile reaches the device no more; a deleted record's goes."""
    kept = cloud.config.switches.unassigned == "documented" and PLATFORMS[device.platform].kept_when_unassigned
    return kept and cloud.certificates.get(delivery.tenant_id, delivery.certificate_id) is not None


def _kept_after_deletion(cloud: Cloud, delivery: Delivery) -> bool:
    never = cloud.config.switches.delete_propagation == "never"
    return (
        never
        and delivery.state is State.INSTALLED
        and cloud.certificates.get(delivery.tenant_id, delivery.certificate_id) is None
    )


def certificates_changed(cloud: Cloud, user_id: str, changed_id: str | None = None) -> None:
    """Re-evaluate a user's devices after an import or deletion; `changed_id` names a record with new content."""
    with cloud.store.atomic():
        if changed_id is not None:
            for delivery in cloud.deliveries.of_certificate(changed_id):
                if possible(delivery, Trigger.SOURCE_CHANGED):
                    apply(cloud, delivery, Trigger.SOURCE_CHANGED)
        for device in cloud.devices.of_user(user_id):
            reconcile(cloud, device)


def profiles_changed(cloud: Cloud, tenant_id: str) -> None:
    """Re-evaluate a tenant's devices after a profile or its assignments changed."""
    with cloud.store.atomic():
        for device in cloud.devices.of_tenant(tenant_id):
            reconcile(cloud, device)


def device_gone(cloud: Cloud, device: Device) -> None:
    """Forget a device that left management: it holds nothing any more, and its identity opens nothing."""
    for delivery in cloud.deliveries.of_device(device.id):
        if possible(delivery, Trigger.DEVICE_GONE):
            apply(cloud, delivery, Trigger.DEVICE_GONE)
    cloud.devices.remove(device.id)


def ask(cloud: Cloud, deliveries: Iterable[Delivery], device: Device) -> list[Delivery]:
    """Request re-encryption for what a device that checks in still lacks."""
    return [
        apply(cloud, d, Trigger.DEVICE_ASKED, device_key_thumbprint=device.key_thumbprint)
        for d in deliveries
        if possible(d, Trigger.DEVICE_ASKED)
    ]


def expire_leases(cloud: Cloud) -> int:
    """Return the deliveries of silent connectors to the queue; return how many."""
    expired = cloud.deliveries.expired_leases(cloud.clock.now())
    for delivery in expired:
        reason = f"connector {delivery.leased_by} did not answer in time"
        if not _was_last(cloud, delivery, reason):
            apply(cloud, delivery, Trigger.LEASE_EXPIRED, reason, attempts=delivery.attempts + 1)
    return len(expired)


def give_up(cloud: Cloud, delivery: Delivery, reason: str, **changes: Any) -> None:
    """Let a delivery that a connector holds fail for good; the portal shows that there is no PFX to install."""
    apply(cloud, delivery, Trigger.GAVE_UP, reason, error_code=portal_errors.NO_PFX_TO_INSTALL, **changes)


def _was_last(cloud: Cloud, delivery: Delivery, reason: str) -> bool:
    """Let a delivery fail when the attempt that has just ended was its last; return whether it was."""
    attempts = delivery.attempts + 1
    last = attempts >= cloud.config.switches.connector_attempts
    if last:
        give_up(cloud, delivery, reason, attempts=attempts)
    return last


def release(cloud: Cloud, connector_id: str) -> None:
    """Return what a connector had leased to the queue: its process was restarted and knows nothing of it."""
    for delivery in cloud.deliveries.leased_by(connector_id):
        apply(cloud, delivery, Trigger.LEASE_EXPIRED, f"connector {connector_id} was restarted")


def lease(cloud: Cloud, tenant_id: str, connector_id: str, limit: int) -> tuple[str, list[Row]]:
    """Give a connector up to `limit` requests; return the lease's id and the rows of `Deliveries.due`, or nothing."""
    now, turns = cloud.clock.now(), turns_of(cloud)
    if now < turns.last_poll:
        # The machine's own clock was set back.
        cloud.limit_waits()
    turns.last_poll = now
    if not cloud.deliveries.waiting(tenant_id, now):
        return "", []
    until = now + timedelta(seconds=cloud.config.switches.connector_lease_seconds)
    lease_id = cloud.traces.guid()
    with cloud.store.atomic():
        expire_leases(cloud)
        due, last = cloud.deliveries.due(tenant_id, now, limit, turns.last_served.get(tenant_id, ""))
        cloud.deliveries.take(due, lease_id, connector_id, until, now)
        if due:
            ids = [row["id"] for row in due]
            cloud.journal.record("intune", "lease taken", connector=connector_id, lease=lease_id, deliveries=ids)
        turns.last_served[tenant_id] = last
    return lease_id, due


def _record_changes(cloud: Cloud, rows: Iterable[Row], sizes: Iterable[int], before: State, state: State) -> None:
    """Record in the journal that deliveries were re-encrypted, each to so many bytes."""
    steps = {"before": str(before), "state": str(state)}
    cloud.journal.record_many(
        "intune",
        f"delivery {Trigger.RECRYPTED}",
        [
            {
                "delivery": row["id"],
                "device": row["device_id"],
                "thumbprint": row["thumbprint"],
                "payload_bytes": size,
                **steps,
            }
            for row, size in zip(rows, sizes, strict=True)
        ],
    )


def complete(cloud: Cloud, connector_id: str, lease_id: str, results: Iterable[Result]) -> list[dict[str, Any]]:
    """Take a connector's results; return for each request `accepted` or `stale`, and whether a failure is final.

    A result under a lease that is no longer this connector's changes nothing.
    """
    answers: list[dict[str, Any]] = []
    ready: list[tuple[str, bytes]] = []
    failed, now = 0, cloud.clock.now()
    after = next_state(State.LEASED, Trigger.RECRYPTED)
    with cloud.store.atomic():
        held = cloud.deliveries.held(lease_id, connector_id)
        done = []
        for result in results:
            row = held.pop(result.request_id, None)
            if row is None:
                answers.append({"requestId": result.request_id, "outcome": "stale", "final": False})
                continue
            final = False
            if isinstance(result, NotRecrypted):
                final = _fail(cloud, result)
                failed += 1
            else:
                ready.append((result.request_id, result.encrypted_blob))
                done.append(row)
            answers.append({"requestId": result.request_id, "outcome": "accepted", "final": final})
        cloud.deliveries.make_ready(ready, now)
        _record_changes(cloud, done, [len(blob) for _, blob in ready], State.LEASED, after)
        if ready or failed:
            cloud.connectors.processed(connector_id, now, len(ready), failed)
    return answers


def _fail(cloud: Cloud, result: NotRecrypted) -> bool:
    """Note a failed attempt; return whether it was the last."""
    delivery = cloud.deliveries.get(result.request_id)
    if delivery is None:
        return False
    reason = f"{result.code}: {result.message}"
    if _was_last(cloud, delivery, reason):
        return True
    # Each further attempt waits twice as long: what is broken seldom heals at once.
    attempts, first = delivery.attempts + 1, timedelta(seconds=cloud.config.switches.connector_retry_seconds)
    again = cloud.clock.now() + retry_pause(first, attempts)
    apply(cloud, delivery, Trigger.ATTEMPT_FAILED, reason, attempts=attempts, not_before=again)
    return False


class Turns:
    """Whose turn it is at the connectors: tenant → the user who was served last. A restart begins the round anew.

    `last_poll`: when a connector last asked for work.
    """

    def __init__(self) -> None:
        self.last_served: dict[str, str] = {}
        self.last_poll = datetime.min.replace(tzinfo=UTC)


def turns_of(cloud: Cloud) -> Turns:
    """Return whose turn it is at the connectors of a cloud."""
    return cloud.component(Turns, Turns)
