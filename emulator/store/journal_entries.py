"""The journal's entries: appended in the order of what happened, cut at the old end, found by what they say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.text import whole_text

if TYPE_CHECKING:
    from pfxlab.emulator.store.database import Store


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
_HALF: Final = "\\ud"
"""How JSON escapes half of a character begin."""

CONTAINED: Final = ("path", "client", "told")
FILTERS: Final = (
    *_COLUMNS, "rule", "path", "client", "method", "told", "device", "connector", "delivery", "thumbprint", "kind",
    "fault",
)  # fmt: skip
"""What entries are searched by: `rule` is the stable code of a reason, `client` user agent or application."""


@dataclass(frozen=True)
class EntrySearch:
    """Which entries to find: those numbered above `after` and below `before`, with these values of FILTERS.

    An entry fits when its values of CONTAINED hold the text, whatever the case, and all others are equal.

    Raises:
        ValueError: something entries are not searched by.

    """

    values: Mapping[str, Any]
    after: int = 0
    before: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.values) - set(FILTERS))
        if unknown:
            raise ValueError(f"expected {', '.join(FILTERS)}, got {unknown[0][:40]!r}")


def _condition(search: EntrySearch) -> tuple[str, dict[str, Any]]:
    conditions = ["seq > :after"]
    for name in search.values:
        column = name if name in _COLUMNS else f"json_extract(fields, '$.{name}')"
        contained = name in CONTAINED
        conditions.append(f"instr(lower({column}), lower(:{name})) > 0" if contained else f"{column} = :{name}")
    if search.before is not None:
        conditions.append("seq < :before")
    return " and ".join(conditions), {"after": search.after, "before": search.before, **search.values}


def _whole(text: str | None) -> str | None:
    return None if text is None else whole_text(text)


def _stored(fields: Mapping[str, Any]) -> str:
    """Return an entry's fields as JSON without halves of characters, which only a broken client sends."""
    text = jsontext.encode(fields).decode()
    return whole_text(json.dumps(json.loads(text), ensure_ascii=False)) if _HALF in text else text


def _fields(text: str) -> dict[str, Any]:
    """Return stored fields; entries of earlier versions may hold halves of characters."""
    fields: dict[str, Any] = json.loads(text)
    return json.loads(_stored(fields)) if _HALF in text else fields


class JournalEntries:
    """The stored entries of one cloud."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def append(self, entries: Sequence[Entry]) -> None:
        """Store entries behind all others, within the transaction this is called in; their `seq` is not looked at."""
        self._store.run_many(
            "insert into journal (time, party, event, outcome, reason, fields) values (?, ?, ?, ?, ?, ?)",
            [
                (
                    e.time,
                    e.party,
                    e.event,
                    e.outcome,
                    _whole(e.reason),
                    _stored(e.fields),
                )
                for e in entries
            ],
        )

    def keep_latest(self, number: int) -> None:
        """Forget all entries but the latest `number`."""
        self._store.run("delete from journal where seq <= (select max(seq) from journal) - ?", (number,))

    def find(self, search: EntrySearch, *, limit: int, newest: bool = False) -> list[Entry]:
        """Return up to `limit` entries, oldest first, or `newest` first."""
        where, values = _condition(search)
        order = "desc" if newest else "asc"
        sql = f"select * from journal where {where} order by seq {order} limit :limit"  # noqa: S608 - names are ours
        rows = self._store.rows(sql, {**values, "limit": limit})
        return [Entry(**{**row, "fields": _fields(row["fields"])}) for row in rows]

    def count(self, search: EntrySearch) -> int:
        """Return how many entries there are."""
        where, values = _condition(search)
        return int(self._store.scalar(f"select count(*) from journal where {where}", values))  # noqa: S608 - names are ours

    def last(self) -> int:
        """Return the sequence number of the latest entry, 0 without one."""
        return int(self._store.scalar("select coalesce(max(seq), 0) from journal"))
