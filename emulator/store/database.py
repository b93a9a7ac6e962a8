"""The cloud's SQLite file: opening, schema, transactions.

WAL mode; a write is acknowledged only after its transaction was committed, so a killed process loses nothing
it had answered for. In memory when no path is given.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from sqlite_utils import Database, Migrations

Row: TypeAlias = dict[str, Any]
Parameters: TypeAlias = Sequence[Any] | dict[str, Any]

migrations = Migrations("pfxlab")


@migrations()
def m001_first_schema(db: Database) -> None:
    """Create every table of version 0.1."""
    text, number, binary = str, int, bytes
    tables: dict[str, tuple[dict[str, type], str | tuple[str, ...]]] = {
        "meta": ({"key": text, "value": text}, "key"),
        "tenants": ({"id": text, "domain": text, "display_name": text}, "id"),
        "apps": (
            {
                "id": text, "tenant_id": text, "display_name": text, "secret_hash": text, "app_roles": text,
                "delegated_scopes": text, "is_public": number,
            },
            "id",
        ),
        "users": (
            {
                "id": text, "tenant_id": text, "user_principal_name": text, "display_name": text, "mail": text,
                "password_hash": text, "directory_roles": text, "created": text,
            },
            "id",
        ),
        "groups": ({"id": text, "tenant_id": text, "display_name": text, "created": text}, "id"),
        "group_members": ({"group_id": text, "member_id": text}, ("group_id", "member_id")),
        "pfx_certificates": (
            {
                "id": text, "tenant_id": text, "user_id": text, "thumbprint": text, "user_principal_name": text,
                "intended_purpose": number, "start_date": text, "expiration_date": text, "provider_name": text,
                "key_name": text, "padding_scheme": number, "encrypted_pfx_blob": binary,
                "encrypted_pfx_password": text, "created": text, "last_modified": text, "is_deleted": number,
            },
            "id",
        ),
        "device_configurations": (
            {
                "id": text, "tenant_id": text, "odata_type": text, "display_name": text, "version": number,
                "created": text, "last_modified": text, "properties": text,
            },
            "id",
        ),
        "assignments": (
            {"id": text, "configuration_id": text, "target_type": text, "group_id": text, "intent": text}, "id",
        ),
        "connectors": (
            {
                "id": text, "tenant_id": text, "display_name": text, "machine_name": text, "version": text,
                "enrolled": text, "last_connection": text, "certificate_thumbprint": text,
            },
            "id",
        ),
        "devices": (
            {
                "id": text, "tenant_id": text, "user_id": text, "platform": text, "device_name": text,
                "os_version": text, "model": text, "manufacturer": text, "serial_number": text, "udid": text,
                "certificate": binary, "key_thumbprint": text, "enrolled": text, "last_sync": text,
            },
            "id",
        ),
        "deliveries": (
            {
                "id": text, "tenant_id": text, "device_id": text, "user_id": text, "profile_id": text,
                "certificate_id": text, "thumbprint": text, "purpose": number, "state": text, "reason": text,
                "attempts": number, "not_before": text, "lease_id": text, "leased_by": text, "lease_until": text,
                "device_key_thumbprint": text, "payload_uuid": text, "payload": binary, "created": text,
                "last_modified": text,
            },
            "id",
        ),
        "mdm_commands": (
            {
                "id": text, "device_id": text, "delivery_id": text, "request_type": text, "state": text,
                "created": text,
            },
            "id",
        ),
        "journal": (
            {
                "seq": number, "time": text, "party": text, "event": text, "outcome": text, "reason": text,
                "fields": text,
            },
            "seq",
        ),
    }  # fmt: skip
    for name, (columns, key) in tables.items():
        db.table(name).create(columns, pk=key)
    db.execute("create index users_upn on users (tenant_id, lower(user_principal_name))")
    db.execute("create index pfx_user on pfx_certificates (user_id)")
    db.execute("create index pfx_upn on pfx_certificates (tenant_id, lower(user_principal_name))")
    db.execute("create index devices_user on devices (user_id)")
    db.execute("create index members_member on group_members (member_id)")
    db.execute("create index assignments_configuration on assignments (configuration_id)")
    db.execute("create unique index deliveries_unit on deliveries (device_id, profile_id, certificate_id)")
    db.execute("create index deliveries_queue on deliveries (tenant_id, state, not_before)")
    db.execute("create index deliveries_certificate on deliveries (certificate_id)")
    db.execute("create index commands_device on mdm_commands (device_id, state)")


@migrations()
def m002_sign_in_tickets(db: Database) -> None:
    """Add codes and refresh tokens, certificates of applications, and what applications ask consent for."""
    columns = {"hash": str, "kind": str, "tenant_id": str, "app_id": str, "user_id": str, "scope": str}
    db.table("tickets").create({**columns, "expires": str, "facts": str}, pk="hash")
    for column in ("certificates", "requested_app_roles", "requested_scopes"):
        db.execute(f"alter table apps add column {column} text not null default '[]'")


@migrations()
def m003_what_a_device_may_hold(db: Database) -> None:
    """Remember whether a delivery was ever sent; index what tools filter by."""
    db.execute("alter table deliveries add column maybe_on_device integer not null default 0")
    db.execute("drop index pfx_upn")
    db.execute("create index pfx_lower_upn on pfx_certificates (lower(user_principal_name))")
    # A user's records are found by their id, which begins with the user's.
    db.execute("drop index pfx_user")


@migrations()
def m004_actions_health_and_directory(db: Database) -> None:
    """Remember actions on devices, what connectors processed by the hour, and more of the directory's objects."""
    db.table("device_actions").create(
        {"id": int, "device_id": str, "action": str, "state": str, "started": str, "updated": str}, pk="id"
    )
    db.execute("create index actions_device on device_actions (device_id, state)")
    hours = {"connector_id": str, "hour": str, "succeeded": int, "failed": int}
    db.table("connector_health").create(hours, pk=("connector_id", "hour"))
    credentials = {
        "key_id": str,
        "app_id": str,
        "hash": str,
        "hint": str,
        "display_name": str,
        "start": str,
        "end": str,
    }
    db.table("app_passwords").create(credentials, pk="key_id")
    db.execute("create index passwords_app on app_passwords (app_id)")
    for table in ("users", "groups", "apps"):
        db.execute(f"alter table {table} add column properties text not null default '{{}}'")
    db.execute("alter table apps add column has_principal integer not null default 1")
    db.execute("alter table apps add column created text not null default '2026-01-01T00:00:00.000000Z'")


