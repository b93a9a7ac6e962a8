"""The journal: what every party did, what it was told, and the true reason.

Entries never hold a password, key, token, secret or certificate blob: callers pass identifiers and sizes.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from emulator.store.database import Store, to_text
from emulator.wire import jsontext
from emulator.wire.clock import Clock


@dataclass(frozen=True)
class Entry:
    """One line: `outcome` is ok, refused or failed; `reason` the truth behind a refusal."""

    time: str
    party: str
    event: str
    outcome: str = "ok"
    reason: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    seq: int = 0


_PIECE = 100
_KEPT_WITHOUT_ROOM = 10_000


def _sound(text: str | None) -> str | None:
    """Return a text that can be stored: half characters, which only a broken client sends, become marks."""
    return None if text is None else text.encode("utf-8", "replace").decode()


class Journal:
    """Appends to the store, within the caller's transaction, and tells subscribers."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._remembered: list[Entry] = []
        self._subscribers: list[Callable[[Entry], None]] = []

    def subscribe(self, subscriber: Callable[[Entry], None]) -> None:
        """Call `subscriber` with each new entry."""
        self._subscribers.append(subscriber)

    def record(self, party: str, event: str, *, outcome: str = "ok", reason: str | None = None, **fields: Any) -> None:
        """Append an entry."""
        self._remembered.append(Entry(to_text(self._clock.now()), party, event, outcome, reason, fields))
        self.flush()

    def record_many(self, party: str, event: str, fields: list[dict[str, Any]]) -> None:
        """Append an entry of the same event for each of many deeds of one moment."""
        now = to_text(self._clock.now())
        self._remembered += [Entry(now, party, event, "ok", None, one) for one in fields]
        self.flush()

    def remember(self, party: str, event: str, **fields: Any) -> None:
        """Note an entry without a commit of its own: it is stored with the next `record`, when read, or soon after.

        For what is only told of, such as an answered request; what was done is recorded with the deed.
        """
        self._remembered.append(Entry(to_text(self._clock.now()), party, event, "ok", None, fields))
        if len(self._remembered) >= _PIECE:
            self.flush()

    @contextmanager
    def kept_on_rollback(self) -> Iterator[None]:
        """Keep remembered entries that a transaction which fails had begun to store."""
        before = list(self._remembered)
        try:
            yield
        except BaseException:
            self._remembered = before
            raise

    def forget_remembered(self) -> None:
        """Drop what is remembered and not stored: the store is about to be replaced."""
        self._remembered.clear()

    def flush(self) -> None:
        """Store what is remembered."""
        if not self._remembered:
            return
        entries, self._remembered = self._remembered, []
        rows = [
            (e.time, e.party, e.event, e.outcome, _sound(e.reason), jsontext.encode(e.fields).decode()) for e in entries
        ]
        try:
            with self._store.atomic():
                self._store.run_many(
                    "insert into journal (time, party, event, outcome, reason, fields) values (?, ?, ?, ?, ?, ?)", rows
                )
        except sqlite3.OperationalError:
            # No room: what was only told of waits in memory for better times, the newest of it; deeds are undone with
            # the transaction that they are part of.
            if self._store.in_transaction:
                raise
            self._remembered = (entries + self._remembered)[-_KEPT_WITHOUT_ROOM:]
            return
        for entry in entries:
            for subscriber in self._subscribers:
                subscriber(entry)

    def entries(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        outcome: str | None = None,
        party: str | None = None,
        event: str | None = None,
        rule: str | None = None,
        path: str | None = None,
        client: str | None = None,
        newest: bool = False,
    ) -> list[Entry]:
        """Return entries with a sequence number above `after`, at most `limit`, oldest first or `newest` first.

        `outcome`, `party`, `event` and `rule` (the stable code of a reason) must be equal when given; `path` and
        `client` (user agent or application) must contain the text.
        """
        self.flush()
        conditions, values = ["seq > :after"], dict[str, Any](after=after, limit=limit)
        for name, wanted in (("outcome", outcome), ("party", party), ("event", event)):
            if wanted is not None:
                conditions.append(f"{name} = :{name}")
                values[name] = wanted
        if rule is not None:
            conditions.append("json_extract(fields, '$.rule') = :rule")
            values["rule"] = rule
        for name, text in (("path", path), ("client", client)):
            if text is not None:
                conditions.append(f"instr(lower(json_extract(fields, '$.{name}')), lower(:{name})) > 0")
                values[name] = text
        order = "desc" if newest else "asc"
        sql = f"select * from journal where {' and '.join(conditions)} order by seq {order} limit :limit"  # noqa: S608 - names are ours
        rows = self._store.rows(sql, values)
        return [Entry(**{**row, "fields": json.loads(row["fields"])}) for row in rows]
