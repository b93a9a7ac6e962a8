"""Enrolled devices (managedDevice) and enrolled connectors (ndesConnector)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pfxlab.emulator.store.database import Row, Store, from_text, placeholders, to_text

_EVENTS_KEPT: Final = 1000


@dataclass(frozen=True)
class Device:
    """An enrolled device; `user_id` is empty for one without user.

    `certificate` is its MDM identity, DER; `key_thumbprint` that certificate's SHA-1, hex. `next_certificate` is a
    renewed identity that has not been used yet.
    """

    id: str
    tenant_id: str
    user_id: str
    platform: str
    device_name: str
    os_version: str
    model: str
    manufacturer: str
    serial_number: str
    udid: str
    certificate: bytes
    key_thumbprint: str
    enrolled: datetime
    last_sync: datetime
    next_certificate: bytes | None = None
    next_thumbprint: str | None = None


@dataclass(frozen=True)
class Expected:
    """A device that has its identity and has not said yet what it is; `user_id` is empty for one without user."""

    thumbprint: str
    device_id: str
    tenant_id: str
    user_id: str


@dataclass(frozen=True)
class Connector:
    """An enrolled certificate connector; its id is the CN of its client certificate.

    `next_thumbprint` is that of a renewed certificate which has not been used yet.
    """

    id: str
    tenant_id: str
    display_name: str
    machine_name: str
    version: str
    enrolled: datetime
    last_connection: datetime
    certificate_thumbprint: str
    next_thumbprint: str | None = None


def device_from_row(row: Row) -> Device:
    """Return the device a row of `devices` holds."""
    return Device(**{**row, "enrolled": from_text(row["enrolled"]), "last_sync": from_text(row["last_sync"])})


def connector_from_row(row: Row) -> Connector:
    """Return the connector a row of `connectors` holds."""
    dates = {name: from_text(row[name]) for name in ("enrolled", "last_connection")}
    return Connector(**{**row, **dates})


class Devices:
    """The devices of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, device: Device) -> None:
        """Insert a device or replace the one with its id."""
        dates = {"enrolled": to_text(device.enrolled), "last_sync": to_text(device.last_sync)}
        self._store.put("devices", {**vars(device), **dates})

    def get(self, device_id: str) -> Device | None:
        """Return a device."""
        row = self._store.row("select * from devices where id = lower(?)", (device_id,))
        return None if row is None else device_from_row(row)

    def by_key(self, key_thumbprint: str) -> Device | None:
        """Return the device whose MDM identity has that SHA-1 thumbprint.

        The first use of a renewed identity ends the one before.
        """
        sql = "select * from devices where key_thumbprint = ? or next_thumbprint = ?"
        row = self._store.row(sql, (key_thumbprint, key_thumbprint))
        if row is None:
            return None
        device = device_from_row(row)
        if device.next_certificate is not None and device.next_thumbprint == key_thumbprint:
            device = replace(
                device,
                certificate=device.next_certificate,
                key_thumbprint=key_thumbprint,
                next_certificate=None,
                next_thumbprint=None,
            )
            self.save(device)
        return device

    def expect(self, expected: Expected) -> None:
        """Note that an identity was issued to a device that is still to say what it is."""
        self._store.put("expected_devices", vars(expected))

    def expected(self, thumbprint: str) -> Expected | None:
        """Return the device that an identity was issued to and that has not said yet what it is."""
        row = self._store.row("select * from expected_devices where thumbprint = ?", (thumbprint,))
        return None if row is None else Expected(**row)

    def arrived(self, expected: Expected) -> None:
        """Expect a device no longer."""
        self._store.run("delete from expected_devices where thumbprint = ?", (expected.thumbprint,))

    def of_user(self, user_id: str) -> list[Device]:
        """Return the devices that are a user's, or that the user has signed in on; first enrolled first."""
        rows = self._store.rows(
            "select * from devices where user_id = :user"
            " or id in (select device_id from device_users where user_id = :user) order by enrolled, id",
            {"user": user_id},
        )
        return [device_from_row(row) for row in rows]

    def users_of(self, device: Device) -> list[str]:
        """Return the ids of a device's users: its own first, then those who have signed in on it."""
        rows = self._store.rows("select user_id from device_users where device_id = ?", (device.id,))
        return [user for user in (device.user_id, *(row["user_id"] for row in rows)) if user]

    def signed_in(self, device_id: str, user_id: str) -> None:
        """Note that a user other than its own works on a device."""
        self._store.put("device_users", {"device_id": device_id, "user_id": user_id})

    def of_tenant(self, tenant_id: str) -> list[Device]:
        """Return a tenant's devices, first enrolled first."""
        rows = self._store.rows("select * from devices where tenant_id = ? order by enrolled, id", (tenant_id,))
        return [device_from_row(row) for row in rows]

    def remove(self, device_id: str) -> None:
        """Forget a device."""
        self._store.run("delete from devices where id = ?", (device_id,))
        self._store.run("delete from device_actions where device_id = ?", (device_id,))
        self._store.run("delete from mdm_commands where device_id = ?", (device_id,))
        self._store.run("delete from device_users where device_id = ?", (device_id,))

    def seen(self, device_id: str, when: datetime) -> None:
        """Note a check-in; a sync that was asked for is done with it."""
        self._store.update("devices", device_id, {"last_sync": to_text(when)})
        self._store.run(
            "update device_actions set state = 'done', updated = ? where device_id = ? and state = 'pending'"
            " and action = 'syncDevice'",
            (to_text(when), device_id),
        )

    def leaving(self, device_id: str) -> str | None:
        """Return `wipe` or `retire` when an administrator asked for that and the device has not done it yet."""
        found = self._store.scalar(
            "select action from device_actions where device_id = ? and state = 'pending'"
            " and action in ('wipe', 'retire') order by action desc limit 1",
            (device_id,),
        )
        return None if found is None else str(found)

    def ask(self, device_id: str, action: str, when: datetime) -> None:
        """Note an action an administrator asked for; the one of that name before it is replaced."""
        self._store.run("delete from device_actions where device_id = ? and action = ?", (device_id, action))
        row = {"device_id": device_id, "action": action, "state": "pending"}
        self._store.put("device_actions", {**row, "started": to_text(when), "updated": to_text(when)})

    def actions(self, device_id: str) -> list[Row]:
        """Return what was asked of a device and how it stands: action, state, started, updated."""
        return self._store.rows("select * from device_actions where device_id = ? order by id", (device_id,))