@migrations()
def m005_fair_queue(db: Database) -> None:
    """Queue by user, find leases, and let a connector's next certificate wait beside the present one."""
    db.execute("drop index deliveries_queue")
    db.execute(
        "create index deliveries_queue on deliveries (tenant_id, user_id, last_modified) where state = 'requested'"
    )
    db.execute("create index deliveries_leased on deliveries (lease_id) where state = 'leased'")
    db.execute("create index deliveries_profile on deliveries (profile_id)")
    db.execute("alter table connectors add column next_thumbprint text")
    # What stands behind a large value in a row is reached through all its pages: the PFX goes last.
    columns = [column.name for column in db.table("pfx_certificates").columns]
    columns.remove("encrypted_pfx_blob")
    db.execute("drop index pfx_lower_upn")
    db.execute("drop index if exists pfx_tenant")
    db.table("pfx_certificates").transform(column_order=[*columns, "encrypted_pfx_blob"])
    db.execute("create index pfx_lower_upn on pfx_certificates (lower(user_principal_name))")


@migrations()
def m006_event_logs_of_connectors(db: Database) -> None:
    """Keep what connectors tell of their event logs; a heartbeat that is sent again tells nothing twice."""
    columns = {"number": int, "connector_id": str, "time": str, "event": int, "name": str, "channel": str}
    db.table("connector_events").create({**columns, "level": str, "text": str}, pk="number")
    db.execute("create unique index events_connector on connector_events (connector_id, time, event, text)")


@migrations()
def m007_error_codes(db: Database) -> None:
    """Keep the number that the portal shows for a failed delivery."""
    db.execute("alter table deliveries add column error_code integer not null default 0")


@migrations()
def m008_identities_of_devices(db: Database) -> None:
    """Find devices by their identity, let a renewed one wait for its first use, and expect what enrols by profile."""
    db.execute("alter table devices add column next_certificate blob")
    db.execute("alter table devices add column next_thumbprint text")
    db.execute("create index devices_key on devices (key_thumbprint)")
    db.execute("create index devices_next_key on devices (next_thumbprint) where next_thumbprint is not null")
    columns = {"thumbprint": str, "device_id": str, "tenant_id": str, "user_id": str}
    db.table("expected_devices").create(columns, pk="thumbprint")
    db.table("device_users").create({"device_id": str, "user_id": str}, pk=("device_id", "user_id"))
    db.execute("create index device_users_user on device_users (user_id)")


