"""The journal: what every party did, what it was told, and the true reason.

Entries never hold a password, key, token, secret or certificate blob: callers pass identifiers and sizes.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pfxlab.emulator.store.database import Store, to_text
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.clock import Clock


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


_COLUMNS: Final = ("outcome", "party", "event")
CONTAINED: Final = ("path", "client", "told")
FILTERS: Final = (
    *_COLUMNS, "rule", "path", "client", "method", "told", "device", "connector", "delivery", "thumbprint", "kind",
    "fault",
)  # fmt: skip
"""What entries are searched by: `rule` is the stable code of a reason, `client` user agent or application."""

_PIECE = 100
_KEPT_WITHOUT_ROOM = 10_000
_TRIM_SHARE = 10
"""The journal is cut when it is longer than it may be by one part in so many: seldom, and by much at once."""


def _sound(text: str | None) -> str | None:
    """Return a text that can be stored: half characters, which only a broken client sends, become marks."""
    return None if text is None else text.encode("utf-8", "replace").decode()


class Journal:
    """Appends to the store, within the caller's transaction, and tells subscribers."""

    def __init__(self, store: Store, clock: Clock, kept: int) -> None:
        """`kept`: how many entries there may be."""
        self._store, self._clock, self._kept = store, clock, kept
        self._since_cut = 0
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
                self._cut(len(rows))
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

    def _cut(self, more: int) -> None:
        """Forget the oldest entries when there are too many."""
        self._since_cut += more
        if self._since_cut > self._kept // _TRIM_SHARE:
            self._since_cut = 0
            self._store.run("delete from journal where seq <= (select max(seq) from journal) - ?", (self._kept,))

    def entries(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1000,
        newest: bool = False,
        **wanted: Any,
    ) -> list[Entry]:
        """Return entries with a sequence number above `after` and below `before`, at most `limit`, in their order.

        Oldest first, or `newest` first.

        `wanted`: values of FILTERS. Those of CONTAINED must hold the text, all others be equal.

        Raises:
            ValueError: something entries are not searched by.

        """
        where, values = _condition(after, wanted)
        if before is not None:
            where, values = f"{where} and seq < :before", {**values, "before": before}
        self.flush()
        order = "desc" if newest else "asc"
        sql = f"select * from journal where {where} order by seq {order} limit :limit"  # noqa: S608 - names are ours
        rows = self._store.rows(sql, {**values, "limit": limit})
        return [Entry(**{**row, "fields": json.loads(row["fields"])}) for row in rows]

    def last(self) -> int:
        """Return the sequence number of the latest entry, 0 without one."""
        self.flush()
        return int(self._store.scalar("select coalesce(max(seq), 0) from journal"))

    def count(self, *, after: int = 0, **wanted: Any) -> int:
        """Return how many entries `entries` would return without a limit.

        Raises:
            ValueError: something entries are not searched by.

        """
        where, values = _condition(after, wanted)
        self.flush()
        return int(self._store.scalar(f"select count(*) from journal where {where}", values))  # noqa: S608 - names are ours


def _condition(after: int, wanted: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    unknown = sorted(set(wanted) - set(FILTERS))
    if unknown:
        raise ValueError(f"expected {', '.join(FILTERS)}, got {unknown[0][:40]!r}")
    conditions = ["seq > :after"]
    for name in wanted:
        column = name if name in _COLUMNS else f"json_extract(fields, '$.{name}')"
        contained = name in CONTAINED
        conditions.append(f"instr(lower({column}), lower(:{name})) > 0" if contained else f"{column} = :{name}")
    return " and ".join(conditions), {"after": after, **wanted}
