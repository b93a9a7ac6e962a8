"""What rows can be filtered and sorted by: a column, or something computed from one."""

from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from pfxlab.emulator.store.database import to_text

Kind: TypeAlias = Literal[
    "text", "cased", "name", "date", "instant", "enum", "number", "boolean", "strings", "objects", "type"
]  # fmt: skip
Value: TypeAlias = str | int | datetime


class Column(NamedTuple):
    """One column as SQL, and how its values compare."""

    sql: str
    kind: Kind = "text"
    """text, cased (text with an index in lower case), name (case-blind), date (as stored), instant (as on the wire),
    enum (`enum` has its members; stored by value), number, boolean (0 or 1), strings (a JSON list of texts), objects (a
    JSON list of objects; `items` are the texts in each), type (the @odata.type)."""

    enum: type[Enum] | None = None
    items: tuple[str, ...] = ()
    folded: bool = False
    """Whether the texts of a list compare case-blind, as a name does."""

    def lower(self) -> "Column":
        """Return the column as text in lower case."""
        return Column(f"lower({self.sql})")

    def upper(self) -> "Column":
        """Return the column as text in upper case."""
        return Column(f"upper({self.sql})")

    def compared(self) -> str:
        """Return the SQL of what is compared with a value of the column."""
        if self.kind == "instant":
            return _whole_instant(self.sql)
        return f"lower({self.sql})" if self.kind == "name" else self.sql

    def ordered(self) -> str:
        """Return the SQL of what rows are sorted by."""
        return f"{self.sql} collate nocase" if self.kind == "name" else self.compared()

    def stored(self, value: Value) -> Any:
        """Return a value as the column holds it; a name is expected in lower case."""
        if not isinstance(value, datetime):
            return value
        return f"{to_text(value)[:26]}0" if self.kind == "instant" else to_text(value)


ITEM: Final = Column("each.value")
"""Stands for one text of a list of strings within a condition on its items."""


FOLDED_ITEM: Final = Column("each.value", "name")
"""The same where case is nothing."""


def item_property(name: str) -> Column:
    """Return a text of one object of a list of objects; `name` is the product's own, not a client's."""
    return Column(f"json_extract({ITEM.sql}, '$.{name}')", "name")


def constant(value: str | int, kind: Kind) -> Column:
    """Return a column that has one value in every row."""
    if isinstance(value, int):
        # A bare number in `order by` would be that of a column of the result.
        return Column(f"cast({value} as integer)", kind)
    quoted = value.replace("'", "''")
    return Column(f"'{quoted}'", kind)


def json_property(name: str, kind: Kind) -> Column:
    """Return a property of the values of a JSON list; `name` is the product's own, not a client's."""
    return Column(f"json_extract(item.value, '$.{name}')", kind)


def _whole_instant(sql: str) -> str:
    """Return a wire date with all seven fraction digits: zeros are left out, and text order needs them."""
    fraction = f"substr(rtrim(substr({sql}, 21), 'Z') || '0000000', 1, 7)"
    return f"(substr({sql}, 1, 19) || '.' || {fraction})"