class Connectors:
    """The connectors of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, connector: Connector) -> None:
        """Insert a connector or replace the one with its id."""
        dates = {name: to_text(getattr(connector, name)) for name in ("enrolled", "last_connection")}
        self._store.put("connectors", {**vars(connector), **dates})

    def get(self, connector_id: str) -> Connector | None:
        """Return a connector."""
        row = self._store.row("select * from connectors where id = lower(?)", (connector_id,))
        return None if row is None else connector_from_row(row)

    def by_certificate(self, thumbprint: str) -> Connector | None:
        """Return the connector whose client certificate has that SHA-1 thumbprint.

        The first use of a renewed certificate ends the one before.
        """
        sql = "select * from connectors where ? in (certificate_thumbprint, next_thumbprint)"
        row = self._store.row(sql, (thumbprint,))
        if row is None:
            return None
        if row["next_thumbprint"] == thumbprint:
            row |= {"certificate_thumbprint": thumbprint, "next_thumbprint": None}
            self.save(connector_from_row(row))
        return connector_from_row(row)

    def of_tenant(self, tenant_id: str) -> list[Connector]:
        """Return a tenant's connectors, first enrolled first."""
        rows = self._store.rows("select * from connectors where tenant_id = ? order by enrolled, id", (tenant_id,))
        return [connector_from_row(row) for row in rows]

    def seen(self, connector_id: str, when: datetime) -> None:
        """Note a contact."""
        self._store.update("connectors", connector_id, {"last_connection": to_text(when)})

    def heard(self, connector_id: str, version: str, when: datetime) -> None:
        """Note a heartbeat."""
        self._store.update("connectors", connector_id, {"version": version, "last_connection": to_text(when)})

    def renewing(self, connector_id: str, thumbprint: str) -> None:
        """Let the next certificate wait for its first use."""
        self._store.update("connectors", connector_id, {"next_thumbprint": thumbprint})

    def remove(self, connector_id: str) -> None:
        """Forget a connector; its certificate is worth nothing from now on."""
        self._store.run("delete from connectors where id = ?", (connector_id,))
        self._store.run("delete from connector_events where connector_id = ?", (connector_id,))

    def logged(self, connector_id: str, events: Sequence[Row]) -> None:
        """Keep what a connector told of its event log; the latest thousand of each stay."""
        if not events:
            return
        self._store.run_many(
            "insert or ignore into connector_events (connector_id, time, event, name, channel, level, text)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            [
                (connector_id, *(one[name] for name in ("time", "id", "name", "channel", "level", "text")))
                for one in events
            ],
        )
        self._store.run(
            "delete from connector_events where connector_id = ? and number <= (select number from connector_events"
            " where connector_id = ? order by number desc limit 1 offset ?)",
            (connector_id, connector_id, _EVENTS_KEPT),
        )

    def events(self, connector_id: str, levels: Sequence[str] = (), limit: int = 200) -> list[Row]:
        """Return the latest of what a connector told of its event log, newest first; of all levels unless named."""
        wanted = f" and level in ({placeholders(levels)})" if levels else ""
        sql = f"select * from connector_events where connector_id = ?{wanted} order by number desc limit ?"  # noqa: S608 - marks only
        return self._store.rows(sql, (connector_id, *levels, limit))

    def processed(self, connector_id: str, when: datetime, succeeded: int, failed: int) -> None:
        """Count requests a connector has answered, by the hour."""
        self._store.run(
            "insert into connector_health values (?, ?, ?, ?) on conflict do update set"
            " succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed",
            (connector_id, f"{to_text(when)[:13]}:00:00.000000Z", succeeded, failed),
        )

    def health(self, connector_id: str, start: datetime | None = None, end: datetime | None = None) -> list[Row]:
        """Return hour, succeeded and failed of a connector, from `start` up to `end`."""
        return self._store.rows(
            "select hour, succeeded, failed from connector_health where connector_id = ? and hour >= ? and hour <= ?"
            " order by hour",
            (connector_id, "" if start is None else to_text(start), "~" if end is None else to_text(end)),
        )
