"""OData query options: $filter to parameterised SQL over a whitelist, $select, $orderby, paging.

The `$` of a name may be missing, as on Graph's beta endpoint; nextLinks keep every other option.
Source: reference graph-intune 1.6 and 5.8.
"""

import base64
import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from odata_query import ast, exceptions, visitor
from odata_query.grammar import ODATA_FUNCTIONS, ODataLexer, ODataParser

from pfxlab.emulator.graph import errors
from pfxlab.emulator.store.database import to_text
from pfxlab.emulator.wire.edm import parse_date_time
from pfxlab.emulator.wire.enums import parse_member

# Scripts ask for a type's profiles by isof('microsoft.graph.…'), which the parser's table of functions lacks.
ODATA_FUNCTIONS.setdefault("isof", 1)

_OPTIONS: Final = (
    "filter",
    "select",
    "orderby",
    "top",
    "skip",
    "skiptoken",
    "count",
    "expand",
    "search",
    "format",
)
_DIGITS: Final = 15
_DEEPEST: Final = 40
_LONGEST: Final = 200
_LONGEST_TEXT: Final = 1000
_MOST_ORDERS: Final = 20
_COMPARATORS: Final = {ast.Eq: "=", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class Field(NamedTuple):
    """A property that can be filtered and sorted: its column, and how a literal becomes the column's value."""

    column: str
    kind: str = "text"
    """text, cased (text with an index in lower case), name (case-blind), date (as stored), instant (as on the wire),
    enum, number, boolean, strings (a JSON list: `any` and `all`), type (the @odata.type, for `isof`)."""

    enum: type[Enum] | None = None


class Sql(NamedTuple):
    """A piece of SQL with its parameters."""

    text: str
    parameters: tuple[Any, ...] = ()


class QueryOptions:
    """The query options of one request."""

    def __init__(self, query_string: str) -> None:
        self._pairs = [(_name(name), value) for name, value in parse_qsl(query_string, keep_blank_values=True)]
        self._values = dict(self._pairs)

    def text(self, option: str) -> str | None:
        """Return the value of an option such as `filter`, or None."""
        return self._values.get(f"${option}")

    def number(self, option: str, lowest: int = 0) -> int | None:
        """Return the value of $top or $skip.

        Raises:
            GraphError: not a whole number, or below `lowest`.

        """
        text = self.text(option)
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or int(text) < lowest:
            raise errors.invalid_option(f"${option}", f"expected a whole number from {lowest}, got {text[:40]!r}")
        return int(text)

    @property
    def count(self) -> bool:
        """Return whether the number of all matches is asked for."""
        return (self.text("count") or "").lower() == "true"

    def place(self) -> "Place":
        """Return where in the collection the page begins.

        Raises:
            GraphError: a $skiptoken that is not ours.

        """
        token = self.text("skiptoken")
        if token is None:
            return Place(offset=self.number("skip") or 0)
        try:
            given = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            (name, number), *more = given.items()
            if more or name not in _PLACES or _small(int(number)) < 0:
                raise ValueError("not one known place")
            return Place(**{_PLACES[name]: int(number)})
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
            raise errors.invalid_option("$skiptoken", "expected a token of a nextLink") from None

    def project(self, item: dict[str, Any], *kept: str) -> dict[str, Any]:
        """Return an entity cut down to $select; annotations and the `kept` properties stay."""
        select = self.text("select")
        if not select or select.strip() == "*":
            return item
        names = {name.strip().casefold() for name in select.split(",")}
        names |= {name.casefold() for name in kept}
        return {name: value for name, value in item.items() if "@" in name or name.casefold() in names}

    def select_fragment(self) -> str:
        """Return `(a,b)` for the context of a selected entity, or nothing."""
        select = self.text("select")
        return f"({','.join(part.strip() for part in select.split(','))})" if select else ""

    def next_link(self, url: str, place: "Place") -> str:
        """Return the absolute address of the next page: all options kept, percent-encoded throughout."""
        kept = [(name, value) for name, value in self._pairs if name not in ("$skiptoken", "$skip")]
        body = {"r": place.after} if place.after is not None else {"o": place.offset}
        token = base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode("ascii")
        encoded = urlencode([*kept, ("$skiptoken", token)], quote_via=quote)
        return f"{url}?{encoded.replace('%24', '$')}"


class Place(NamedTuple):
    """Where a page begins: after so many matches, or after a row, which no change in between can shift."""

    offset: int = 0
    after: int | None = None


_PLACES: Final = {"o": "offset", "r": "after"}


def whole_instant(column: str) -> str:
    """Return a wire date with all seven fraction digits: zeros are left out, and text order needs them."""
    fraction = f"substr(rtrim(substr({column}, 21), 'Z') || '0000000', 1, 7)"
    return f"(substr({column}, 1, 19) || '.' || {fraction})"


def _small(number: int) -> int:
    if not -(10**_DIGITS) < number < 10**_DIGITS:
        raise ValueError(f"expected a number of at most {_DIGITS} digits")
    return number


def _name(name: str) -> str:
    plain = name.removeprefix("$").lower()
    return f"${plain}" if plain in _OPTIONS else name


class _Ignored(Exception):
    """A condition on a property that a quirky service passes over."""


class _SqlVisitor(visitor.NodeVisitor):
    """Turns a parsed $filter into SQL whose every literal is a parameter."""

    def __init__(self, fields: Mapping[str, Field], resource: str, *, quirks: bool = False) -> None:
        self._fields = {name.casefold(): field for name, field in fields.items()}
        self._resource, self._quirks = resource, quirks
        self._depth = 0

    def field(self, node: Any) -> Field:
        name = node.name if isinstance(node, ast.Identifier) else type(node).__name__
        field = self._fields.get(name.casefold())
        if field is None and self._quirks:
            raise _Ignored
        if field is None:
            raise errors.unsupported_filter(name, self._resource)
        return field

    def visit(self, node: Any) -> Any:
        """Visit a node; expressions nested deeper than anybody writes are refused, SQLite could not parse them."""
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise errors.invalid_filter(f"expressions nested deeper than {_DEEPEST} are not supported")
            return super().visit(node)
        except _Ignored:
            return Sql("true")
        finally:
            self._depth -= 1

    def visit_BoolOp(self, node: ast.BoolOp) -> Sql:  # noqa: N802 - names of the visitor's protocol
        # `a or b or c` comes as a tree that leans to the left; it becomes one flat condition.
        operator, parts = type(node.op), []
        left: Any = node
        while isinstance(left, ast.BoolOp) and isinstance(left.op, operator):
            parts.append(left.right)
            left = left.left
        if len(parts) >= _LONGEST:
            raise errors.invalid_filter(f"more than {_LONGEST} conditions are not supported")
        compiled = [self.visit(part) for part in (left, *reversed(parts))]
        word = " and " if operator is ast.And or self._quirks else " or "
        return Sql(f"({word.join(sql.text for sql in compiled)})", tuple(v for sql in compiled for v in sql.parameters))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Sql:  # noqa: N802
        inner = self.visit(node.operand)
        if self._quirks and inner.text == "true":
            return Sql("true")
        if not isinstance(node.op, ast.Not):
            raise errors.invalid_filter("only 'not' may stand before an expression")
        # A comparison with a null is false in OData, unknown in SQL: its opposite must be true.
        return Sql(f"not coalesce({inner.text}, 0)", inner.parameters)

    def visit_Compare(self, node: ast.Compare) -> Sql:  # noqa: N802
        if isinstance(node.comparator, ast.In):
            if self._quirks:
                raise errors.internal("the switch filter_quirks: `in` breaks the service", errors.DEVICE_SERVICE)
            return self._in(node)
        left, field = self._operand(node.left)
        if field.kind == "strings":
            raise errors.unsupported_filter(getattr(node.left, "name", "list"), self._resource)
        comparator = _COMPARATORS[type(node.comparator)]
        if self._quirks and comparator == "!=":
            comparator = "="
        if field.kind == "cased" and comparator == "=" and left == field.column:
            # The index is on the lower-case form; the exact form decides among the few it finds.
            value = str(self._literal(node.right, field))
            return Sql(f"(lower({left}) = ? and {left} = ?)", (value.lower(), value))
        if isinstance(node.right, ast.Null):
            return Sql(f"{left} is {'not ' if comparator == '!=' else ''}null")
        value = self._literal(node.right, field)
        return Sql(f"{left} {'is not' if comparator == '!=' else comparator} ?", (value,))

    def visit_CollectionLambda(self, node: ast.CollectionLambda) -> Sql:  # noqa: N802
        """`any` and `all` over a list of strings."""
        owner = self.field(node.owner)
        if owner.kind != "strings":
            raise errors.unsupported_filter(getattr(node.owner, "name", "any"), self._resource)
        if node.lambda_ is None:
            return Sql(f"json_array_length({owner.column}) > 0")
        name = node.lambda_.identifier.name.casefold()
        outer = self._fields
        self._fields = {**outer, name: Field("each.value")}
        inner = self.visit(node.lambda_.expression)
        self._fields = outer
        each = f"from json_each({owner.column}) as each where"
        if isinstance(node.operator, ast.Any):
            return Sql(f"exists (select 1 {each} {inner.text})", inner.parameters)
        return Sql(f"not exists (select 1 {each} not ({inner.text}))", inner.parameters)

    def visit_Call(self, node: ast.Call) -> Sql:  # noqa: N802
        if node.func.name == "isof":
            return self._isof(node)
        patterns = {"startswith": ("", "%"), "endswith": ("%", ""), "contains": ("%", "%")}
        if node.func.name not in patterns or len(node.args) != 2:
            raise errors.invalid_filter(f"the function '{node.func.name}' is not supported here")
        left, field = self._operand(node.args[0])
        before, after = patterns[node.func.name]
        if len(str(self._literal(node.args[1], field))) > _LONGEST_TEXT:
            raise errors.invalid_filter(f"texts longer than {_LONGEST_TEXT} characters are not supported here")
        escaped = str(self._literal(node.args[1], field))
        for special in "\\%_":
            escaped = escaped.replace(special, f"\\{special}")
        return Sql(f"{left} like ? escape '\\'", (f"{before}{escaped}{after}",))

    def _isof(self, node: ast.Call) -> Sql:
        field = self._fields.get("@odata.type")
        (name,) = node.args
        if field is None or not isinstance(name, ast.String):
            raise errors.invalid_filter("isof takes the quoted name of a type of the collection")
        return Sql(f"lower({field.column}) = ?", (f"#{name.val.removeprefix('#').lower()}",))

    def _in(self, node: ast.Compare) -> Sql:
        left, field = self._operand(node.left)
        values = tuple(self._literal(value, field) for value in getattr(node.right, "val", ()))
        return Sql(f"{left} in ({', '.join('?' for _ in values)})", values)

    def _operand(self, node: Any) -> tuple[str, Field]:
        if isinstance(node, ast.Call) and node.func.name in ("tolower", "toupper") and len(node.args) == 1:
            field = self.field(node.args[0])
            sql = "lower" if node.func.name == "tolower" else "upper"
            return f"{sql}({field.column})", Field(field.column)
        field = self.field(node)
        if field.kind == "instant":
            return whole_instant(field.column), field
        return (f"lower({field.column})" if field.kind == "name" else field.column), field

    def _literal(self, node: Any, field: Field) -> Any:
        value = getattr(node, "val", None)
        if value is None:
            raise errors.invalid_filter("expected a literal on the right-hand side")
        try:
            match field.kind:
                case "date":
                    return to_text(parse_date_time(str(value)))
                case "instant":
                    return f"{to_text(parse_date_time(str(value)))[:26]}0"
                case "boolean":
                    return {"true": 1, "false": 0}[str(value).lower()]
                case "enum" if field.enum is not None:
                    return parse_member(field.enum, str(value)).value
                case "number":
                    return _small(int(value))
                case "name":
                    return str(value).lower()
                case _:
                    return str(value)
        except (ValueError, KeyError) as error:
            raise errors.invalid_filter(str(error)) from None

    def generic_visit(self, node: Any) -> Sql:
        """Refuse what no method above handles."""
        raise errors.invalid_filter(f"{type(node).__name__} is not supported here")


# Spellings the service takes and the parser does not: a list of one (it wants a comma), `not(`, and function names in
# any case, such as the startsWith of Microsoft's samples. Literals are passed over.
_SPELLINGS: Final = re.compile(
    r"'(?:[^']|'')*'|(?i:\bin)\s*\(\s*(?P<one>'(?:[^']|'')*'|[^'(),\s]+)\s*\)|(?P<not>(?i:\bnot))\s*\("
    r"|(?P<function>(?i:\b(?:startswith|endswith|contains|tolower|toupper|isof)))\s*\("
)


def _spelled(match: re.Match[str]) -> str:
    if match["one"] is not None:
        return f"in ({match['one']},)"
    if match["not"] is not None:
        return "not ("
    return match[0] if match["function"] is None else f"{match['function'].lower()}("


def compile_filter(text: str, fields: Mapping[str, Field], resource: str, *, quirks: bool = False) -> Sql:
    """Return a $filter as a SQL condition; `quirks` are those of the managedDevices service (graph-intune 4.3).

    Raises:
        GraphError: it does not parse, or uses a property or function that cannot be filtered.

    """
    try:
        tree = ODataParser().parse(ODataLexer().tokenize(_SPELLINGS.sub(_spelled, text)))
    except exceptions.ODataException as error:
        place = getattr(getattr(error, "token", None), "index", len(text))
        raise errors.invalid_filter(f"Syntax error at position {place} in '{text[:1000]}'.", str(error)) from None
    if tree is None:
        raise errors.invalid_filter(f"Syntax error at position 0 in '{text[:1000]}'.")
    result: Sql = _SqlVisitor(fields, resource, quirks=quirks).visit(tree)
    return result


def order_by(text: str | None, fields: Mapping[str, Field], resource: str) -> str:
    """Return `column, column desc` for an $orderby, or nothing.

    Raises:
        GraphError: a property that cannot be sorted, or a direction other than asc and desc.

    """
    if not text:
        return ""
    known = {name.casefold(): field for name, field in fields.items()}
    parts = []
    for item in text.split(","):
        name, _, direction = item.strip().partition(" ")
        if name.casefold() not in known or direction.strip().lower() not in ("", "asc", "desc"):
            reason = f"expected properties of {resource} that can be sorted, each with asc or desc, got {item[:80]!r}"
            raise errors.invalid_option("$orderby", reason)
        field = known[name.casefold()]
        column = whole_instant(field.column) if field.kind == "instant" else field.column
        blind = " collate nocase" if field.kind == "name" else ""
        parts.append(f"{column}{blind} {direction.strip().lower()}".rstrip())
    if len(parts) > _MOST_ORDERS:
        raise errors.invalid_option("$orderby", f"expected at most {_MOST_ORDERS} properties, got {len(parts)}")
    return ", ".join(parts)
