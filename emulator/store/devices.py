"""Enrolled devices (managedDevice), their users, and the actions asked of them."""

from dataclasses import dataclass, replace
from datetime import datetime

from pfxlab.emulator.store.database import Row, Store, from_text, to_text


@dataclass(frozen=True)
class Device:
    """An enrolled device; `user_id` is empty for one without user.

    `certificate` is its MDM identity, DER; `key_thumbprint` that certificate's SHA-1, hex. `next_certificate` is a
    renewed identity that has not been used yet. `owner_type`: managedDeviceOwnerType, company or personal.
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
    owner_type: str = "company"


@dataclass(frozen=True)
class Expected:
    """A device that has its identity and has not said yet what it is; `user_id` is empty for one without user."""

    thumbprint: str
    device_id: str
    tenant_id: str
    user_id: str


def device_from_row(row: Row) -> Device:
    """Return the device a row of `devices` holds."""
    return Device(**{**row, "enrolled": from_text(row["enrolled"]), "last_sync": from_text(row["last_sync"])})


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

    def earlier(self, device: Device) -> list[Device]:
        """Return the other records of a user's device: same hardware (UDID), platform, tenant and user."""
        if not device.udid:
            return []
        rows = self._store.rows(
            "select * from devices where user_id = :user_id and udid = :udid and platform = :platform"
            " and tenant_id = :tenant_id and id != :id order by enrolled, id",
            {name: getattr(device, name) for name in ("user_id", "udid", "platform", "tenant_id", "id")},
        )
        return [device_from_row(row) for row in rows]

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

    def count(self) -> int:
        """Return how many devices all tenants have."""
        return int(self._store.scalar("select count(*) from devices"))

    def of_tenant(self, tenant_id: str) -> list[Device]:
        """Return a tenant's devices, first enrolled first."""
        rows = self._store.rows("select * from devices where tenant_id = ? order by enrolled, id", (tenant_id,))
        return [device_from_row(row) for row in rows]

    def platforms(self, tenant_id: str) -> dict[str, int]:
        """Return how many devices of a tenant there are of each platform, the most frequent first."""
        sql = "select platform, count(*) as n from devices where tenant_id = ? group by platform order by n desc"
        return {row["platform"]: row["n"] for row in self._store.rows(sql, (tenant_id,))}

    def search(self, tenant_id: str, text: str, platform: str, *, limit: int, skip: int = 0) -> list[Row]:
        """Return up to `limit` of a tenant's devices after the first `skip`, those enrolled last first.

        `text`: a part of the device's name or of its user's userPrincipalName, in lower case; `platform`: the
        device's. An empty one lets all pass. Rows: the device's id, device_name, platform, os_version, model,
        serial_number, enrolled and last_sync, and `user`, its user's userPrincipalName or None.
        """
        conditions, values = ["d.tenant_id = ?"], [tenant_id]
        if text:
            conditions.append("(instr(lower(d.device_name), ?) or instr(lower(u.user_principal_name), ?))")
            values += [text, text]
        if platform:
            conditions.append("d.platform = ?")
            values.append(platform)
        sql = (
            "select d.id, d.device_name, d.platform, d.os_version, d.model, d.serial_number, d.enrolled, d.last_sync,"  # noqa: S608 - conditions are ours
            " u.user_principal_name as user from devices d left join users u on u.id = d.user_id"
            f" where {' and '.join(conditions)} order by d.rowid desc limit ? offset ?"
        )
        return self._store.rows(sql, (*values, limit, skip))

    def keys(self, tenant_id: str) -> set[str]:
        """Return the thumbprints of the identities of a tenant's devices."""
        rows = self._store.rows("select key_thumbprint from devices where tenant_id = ?", (tenant_id,))
        return {row["key_thumbprint"] for row in rows}

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
