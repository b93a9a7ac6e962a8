"""Imported certificates as the service keeps them (pfxUserCertificate): ciphertext and metadata, soft delete."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pfxlab.emulator.store.database import Row, Store, from_text, to_text
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme


@dataclass(frozen=True)
class PfxCertificate:
    """One record. `encrypted_pfx_blob` is the PKCS#12 as uploaded, the password base64 of RSA ciphertext.

    `start_seventh` and `expiration_seventh`: the seventh digit after the second's point, which a datetime cannot hold.
    """

    id: str
    tenant_id: str
    user_id: str
    thumbprint: str
    user_principal_name: str
    intended_purpose: IntendedPurpose
    start_date: datetime
    expiration_date: datetime
    provider_name: str
    key_name: str
    padding_scheme: PaddingScheme
    encrypted_pfx_blob: bytes
    encrypted_pfx_password: str
    created: datetime
    last_modified: datetime
    start_seventh: int = 0
    expiration_seventh: int = 0

    def changed(self, changes: dict[str, Any]) -> "PfxCertificate":
        """Return the record with some fields replaced."""
        return replace(self, **changes)


_DATES = ("start_date", "expiration_date", "created", "last_modified")


@dataclass(frozen=True)
class Outline:
    """What targeting needs of a record."""

    id: str
    thumbprint: str
    intended_purpose: IntendedPurpose
    start_date: datetime


@dataclass(frozen=True)
class Search:
    """Which records to find. What is not given lets all pass; of the two beginnings one is enough.

    Beginnings are in lower case, that of a thumbprint is hexadecimal digits. A record ends after `ends_after`, and
    not after `ends_by`.
    """

    tenant_id: str
    user_begins: str = ""
    thumbprint_begins: str = ""
    purpose: IntendedPurpose | None = None
    ends_after: datetime | None = None
    ends_by: datetime | None = None


_LAST_TEXT: Final = "\U0010ffff"
"""Sorts behind every text that goes on after a beginning: a range, which an index helps with, finds them all."""


def _beginnings(search: Search) -> tuple[str, list[Any]]:
    """Return the condition that a user's name or a thumbprint begins as asked, with its parameters; empty for all."""
    either: list[str] = []
    values: list[Any] = []
    if search.user_begins:
        either.append("lower(user_principal_name) >= ? and lower(user_principal_name) < ?")
        values += [search.user_begins, search.user_begins + _LAST_TEXT]
    if search.thumbprint_begins:
        either.append("substr(lower(thumbprint), 1, ?) = ?")
        values += [len(search.thumbprint_begins), search.thumbprint_begins]
    return " or ".join(f"({one})" for one in either), values


def _to_row(record: PfxCertificate) -> Row:
    dates = {name: to_text(getattr(record, name)) for name in _DATES}
    numbers = {"intended_purpose": int(record.intended_purpose), "padding_scheme": int(record.padding_scheme)}
    return {**vars(record), **dates, **numbers, "is_deleted": 0}


def from_row(row: Row) -> PfxCertificate:
    """Return the record a row of `pfx_certificates` holds."""
    fields = {name: value for name, value in row.items() if name != "is_deleted"}
    fields |= {name: from_text(row[name]) for name in _DATES}
    fields["intended_purpose"] = IntendedPurpose(row["intended_purpose"])
    fields["padding_scheme"] = PaddingScheme(row["padding_scheme"])
    return PfxCertificate(**fields)


class PfxCertificates:
    """The imported certificates of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, record: PfxCertificate) -> None:
        """Insert a record, or replace the one (or the tombstone) with its id."""
        self._store.put("pfx_certificates", _to_row(record))

    def add(self, record: PfxCertificate) -> bool:
        """Insert a record, over a tombstone if there is one; return False when a living one has its id already."""
        return self._store.put_over("pfx_certificates", _to_row(record), "is_deleted")

    def get(self, tenant_id: str, record_id: str) -> PfxCertificate | None:
        """Return a record that is not deleted."""
        row = self._store.row(
            "select * from pfx_certificates where id = lower(?) and tenant_id = ? and not is_deleted",
            (record_id, tenant_id),
        )
        return None if row is None else from_row(row)

    def delete(self, tenant_id: str, record_id: str, when: datetime) -> bool:
        """Turn a record into a tombstone without ciphertext; return whether there was one."""
        return bool(
            self._store.run(
                "update pfx_certificates set is_deleted = 1, encrypted_pfx_blob = x'', encrypted_pfx_password = '',"
                " last_modified = ? where id = lower(?) and tenant_id = ? and not is_deleted",
                (to_text(when), record_id, tenant_id),
            )
        )

    def rows(self) -> list[Row]:
        """Return every record of all tenants as its columns: id, ciphertext, and all that an import or change says.

        Rows: id, thumbprint, user_principal_name, intended_purpose, padding_scheme, provider_name, key_name,
        start_date, expiration_date, encrypted_pfx_blob, encrypted_pfx_password, last_modified.
        """
        return self._store.rows(
            "select id, thumbprint, user_principal_name, intended_purpose, padding_scheme, provider_name, key_name,"
            " start_date, expiration_date, encrypted_pfx_blob, encrypted_pfx_password, last_modified"
            " from pfx_certificates where not is_deleted"
        )

    def count(self, tenant_id: str) -> int:
        """Return how many records a tenant has."""
        sql = "select count(*) from pfx_certificates where tenant_id = ? and not is_deleted"
        return int(self._store.scalar(sql, (tenant_id,)))

    def search(self, wanted: Search, *, limit: int, skip: int = 0) -> list[Row]:
        """Return the columns without ciphertext of up to `limit` records after the first `skip`, latest import first.

        Rows: id, thumbprint, user_principal_name, intended_purpose, start_date, expiration_date, padding_scheme,
        provider_name, key_name, created.
        """
        conditions = ["tenant_id = ?", "not is_deleted"]
        values: list[Any] = [wanted.tenant_id]
        beginnings, given = _beginnings(wanted)
        if beginnings:
            conditions.append(f"({beginnings})")
            values += given
        for condition, value in (
            ("intended_purpose = ?", None if wanted.purpose is None else int(wanted.purpose)),
            ("expiration_date > ?", None if wanted.ends_after is None else to_text(wanted.ends_after)),
            ("expiration_date <= ?", None if wanted.ends_by is None else to_text(wanted.ends_by)),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        sql = (
            "select id, thumbprint, user_principal_name, intended_purpose, start_date, expiration_date, padding_scheme,"  # noqa: S608 - conditions are ours
            f" provider_name, key_name, created from pfx_certificates where {' and '.join(conditions)}"
            " order by rowid desc limit ? offset ?"
        )
        return self._store.rows(sql, (*values, limit, skip))

    def was_deleted(self, user_id: str, thumbprint: str) -> bool:
        """Return whether a user's record of a certificate was deleted and not imported again."""
        sql = "select is_deleted from pfx_certificates where id = lower(?)"
        return bool(self._store.scalar(sql, (f"{UUID(user_id).hex}-{thumbprint}",)))

    def of_user(self, user_id: str) -> list[Outline]:
        """Return the outlines of a user's records, earliest start date first."""
        prefix = UUID(user_id).hex
        rows = self._store.rows(
            "select id, thumbprint, intended_purpose, start_date from pfx_certificates"
            " where id >= ? and id < ? and not is_deleted order by start_date, id",
            (f"{prefix}-", f"{prefix}."),
        )
        return [
            Outline(
                row["id"], row["thumbprint"], IntendedPurpose(row["intended_purpose"]), from_text(row["start_date"])
            )
            for row in rows
        ]
