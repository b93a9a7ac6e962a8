"""$filter, $search and $orderby as conditions and orders on the columns of a list.

Sources: sources.md#record-filters, sources.md#query-options, sources.md#directory-queries, sources.md#odata-quotes.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from odata_query import ast, visitor

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.filter_grammar import DEEPEST, parse
from pfxlab.emulator.graph.odata.query import small
from pfxlab.emulator.store.lists.columns import FOLDED_ITEM, ITEM, Column, Value, item_property
from pfxlab.emulator.store.lists.conditions import (
    All,
    Always,
    Compare,
    Condition,
    EachItem,
    Either,
    Holds,
    IsNull,
    Matches,
    Not,
    OneOf,
    Operator,
    Part,
    SomeItem,
)
from pfxlab.emulator.store.lists.lists import Order
from pfxlab.emulator.wire.edm import parse_date_time
from pfxlab.emulator.wire.enums import parse_member

_LONGEST: Final = 200
_LONGEST_TEXT: Final = 1000
_MOST_ORDERS: Final = 20
_MOST_SEARCHED: Final = 19
_CLAUSE: Final = re.compile(r'"?(?P<name>\w+):(?P<text>[^"]{1,200})"?')
# Linear: a match begins at the first blank of a run only, and takes the whole run.
_JOINS: Final = re.compile(r"(?<!\s)\s++(AND|OR)\s++")
_PARTS: Final = tuple(Part)
_COMPARATORS: Final[dict[type[Any], Operator]] = {
    ast.Eq: "=", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="
}  # fmt: skip


Unknown: TypeAlias = Callable[[str], errors.GraphError]
"""Makes the refusal of a property that cannot be filtered."""


class _Ignored(Exception):
    """A condition on a property that a quirky service passes over."""


class _ConditionVisitor(visitor.NodeVisitor):
    """Turns a parsed $filter into a condition."""

    def __init__(
        self, fields: Mapping[str, Column], resource: str, *, quirks: bool = False, unknown: Unknown | None = None
    ) -> None:
        self._fields = {name.casefold(): field for name, field in fields.items()}
        self._resource, self._quirks, self._unknown = resource, quirks, unknown
        self._depth = 0

    def field(self, node: Any) -> Column:
        name = _path(node)
        field = self._fields.get(name.casefold())
        if field is None and self._quirks:
            raise _Ignored
        if field is None:
            raise self._refusal(name)
        return field

    def _refusal(self, name: str) -> errors.GraphError:
        return errors.unsupported_filter(name, self._resource) if self._unknown is None else self._unknown(name)

    def visit(self, node: Any) -> Any:
        """Visit a node; expressions nested deeper than anybody writes are refused, SQLite could not parse them."""
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise errors.invalid_filter(f"expressions nested deeper than {DEEPEST} are not supported")
            return super().visit(node)
        except _Ignored:
            return Always()
        finally:
            self._depth -= 1

    def visit_BoolOp(self, node: ast.BoolOp) -> Condition:  # noqa: N802 - names of the visitor's protocol
        # `a or b or c` comes as a tree that leans to the left; it becomes one flat condition.
        operator, parts = type(node.op), []
        left: Any = node
        while isinstance(left, ast.BoolOp) and isinstance(left.op, operator):
            parts.append(left.right)
            left = left.left
        if len(parts) >= _LONGEST:
            raise errors.invalid_filter(f"more than {_LONGEST} conditions are not supported")
        conditions = tuple(self.visit(part) for part in (left, *reversed(parts)))
        return All(conditions) if operator is ast.And or self._quirks else Either(conditions)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Condition:  # noqa: N802
        inner = self.visit(node.operand)
        if self._quirks and isinstance(inner, Always):
            return inner
        if not isinstance(node.op, ast.Not):
            raise errors.invalid_filter("only 'not' may stand before an expression")
        return Not(inner)

    def visit_Compare(self, node: ast.Compare) -> Condition:  # noqa: N802
        if isinstance(node.comparator, ast.In):
            if self._quirks:
                raise errors.internal("the switch filter_quirks: `in` breaks the service", errors.DEVICE_SERVICE)
            return self._in(node)
        field = self._operand(node.left)
        if field.kind in ("strings", "objects"):
            raise errors.unsupported_filter(getattr(node.left, "name", "list"), self._resource)
        comparator = _COMPARATORS[type(node.comparator)]
        if self._quirks and comparator == "!=":
            comparator = "="
        # What is never null is compared with literals only.
        if isinstance(node.right, ast.Null) and not (field.kind == "cased" and comparator == "="):
            return Not(IsNull(field)) if comparator == "!=" else IsNull(field)
        return Compare(field, comparator, self._literal(node.right, field))

    def visit_CollectionLambda(self, node: ast.CollectionLambda) -> Condition:  # noqa: N802
        """`any` and `all` over a list of strings."""
        owner = self.field(node.owner)
        if owner.kind not in ("strings", "objects"):
            raise errors.unsupported_filter(getattr(node.owner, "name", "any"), self._resource)
        if node.lambda_ is None:
            return SomeItem(owner)
        name = node.lambda_.identifier.name.casefold()
        outer = self._fields
        parts = {f"{name}/{part.casefold()}": item_property(part) for part in owner.items}
        self._fields = {**outer, **(parts or {name: FOLDED_ITEM if owner.folded else ITEM})}
        inner = self.visit(node.lambda_.expression)
        self._fields = outer
        return SomeItem(owner, inner) if isinstance(node.operator, ast.Any) else EachItem(owner, inner)

    def visit_Call(self, node: ast.Call) -> Condition:  # noqa: N802
        if node.func.name == "isof":
            return self._isof(node)
        if node.func.name not in _PARTS or len(node.args) != 2:
            raise errors.invalid_filter(f"the function '{node.func.name}' is not supported here")
        field = self._operand(node.args[0])
        value = self._literal(node.args[1], field)
        if len(str(value)) > _LONGEST_TEXT:
            raise errors.invalid_filter(f"texts longer than {_LONGEST_TEXT} characters are not supported here")
        return Matches(field, Part(node.func.name), value)

    def _isof(self, node: ast.Call) -> Condition:
        field = self._fields.get("@odata.type")
        (name,) = node.args
        if field is None or not isinstance(name, ast.String):
            raise errors.invalid_filter("isof takes the quoted name of a type of the collection")
        return Compare(field.lower(), "=", f"#{name.val.removeprefix('#').lower()}")

    def _in(self, node: ast.Compare) -> Condition:
        field = self._operand(node.left)
        return OneOf(field, tuple(self._literal(value, field) for value in getattr(node.right, "val", ())))

    def _operand(self, node: Any) -> Column:
        if isinstance(node, ast.Call) and node.func.name in ("tolower", "toupper") and len(node.args) == 1:
            field = self.field(node.args[0])
            return field.lower() if node.func.name == "tolower" else field.upper()
        return self.field(node)

    def _literal(self, node: Any, field: Column) -> Value:
        value = getattr(node, "val", None)
        if value is None:
            raise errors.invalid_filter("expected a literal on the right-hand side")
        try:
            return _value(str(value), field)
        except (ValueError, KeyError) as error:
            raise errors.invalid_filter(str(error)) from None

    def generic_visit(self, node: Any) -> Condition:
        """Refuse what no method above handles."""
        raise errors.invalid_filter(f"{type(node).__name__} is not supported here")


def _path(node: Any) -> str:
    """Return a property as a query names it, with those that lead to it: `a/b`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.owner
    first = node.name if isinstance(node, ast.Identifier) else type(node).__name__
    return "/".join([first, *reversed(parts)])


