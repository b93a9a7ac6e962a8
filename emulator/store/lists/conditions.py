"""Conditions on rows, as values; each writes its own SQL, in which every value is a parameter."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from pfxlab.emulator.store.database import placeholders
from pfxlab.emulator.store.lists.columns import Column, Value


class Sql(NamedTuple):
    """A piece of SQL with its parameters, in order."""

    text: str
    parameters: tuple[Any, ...] = ()


class Condition(ABC):
    """Something that holds of a row, or does not."""

    @abstractmethod
    def sql(self) -> Sql:
        """Return the condition as SQL."""


@dataclass(frozen=True)
class Always(Condition):
    """Holds of every row."""

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        return Sql("true")


Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Compare(Condition):
    """Compares a column with a value. A null is equal to nothing, and unlike every value."""

    column: Column
    operator: Operator
    value: Value

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        value = self.column.stored(self.value)
        if self.column.kind == "cased" and self.operator == "=":
            # The index is on the lower-case form; the exact form decides among the few it finds. Without `+` SQLite
            # puts the exact form in place of the column, in `lower` as well, and finds no use for the index.
            return Sql(f"(lower({self.column.sql}) = ? and +{self.column.sql} = ?)", (str(value).lower(), value))
        operator = "is not" if self.operator == "!=" else self.operator
        return Sql(f"{self.column.compared()} {operator} ?", (value,))


@dataclass(frozen=True)
class IsNull(Condition):
    """Holds where a column has no value."""

    column: Column

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        return Sql(f"{self.column.compared()} is null")


@dataclass(frozen=True)
class OneOf(Condition):
    """Holds where a column has one of some values."""

    column: Column
    values: tuple[Value, ...]

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        values = tuple(self.column.stored(value) for value in self.values)
        return Sql(f"{self.column.compared()} in ({placeholders(values)})", values)


class Part(StrEnum):
    """Where in a column's value a text is to stand."""

    START = "startswith"
    END = "endswith"
    ANYWHERE = "contains"


_PATTERNS: Final = {Part.START: "{}%", Part.END: "%{}", Part.ANYWHERE: "%{}%"}


@dataclass(frozen=True)
class Matches(Condition):
    """Holds where a column starts or ends with a text, or contains it; the case of ASCII letters is the same to it."""

    column: Column
    part: Part
    value: Value

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        escaped = str(self.column.stored(self.value))
        for special in "\\%_":
            escaped = escaped.replace(special, f"\\{special}")
        return Sql(f"{self.column.compared()} like ? escape '\\'", (_PATTERNS[self.part].format(escaped),))


@dataclass(frozen=True)
class Holds(Condition):
    """Holds where a column contains a text, whatever the case of ASCII letters."""

    column: Column
    text: str

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        return Sql(f"instr(lower({self.column.sql}), lower(?)) > 0", (self.text,))


@dataclass(frozen=True)
class Not(Condition):
    """Holds where another condition does not."""

    condition: Condition

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        inner = self.condition.sql()
        # A comparison with a null is false in OData, unknown in SQL: its opposite must be true.
        return Sql(f"not coalesce({inner.text}, 0)", inner.parameters)


def _joined(word: str, conditions: Sequence[Condition]) -> Sql:
    parts = [condition.sql() for condition in conditions]
    text = f" {word} ".join(part.text for part in parts)
    return Sql(f"({text})", tuple(value for part in parts for value in part.parameters))


@dataclass(frozen=True)
class All(Condition):
    """Holds where each of some conditions does; there is at least one."""

    conditions: tuple[Condition, ...]

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        return _joined("and", self.conditions)


@dataclass(frozen=True)
class Either(Condition):
    """Holds where at least one of some conditions does."""

    conditions: tuple[Condition, ...]

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        return _joined("or", self.conditions)


@dataclass(frozen=True)
class SomeItem(Condition):
    """Holds where a condition on ITEM does for one text of a list of strings; without one, where the list has any."""

    column: Column
    condition: Condition | None = None

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        if self.condition is None:
            return Sql(f"json_array_length({self.column.sql}) > 0")
        inner = self.condition.sql()
        # The names are the product's own.
        text = f"exists (select 1 from json_each({self.column.sql}) as each where {inner.text})"  # noqa: S608
        return Sql(text, inner.parameters)


@dataclass(frozen=True)
class EachItem(Condition):
    """Holds where a condition on ITEM does for every text of a list of strings, and where the list is empty."""

    column: Column
    condition: Condition

    def sql(self) -> Sql:
        """Return the condition as SQL."""
        inner = self.condition.sql()
        text = f"not exists (select 1 from json_each({self.column.sql}) as each where not ({inner.text}))"  # noqa: S608
        return Sql(text, inner.parameters)
