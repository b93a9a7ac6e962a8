"""Deliveries: pfxRecryptionRequest and onPremEncryptedPayload in one record."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from pfxlab.emulator.store.database import Row, Store, from_text, placeholders, to_text
from pfxlab.emulator.store.delivery_states import State, Trigger, allowed, columns_set, next_state
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.emulator.wire.platforms import APPLE


@dataclass(frozen=True)
class Delivery:
    """One imported certificate under one profile to one device.

    `payload` is what the connector made of it for `device_key_thumbprint`: DER CMS EnvelopedData. It is dropped
    once the device has confirmed. `maybe_on_device`: it was sent, and its removal has not been confirmed since.
    `error_code`: what the portal shows for a failure, 0 without one.
    """

    id: str
    tenant_id: str
    device_id: str
    user_id: str
    profile_id: str
    certificate_id: str
    thumbprint: str
    purpose: IntendedPurpose
    state: State
    payload_uuid: str
    created: datetime
    last_modified: datetime
    reason: str | None = None
    attempts: int = 0
    not_before: datetime | None = None
    lease_id: str | None = None
    leased_by: str | None = None
    lease_until: datetime | None = None
    device_key_thumbprint: str | None = None
    payload: bytes | None = None
    maybe_on_device: bool = False
    error_code: int = 0


def _bulk(trigger: Trigger, after: State, *given: str) -> str:
    """Return the statement that takes a step of the table for many deliveries.

    Parameters: a value for each column of `given`, then a delivery's id. One in a state from which the trigger does
    not lead to `after` is left as it is.
    """
    before = ", ".join(f"'{state}'" for state, end in allowed(trigger).items() if end is after)
    return f"update deliveries set {_steps(trigger, after, *given)} where id = ? and state in ({before})"  # noqa: S608 - names of the table


def _steps(trigger: Trigger, after: State, *given: str) -> str:
    """Return what a step sets, as SQL with a mark for each column of `given`."""
    values = {name: "null" if value is None else int(value) for name, value in columns_set(trigger, after).items()}
    plain = [f"{name} = {value}" for name, value in values.items() if name not in given]
    return ", ".join([f"state = '{after}'", *plain, *(f"{name} = ?" for name in given)])


_LEASE = _bulk(Trigger.LEASE_TAKEN, State.LEASED, "lease_id", "leased_by", "lease_until", "last_modified")
_READY = _bulk(Trigger.RECRYPTED, State.READY, "payload", "last_modified")
_DATES = ("created", "last_modified", "not_before", "lease_until")

Waits: TypeAlias = tuple[datetime | None, datetime | None]
"""When a lease ends, and when a failed attempt is repeated."""


def retry_pause(first: timedelta, attempts: int) -> timedelta:
    """Return how long a request waits after its failed attempt of that number, from 1: each time twice as long."""
    return first * (1 << max(0, attempts - 1))


def from_row(row: Row) -> Delivery:
    """Return the delivery a row of `deliveries` holds."""
    dates = {name: None if row[name] is None else from_text(row[name]) for name in _DATES}
    typed = {
        "state": State(row["state"]),
        "purpose": IntendedPurpose(row["purpose"]),
        "maybe_on_device": bool(row["maybe_on_device"]),
    }
    return Delivery(**{**row, **dates, **typed})


class Deliveries:
    """The deliveries of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _all(self, condition: str, parameters: tuple[object, ...]) -> list[Delivery]:
        rows = self._store.rows(f"select * from deliveries where {condition}", parameters)  # noqa: S608 - conditions are ours
        return [from_row(row) for row in rows]

    def save(self, delivery: Delivery) -> None:
        """Insert a delivery or replace the one with its id."""
        dates = {name: None if (at := getattr(delivery, name)) is None else to_text(at) for name in _DATES}
        plain = {"state": str(delivery.state), "purpose": int(delivery.purpose)}
        self._store.put("deliveries", {**vars(delivery), **dates, **plain})

    def get(self, delivery_id: str) -> Delivery | None:
        """Return a delivery."""
        return next(iter(self._all("id = ?", (delivery_id,))), None)

    def of_device(self, device_id: str) -> list[Delivery]:
        """Return a device's deliveries, oldest first."""
        return self._all("device_id = ? order by created, id", (device_id,))

    def of_certificate(self, certificate_id: str) -> list[Delivery]:
        """Return an imported certificate's deliveries, oldest first."""
        return self._all("certificate_id = ? order by created, id", (certificate_id,))

    def of_profile(self, profile_id: str) -> list[Delivery]:
        """Return a profile's deliveries, oldest first."""
        return self._all("profile_id = ? order by created, id", (profile_id,))

    def leased_by(self, connector_id: str) -> list[Delivery]:
        """Return what a connector holds."""
        return self._all("state = 'leased' and leased_by = ?", (connector_id,))

    def waiting(self, tenant_id: str, now: datetime) -> bool:
        """Return whether a connector would get work now, from the queue or from a lease that has ended."""
        sql = (
            "select exists (select 1 from deliveries where tenant_id = :tenant and state = 'requested'"
            " and coalesce(not_before, '') <= :now) or exists (select 1 from deliveries where state = 'leased'"
            " and lease_until <= :now)"
        )
        return bool(self._store.scalar(sql, {"tenant": tenant_id, "now": to_text(now)}))

    def due(self, tenant_id: str, now: datetime, limit: int, after_user: str) -> tuple[list[Row], str]:
        """Return up to `limit` deliveries that wait for a connector, users in turn, and the user whose turn was last.

        Turns go by user id from `after_user` on and begin anew at the end; each user gets an equal share, longest
        waiting first, so that the thousands of one do not keep the one of another waiting.

        Rows: the delivery's id, user_id, device_id, thumbprint, payload_uuid; the device's platform, certificate and
        key_thumbprint; the record's provider_name, key_name, padding_scheme, encrypted_pfx_password, and
        encrypted_pfx_blob for Apple devices. What is gone is None.
        """
        users = self._waiting_users(tenant_id, now, limit, after_user)
        share = -(-limit // max(1, len(users)))
        apple = ", ".join(f"'{name}'" for name in APPLE)
        sql = f"""
            select d.id, d.user_id, d.device_id, d.thumbprint, d.payload_uuid, v.platform, v.certificate,
            v.key_thumbprint, c.provider_name, c.key_name, c.padding_scheme, c.encrypted_pfx_password,
            case when v.platform in ({apple}) then c.encrypted_pfx_blob end as encrypted_pfx_blob
            from json_each(?) as turn cross join deliveries d on d.rowid in (
                select rowid from deliveries where tenant_id = ? and state = 'requested' and user_id = turn.value
                and coalesce(not_before, '') <= ? order by last_modified limit ?)
            left join devices v on v.id = d.device_id
            left join pfx_certificates c on c.id = d.certificate_id and not c.is_deleted
            order by turn.key limit ?"""  # noqa: S608 - names of the table
        rows = self._store.rows(sql, (json.dumps(users), tenant_id, to_text(now), share, limit))
        return rows, str(rows[-1]["user_id"]) if rows else after_user

    def _waiting_users(self, tenant_id: str, now: datetime, limit: int, after_user: str) -> list[str]:
        """Return up to `limit` users with due work, from `after_user` on: one step along the index for each."""
        step = (
            "select min(user_id) from deliveries where tenant_id = :tenant and state = 'requested' and user_id > {}"
            " and coalesce(not_before, '') <= :now"
        )
        sql = (
            f"with recursive turn(id) as ({step.format(':after')} "  # noqa: S608 - a constant
            f"union all select ({step.format('turn.id')}) from turn where turn.id is not null limit :limit)"
            " select id from turn where id is not null"
        )
        values = {"tenant": tenant_id, "now": to_text(now), "after": after_user, "limit": limit}
        found = [str(row["id"]) for row in self._store.rows(sql, values)]
        if after_user and len(found) < limit:
            # The round is over: it begins again with the first.
            again = self._waiting_users(tenant_id, now, limit - len(found), "")
            found += [user for user in again if user not in found]
        return found

    def take(self, rows: list[Row], lease_id: str, connector_id: str, until: datetime, now: datetime) -> None:
        """Put waiting deliveries under a lease."""
        self._store.run_many(
            _LEASE,
            [(lease_id, connector_id, to_text(until), to_text(now), row["id"]) for row in rows],
        )

    def held(self, lease_id: str, connector_id: str) -> dict[str, Row]:
        """Return what a connector still holds under a lease: id → device_id and thumbprint."""
        sql = (
            "select id, device_id, thumbprint from deliveries where state = 'leased' and lease_id = ? and leased_by = ?"
        )
        return {row["id"]: row for row in self._store.rows(sql, (lease_id, connector_id))}

    def make_ready(self, payloads: list[tuple[str, bytes]], now: datetime) -> None:
        """Keep what a connector made of leased deliveries: id and payload of each."""
        self._store.run_many(
            _READY,
            [(payload, to_text(now), delivery_id) for delivery_id, payload in payloads],
        )

    def step_many(self, before: State, trigger: Trigger, now: datetime, limit: int = -1) -> int:
        """Take a step of the table for up to `limit` deliveries in a state, for all when negative; return how many.

        They are not written down in the journal: this is for runs whose deliveries nobody asks about.

        Raises:
            IllegalTransition: the table has no such step.

        """
        steps = _steps(trigger, next_state(before, trigger), "last_modified")
        which = "select rowid from deliveries where state = ? limit ?"
        sql = f"update deliveries set {steps} where rowid in ({which})"  # noqa: S608 - names of the table
        return self._store.run(sql, (to_text(now), str(before), limit))

    def next_due(self, after: datetime) -> datetime | None:
        """Return when connectors get work next that they would not get before: a retry, or a lease that has ended."""
        sql = (
            "select min(due) from (select min(not_before) as due from deliveries where state = 'requested'"
            " and not_before > :now union all select min(lease_until) from deliveries where state = 'leased'"
            " and lease_until > :now)"
        )
        found = self._store.scalar(sql, {"now": to_text(after)})
        return None if found is None else from_text(found)

    def move_back(self, step: timedelta) -> None:
        """Let leases and retries come earlier by a step, as the clock does: what is left of them stays what it was."""
        self._change_waits(lambda _, lease, retry: (lease and lease - step, retry and retry - step))

    def limit_waits(self, now: datetime, lease: timedelta, retry: timedelta) -> None:
        """Let no lease last longer from now on than `lease`, no retry wait longer than its attempt's share of `retry`.

        A clock that was set back unnoticed, or while the lab was down, leaves such waits behind.
        """

        def limited(attempts: int, until: datetime | None, again: datetime | None) -> Waits:
            return until and min(until, now + lease), again and min(again, now + retry_pause(retry, attempts))

        self._change_waits(limited)

    def _change_waits(self, change: Callable[[int, datetime | None, datetime | None], Waits]) -> None:
        """Set lease_until and not_before of everything that waits to what `change` makes of attempts and both."""
        sql = (
            "select rowid, attempts, lease_until, not_before from deliveries where state in ('requested', 'leased')"
            " and coalesce(lease_until, not_before) is not null"
        )
        changed = []
        for row in self._store.rows(sql):
            before = tuple(at and from_text(at) for at in (row["lease_until"], row["not_before"]))
            after = change(row["attempts"], *before)
            if after != before:
                changed.append((*(at and to_text(at) for at in after), row["rowid"]))
        if changed:
            with self._store.atomic():
                self._store.run_many("update deliveries set lease_until = ?, not_before = ? where rowid = ?", changed)

    def progress(self) -> list[Row]:
        """Return what check-ins and connectors change of all deliveries: id, state, attempts, maybe_on_device."""
        return self._store.rows("select id, state, attempts, maybe_on_device from deliveries order by id")

    def expired_leases(self, now: datetime) -> list[Delivery]:
        """Return the deliveries whose connector has not answered in time."""
        return self._all("state = 'leased' and lease_until <= ?", (to_text(now),))

    def states_of_tenant(self, tenant_id: str) -> dict[State, int]:
        """Return how many deliveries of a tenant are in each state that occurs."""
        sql = "select state, count(*) as n from deliveries where tenant_id = ? group by state"
        return {State(row["state"]): row["n"] for row in self._store.rows(sql, (tenant_id,))}

    def states_of_profile(self, profile_id: str) -> dict[State, int]:
        """Return how many deliveries of a profile are in each state that occurs, the most frequent first."""
        sql = "select state, count(*) as n from deliveries where profile_id = ? group by state order by n desc"
        return {State(row["state"]): row["n"] for row in self._store.rows(sql, (profile_id,))}

    def states_by_certificate(self, certificate_ids: Sequence[str]) -> dict[str, dict[State, int]]:
        """Return how many deliveries of each of these certificates are in each state; one query for all of them."""
        return self._states_by("certificate_id", certificate_ids)

    def states_by_device(self, device_ids: Sequence[str]) -> dict[str, dict[State, int]]:
        """Return how many deliveries to each of these devices are in each state; one query for all of them."""
        return self._states_by("device_id", device_ids)

    def _states_by(self, column: str, ids: Sequence[str]) -> dict[str, dict[State, int]]:
        sql = (
            f"select {column} as owner, state, count(*) as n from deliveries"  # noqa: S608 - one of two columns, and marks
            f" where {column} in ({placeholders(ids)}) group by {column}, state"
        )
        found: dict[str, dict[State, int]] = {}
        for row in self._store.rows(sql, tuple(ids)) if ids else ():
            found.setdefault(row["owner"], {})[State(row["state"])] = row["n"]
        return found

    def count(self, tenant_id: str, *states: State) -> int:
        """Return how many deliveries of a tenant are in one of these states."""
        marks = placeholders(states)
        sql = f"select count(*) from deliveries where tenant_id = ? and state in ({marks})"  # noqa: S608 - marks only
        return int(self._store.scalar(sql, (tenant_id, *map(str, states))))
