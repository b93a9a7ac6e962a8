"""A copy of a database, as a snapshot keeps it, that another version has written."""

import sqlite3

import pytest

from pfxlab.emulator.store.database import Store


def changed(data: bytes, statement: str) -> bytes:
    """Return the bytes of a database after a statement."""
    held = sqlite3.connect(":memory:")
    held.deserialize(data)
    held.execute(statement)
    held.commit()
    return held.serialize()


def test_copy_of_a_later_version_is_refused() -> None:
    """A database with a change that this version does not know is refused, and nothing of the present one is lost."""
    store = Store()
    store.put("meta", {"key": "kept", "value": "yes"})
    later = "insert into _sqlite_migrations (migration_set, name, applied_at) values ('pfxlab', 'm999_later', '')"
    data = changed(store.copy(), later)
    for use in (store.verify, lambda one: store.replace_with(one, {})):
        with pytest.raises(sqlite3.DatabaseError, match="this version or an earlier one, got a later one"):
            use(data)
    assert store.scalar("select value from meta where key = 'kept'") == "yes"


def test_copy_that_is_no_database_is_refused() -> None:
    """Bytes that are no database, or one of something else, are refused."""
    empty = sqlite3.connect(":memory:")
    empty.execute("create table other (a)")
    for data in (b"no database" * 1000, empty.serialize()):
        with pytest.raises(sqlite3.DatabaseError):
            Store().verify(data)
