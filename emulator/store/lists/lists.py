"""Reads lists: pages and counts of the rows of a view, or of values that no table holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pfxlab.emulator.store.database import Row, Store
from pfxlab.emulator.store.lists.columns import Column
from pfxlab.emulator.store.lists.conditions import Always, Condition, Sql
from pfxlab.emulator.store.lists.views import View
from pfxlab.emulator.wire import jsontext

_NUMBER: Final = "row_number"


class Order(NamedTuple):
    """One column to sort by."""

    column: Column
    descending: bool = False


@dataclass(frozen=True)
class Wanted:
    """A tenant's rows of a view, `within` a part of them, that `filter` lets pass."""

    view: View
    tenant_id: str
    within: Condition | None = None
    filter: Condition | None = None


class Numbered(NamedTuple):
    """A row, and its number in the order in which rows were stored."""

    number: int
    row: Row


def _where(wanted: Wanted) -> Sql:
    # A filter knows better than the tenant where to look: `+` keeps SQLite from an index for the latter.
    parts = [Sql("tenant_id = ?" if wanted.filter is None else "+tenant_id = ?", (wanted.tenant_id,))]
    parts += [Sql(wanted.view.only)] if wanted.view.only else []
    parts += [condition.sql() for condition in (wanted.within, wanted.filter) if condition is not None]
    return Sql(" and ".join(part.text for part in parts), tuple(value for part in parts for value in part.parameters))


def _order(order: Sequence[Order], last: str) -> str:
    columns = [f"{one.column.ordered()}{' desc' if one.descending else ''}" for one in order]
    return f"order by {', '.join([*columns, last])}"


class Lists:
    """Everything that is listed, in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self, wanted: Wanted) -> int:
        """Return how many rows there are."""
        where = _where(wanted)
        sql = f"select count(*) from {wanted.view.source} where {where.text}"  # noqa: S608 - values are parameters
        return int(self._store.scalar(sql, where.parameters))

    def page(
        self, wanted: Wanted, order: Sequence[Order], limit: int, *, after: int = 0, skip: int = 0
    ) -> list[Numbered]:
        """Return up to `limit` rows whose number is above `after`, without the first `skip`.

        They come in `order`, and rows that are equal in it as they were stored.
        """
        where = _where(wanted)
        sql = (
            f"select {wanted.view.selected}, rowid as {_NUMBER} from {wanted.view.source}"  # noqa: S608 - as above
            f" where {where.text} and rowid > ? {_order(order, 'rowid')} limit ? offset ?"
        )
        rows = self._store.rows(sql, (*where.parameters, after, limit, skip))
        return [Numbered(row.pop(_NUMBER), row) for row in rows]

    def of(self, values: Sequence[Any]) -> "ListedValues":
        """Return values that can be encoded as JSON, to be filtered, sorted and paged like rows."""
        return ListedValues(self._store, values)

    def row(self, view: View, row_id: str) -> Row | None:
        """Return the row of a view with that id."""
        return self._store.row(f"select {view.selected} from {view.source} where id = ?", (row_id,))  # noqa: S608 - ours


class ListedValues:
    """JSON values that no table holds, as rows whose columns are `json_property`."""

    def __init__(self, store: Store, values: Sequence[Any]) -> None:
        self._store, self._listed = store, jsontext.encode(list(values)).decode()

    def pick(self, condition: Condition | None, order: Sequence[Order], limit: int, skip: int) -> list[int]:
        """Return the places of up to `limit` values that fulfil a condition, without the first `skip` of them."""
        where = (condition or Always()).sql()
        sql = (
            f"select key from json_each(?) as item where {where.text}"  # noqa: S608 - values are parameters
            f" {_order(order, 'key')} limit ? offset ?"
        )
        rows = self._store.rows(sql, (self._listed, *where.parameters, limit, skip))
        return [row["key"] for row in rows]

    def count(self, condition: Condition | None) -> int:
        """Return how many values fulfil a condition."""
        where = (condition or Always()).sql()
        sql = f"select count(*) from json_each(?) as item where {where.text}"  # noqa: S608 - as above
        return int(self._store.scalar(sql, (self._listed, *where.parameters)))
