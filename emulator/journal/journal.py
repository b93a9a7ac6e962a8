"""The journal: what every party did, the answer it got, and the true reason.

Entries never hold a password, key, token, secret or certificate blob: callers pass identifiers and sizes.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pfxlab.emulator.store.database import Store, to_text
from pfxlab.emulator.store.journal_entries import Entry, EntrySearch, JournalEntries
from pfxlab.emulator.wire.clock import Clock

_PIECE = 100
_KEPT_WITHOUT_ROOM = 10_000
_LONGEST_REASON = 4000
_TRIM_SHARE = 10
"""The journal is cut when it is longer than it may be by one part in so many: seldom, and by much at once."""


class Journal:
    """Appends to the store, within the caller's transaction, and tells subscribers."""

    def __init__(self, store: Store, clock: Clock, kept: int) -> None:
        """`kept`: how many entries there may be."""
        self._store, self._clock, self._kept = store, clock, kept
        self._entries = JournalEntries(store)
        self._since_cut = 0
        self._remembered: list[Entry] = []
        self._subscribers: list[Callable[[Entry], None]] = []

    def subscribe(self, subscriber: Callable[[Entry], None]) -> None:
        """Call `subscriber` with each new entry."""
        self._subscribers.append(subscriber)

    def record(self, party: str, event: str, *, outcome: str = "ok", reason: str | None = None, **fields: Any) -> None:
        """Append an entry; a reason that shows more of a client's values than anybody reads is cut."""
        reason = None if reason is None else reason[:_LONGEST_REASON]
        self._remembered.append(Entry(to_text(self._clock.now()), party, event, outcome, reason, fields))
        self.flush()

    def record_many(self, party: str, event: str, fields: list[dict[str, Any]]) -> None:
        """Append one entry per item for an event that happened to many at once."""
        now = to_text(self._clock.now())
        self._remembered += [Entry(now, party, event, "ok", None, one) for one in fields]
        self.flush()

    def remember(self, party: str, event: str, **fields: Any) -> None:
        """Note an entry without a commit of its own: it is stored with the next `record`, when read, or soon after.

        For reports only, such as an answered request; a change is recorded in the transaction that makes it.
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

    def clear(self) -> None:
        """Drop every entry, stored or not."""
        self.forget_remembered()
        self._entries.keep_latest(0)

    def flush(self) -> None:
        """Store what is remembered."""
        if not self._remembered:
            return
        entries, self._remembered = self._remembered, []
        try:
            with self._store.atomic():
                self._entries.append(entries)
                self._cut(len(entries))
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
            self._entries.keep_latest(self._kept)

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
        search = EntrySearch(wanted, after, before)
        self.flush()
        return self._entries.find(search, limit=limit, newest=newest)

    def last(self) -> int:
        """Return the sequence number of the latest entry, 0 without one."""
        self.flush()
        return self._entries.last()

    def count(self, *, after: int = 0, **wanted: Any) -> int:
        """Return how many entries `entries` would return without a limit.

        Raises:
            ValueError: something entries are not searched by.

        """
        search = EntrySearch(wanted, after)
        self.flush()
        return self._entries.count(search)
