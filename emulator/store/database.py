"""The cloud's SQLite file: opening, rows in and out, transactions.

WAL mode; a write is acknowledged only after its transaction was committed, so a killed process loses nothing
it had answered for. In memory when no path is given.
"""

import errno
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from pfxlab import private_file
from pfxlab.emulator.store.migrations import migrations
from pfxlab.emulator.store.sqlite_without_numpy import Database
from pfxlab.emulator.wire.files.damaged import COPY_OR_NEW_LAB, Damaged, reading

Row: TypeAlias = dict[str, Any]
Parameters: TypeAlias = Sequence[Any] | dict[str, Any]


_LARGEST_CHECKED: Final = 64 * 2**20
"""Bytes of a database whose pages are looked at when it is opened: a fraction of a second."""


class Store:
    """An open database: rows in and out, transactions that nest."""

    def __init__(self, path: Path | None = None) -> None:
        """Open a database, made on first use.

        Raises:
            Damaged: the file is not a database of a lab's, or damaged.
            sqlite3.OperationalError: the disk is full.

        """
        self.path = path
        try:
            self._open(path)
        except sqlite3.DatabaseError as error:
            if path is None or (isinstance(error, sqlite3.OperationalError) and is_full(error)):
                raise
            raise Damaged(path, "the database of a lab", f"a damaged one ({error})", COPY_OR_NEW_LAB) from None

    def _open(self, path: Path | None) -> None:
        if path is not None:
            with reading(path, "the database of a lab", COPY_OR_NEW_LAB):
                # Before SQLite opens it, which would follow a link and let others read until a chmod.
                private_file.prepare(path)
        connection = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False)
        self._db = Database(connection)
        if path is not None:
            self._check(path)
            self._db.enable_wal()
            # In WAL mode NORMAL survives the death of the process, and commits without a disk flush each.
            self._db.execute("pragma synchronous = normal")
            # Folding the log into the file flushes the disk: seldom, in larger pieces (pages of 4 KiB).
            self._db.execute("pragma wal_autocheckpoint = 10000")
        migrations.apply(self._db)

    def _check(self, path: Path) -> None:
        """Let a database pass whose pages are sound; one too large to look at in a moment is taken as it is."""
        if path.stat().st_size <= _LARGEST_CHECKED:
            found = str(self.scalar("pragma quick_check(1)"))
            if found != "ok":
                raise sqlite3.DatabaseError(found.splitlines()[-1][:100])

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

    @contextmanager
    def _in_memory(self, data: bytes) -> Iterator[sqlite3.Connection]:
        """Open the bytes of a database in memory, brought to this version if they are of an earlier one.

        Raises:
            sqlite3.DatabaseError: they are no database, or one of a later version.

        """
        held = sqlite3.connect(":memory:")
        try:
            held.deserialize(data)
            theirs = {name for (name,) in held.execute("select name from _sqlite_migrations")}
            ours = {row["name"] for row in self.rows("select name from _sqlite_migrations")}
            if not theirs <= ours:
                raise sqlite3.DatabaseError("expected a database of this version or an earlier one, got a later one")
            if theirs != ours:
                migrations.apply(Database(held))
                held.commit()
            yield held
        finally:
            held.close()

    def verify(self, data: bytes) -> None:
        """Let the bytes of a database of this version, or of an earlier one, pass.

        Raises:
            sqlite3.DatabaseError: they are none.

        """
        with self._in_memory(data):
            pass

    def replace_with(self, data: bytes, settings: Mapping[str, str]) -> None:
        """Put what `copy` returned, with settings changed, in place of everything, in one transaction, flushed.

        Raises:
            sqlite3.DatabaseError: it is no database; nothing was changed.

        """
        with self._in_memory(data) as held:
            held.executemany("insert or replace into meta (key, value) values (?, ?)", settings.items())
            held.commit()
            self._db.execute("pragma synchronous = full")
            try:
                held.backup(self._db.conn)
            finally:
                self._db.execute("pragma synchronous = normal")

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

    def forget_meta(self, key: str) -> None:
        """Remove a setting of this file."""
        self.run("delete from meta where key = ?", (key,))


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


def is_full(error: Exception) -> bool:
    """Return whether something could not be written because disk, quota, file or database had no room."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def placeholders(values: Iterable[Any]) -> str:
    """Return `?, ?, …`, one mark for each value."""
    return ", ".join("?" for _ in values)