def _value(literal: str, field: Column) -> Value:
    """Return what a literal of OData stands for beside a column.

    Raises:
        ValueError: it is none of the column's kind.
        KeyError: likewise.

    """
    match field.kind:
        case "date" | "instant":
            return parse_date_time(literal)
        case "boolean":
            return {"true": 1, "false": 0}[literal.lower()]
        case "enum" if field.enum is not None:
            return int(parse_member(field.enum, literal).value)
        case "number":
            return small(int(literal))
        case "name":
            return literal.lower()
        case _:
            return literal


def read_filter(
    text: str,
    fields: Mapping[str, Column],
    resource: str,
    *,
    quirks: bool = False,
    unknown: Unknown | None = None,
    admit: Callable[[Any], None] | None = None,
) -> Condition:
    """Return a $filter as a condition; `quirks` are those of sources.md#managed-device-filters.

    `unknown` makes the refusal of a property that cannot be filtered, `admit` raises one for what a parsed $filter may
    not do.

    Raises:
        GraphError: it does not parse, or uses a property or function that cannot be filtered.

    """
    tree = parse(text)
    if admit is not None:
        admit(tree)
    condition: Condition = _ConditionVisitor(fields, resource, quirks=quirks, unknown=unknown).visit(tree)
    return condition


def read_search(text: str, fields: Mapping[str, Column], searched: tuple[str, ...]) -> Condition:
    """Return a $search as a condition: `"displayName:mail"`, several joined by AND, which binds closer, or OR.

    `searched`: the properties it may look into.

    Raises:
        GraphError: it is no such text, or names another property.

    """
    parts = _JOINS.split(text.strip())
    if len(parts) > _MOST_SEARCHED:
        raise errors.invalid_option("$search", f"expected at most {_MOST_SEARCHED // 2 + 1} clauses, got more")
    groups: list[list[Condition]] = [[]]
    for clause, before in zip(parts[::2], (None, *parts[1::2]), strict=True):
        match = _CLAUSE.fullmatch(clause)
        if match is None or match["name"] not in searched:
            raise errors.invalid_option("$search", f'expected "property:text", got {clause[:80]!r}')
        if before == "OR":
            groups.append([])
        groups[-1].append(Holds(fields[match["name"]], match["text"]))
    return Either(tuple(All(tuple(group)) for group in groups))


def read_order(text: str | None, fields: Mapping[str, Column], resource: str) -> list[Order]:
    """Return the columns that an $orderby names.

    Raises:
        GraphError: a property that cannot be sorted, or a direction other than asc and desc.

    """
    if not text:
        return []
    known = {name.casefold(): field for name, field in fields.items()}
    items = text.split(",")
    if len(items) > _MOST_ORDERS:
        raise errors.invalid_option("$orderby", f"expected at most {_MOST_ORDERS} properties, got {len(items)}")
    order = []
    for item in items:
        name, _, direction = item.strip().partition(" ")
        direction = direction.strip().lower()
        if name.casefold() not in known or direction not in ("", "asc", "desc"):
            reason = f"expected properties of {resource} that can be sorted, each with asc or desc, got {item[:80]!r}"
            raise errors.invalid_option("$orderby", reason)
        order.append(Order(known[name.casefold()], direction == "desc"))
    return order