class Store:
    """An open database: rows in and out, transactions that nest."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        connection = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False)
        self._db = Database(connection)
        if path is not None:
            path.chmod(0o600)
            self._db.enable_wal()
            # In WAL mode NORMAL survives the death of the process, and commits without a disk flush each.
            self._db.execute("pragma synchronous = normal")
            # Folding the log into the file flushes the disk: seldom, in larger pieces (pages of 4 KiB).
            self._db.execute("pragma wal_autocheckpoint = 10000")
        migrations.apply(self._db)

    def size(self) -> int:
        """Return how many bytes the database has."""
        return int(self.scalar("pragma page_count")) * int(self.scalar("pragma page_size"))

    def copy(self) -> bytes:
        """Return the whole database as the bytes of a file."""
        held = sqlite3.connect(":memory:")
        try:
            self._db.conn.backup(held)
            data = held.serialize()
            # A file in WAL mode says so in its header, and opens in no memory then (SQLite's file format, 1.3.3).
            return data[:18] + b"\x01\x01" + data[20:]
        finally:
            held.close()

    def verify(self, data: bytes) -> None:
        """Let the bytes of a database of this version pass.

        Raises:
            sqlite3.DatabaseError: they are none.

        """
        held = sqlite3.connect(":memory:")
        try:
            held.deserialize(data)
            theirs = {name for (name,) in held.execute("select name from _sqlite_migrations")}
            ours = {row["name"] for row in self.rows("select name from _sqlite_migrations")}
            if theirs != ours:
                raise sqlite3.DatabaseError("expected a database of this version, got one of another")
        finally:
            held.close()

    def replace_with(self, data: bytes) -> None:
        """Put what `copy` returned in place of everything.

        Raises:
            sqlite3.DatabaseError: it is no database; nothing was changed.

        """
        held = sqlite3.connect(":memory:")
        try:
            held.deserialize(data)
            held.backup(self._db.conn)
        finally:
            held.close()

    def close(self) -> None:
        """Close the file; WAL content is folded into it."""
        self._db.close()

    def atomic(self) -> AbstractContextManager[Any]:
        """Return a transaction; an inner one is part of the outer, which rolls back as a whole."""
        return nullcontext() if self._db.conn.in_transaction else self._db.atomic()

    @property
    def in_transaction(self) -> bool:
        """Return whether something is written that is not committed yet."""
        return self._db.conn.in_transaction

    @property
    def changes(self) -> int:
        """Return a number that grows with every row that is written: where it stands still, nothing has changed."""
        return int(self._db.conn.total_changes)

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Return all rows of a query as dictionaries."""
        cursor = self._db.conn.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor]

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Return the first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def scalar(self, sql: str, parameters: Parameters = ()) -> Any:
        """Return the first column of the first row, or None."""
        found = self._db.conn.execute(sql, parameters).fetchone()
        return None if found is None else found[0]

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        """Execute a write and return the number of rows it touched; committed at once outside a transaction."""
        # Inside a transaction sqlite-utils has nothing to add, and imports are many.
        execute = self._db.conn.execute if self._db.conn.in_transaction else self._db.execute
        return int(execute(sql, parameters).rowcount)

    def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a write once for each row, within the transaction it is called in."""
        self._db.conn.executemany(sql, rows)

    def put(self, table: str, row: dict[str, Any]) -> None:
        """Insert a row, or change the one with its primary key; that keeps its place in lists."""
        self.run(_upsert(table, tuple(row)), row)

    def put_over(self, table: str, row: dict[str, Any], tombstone: str) -> bool:
        """Insert a row, or change the one with its primary key if its column `tombstone` is set; return whether."""
        return bool(self.run(_upsert(table, tuple(row), tombstone), row))

    def update(self, table: str, key: str, changes: dict[str, Any]) -> int:
        """Set columns of the row with that id; return how many rows there were."""
        sets = ", ".join(f"{name} = :{name}" for name in changes)
        return self.run(f"update {table} set {sets} where id = :id", {**changes, "id": key})  # noqa: S608 - names are ours

    def meta(self, key: str) -> str | None:
        """Return a setting of this file."""
        value = self.scalar("select value from meta where key = ?", (key,))
        return None if value is None else str(value)

    def set_meta(self, key: str, value: str) -> None:
        """Write a setting of this file."""
        self.put("meta", {"key": key, "value": value})


@cache
def _upsert(table: str, columns: tuple[str, ...], tombstone: str | None = None) -> str:
    marks = ", ".join(f":{name}" for name in columns)
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns)
    names = ", ".join(columns)
    where = "" if tombstone is None else f" where {table}.{tombstone}"
    return f"insert into {table} ({names}) values ({marks}) on conflict do update set {sets}{where}"  # noqa: S608 - names are ours


@lru_cache(maxsize=256)  # an import writes its own moment and its certificate's dates several times
def to_text(moment: datetime) -> str:
    """Return a moment as stored: UTC, six fraction digits, so that text order is time order."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.isoformat(timespec='microseconds')[:26]}Z"


def from_text(text: str) -> datetime:
    """Return a stored moment as an aware datetime."""
    return datetime.fromisoformat(text)


def placeholders(values: Iterable[Any]) -> str:
    """Return `?, ?, …`, one mark for each value."""
    return ", ".join("?" for _ in values)
