"""$filter, $search and $orderby read as conditions and orders, without a server or a store.

Expected values: sources.md#query-options, OData 4.01 URL conventions for precedence and functions.
"""

import time
from datetime import UTC, datetime

import pytest

from pfxlab.emulator.graph.errors import GraphError
from pfxlab.emulator.graph.odata.filters import read_filter, read_order, read_search
from pfxlab.emulator.store.lists.columns import ITEM, json_property
from pfxlab.emulator.store.lists.conditions import (
    All,
    Compare,
    Condition,
    EachItem,
    Either,
    Holds,
    IsNull,
    Matches,
    Not,
    OneOf,
    Part,
    SomeItem,
)

NAME, AGE, TAGS, MOMENT = (
    json_property("name", "name"),
    json_property("age", "number"),
    json_property("tags", "strings"),
    json_property("at", "instant"),
)
FIELDS = {"name": NAME, "age": AGE, "tags": TAGS, "at": MOMENT}
IS_A, IS_B = Compare(NAME, "=", "a"), Compare(NAME, "=", "b")
OLD = Compare(AGE, ">", 9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name eq 'a'", IS_A),
        ("NAME eq 'a'", IS_A),
        ("name ne 'a'", Compare(NAME, "!=", "a")),
        ("age ge 9", Compare(AGE, ">=", 9)),
        ("name eq null", IsNull(NAME)),
        ("name ne null", Not(IsNull(NAME))),
        ("name eq 'o''neil'", Compare(NAME, "=", "o'neil")),
        ("at lt 2026-01-01T00:00:00Z", Compare(MOMENT, "<", datetime(2026, 1, 1, tzinfo=UTC))),
        ("name in ('a','b')", OneOf(NAME, ("a", "b"))),
        ("not (name eq 'a')", Not(IS_A)),
        ("startswith(name,'a')", Matches(NAME, Part.START, "a")),
        ("endsWith(name,'a')", Matches(NAME, Part.END, "a")),
        ("contains(name,'a')", Matches(NAME, Part.ANYWHERE, "a")),
        ("tags/any(t:t eq 'x')", SomeItem(TAGS, Compare(ITEM, "=", "x"))),
        ("tags/all(t:t ne 'x')", EachItem(TAGS, Compare(ITEM, "!=", "x"))),
    ],
)
def test_filter_selects_matching_rows(text: str, expected: Condition) -> None:
    """Comparisons, nulls, quotes, functions and lambdas are parsed as specified."""
    assert read_filter(text, FIELDS, "thing") == expected


def test_and_binds_closer_than_or() -> None:
    """`a or b and c` is `a or (b and c)`, as in OData's table of precedence; parentheses change it."""
    parts = {"a": IS_A, "b": IS_B, "c": OLD}
    loose = read_filter("name eq 'a' or name eq 'b' and age gt 9", FIELDS, "thing")
    tight = read_filter("(name eq 'a' or name eq 'b') and age gt 9", FIELDS, "thing")
    assert loose == Either((parts["a"], All((parts["b"], parts["c"]))))
    assert tight == All((Either((parts["a"], parts["b"])), parts["c"]))


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("name eq", "BadRequest", "Syntax error at position"),
        ("", "BadRequest", "Syntax error at position 0"),
        ("height eq 1", "Request_UnsupportedQuery", "property 'height' of resource 'thing'"),
        ("length(name) eq 3", "Request_UnsupportedQuery", "resource 'thing'"),
        ("name eq 'a' " + "or (name eq 'a' " * 50 + ")" * 50, "BadRequest", "nested deeper than 40"),
        (f"contains(name,'{'x' * 1001}')", "BadRequest", "longer than 1000"),
        ("tags eq 'x'", "Request_UnsupportedQuery", "'tags'"),
        ("(" * 8000, "BadRequest", "nested deeper than 40"),
        ("not " * 2000 + "a", "BadRequest", "nested deeper than 40"),
        ("-" * 8000, "BadRequest", "nested deeper than 40"),
        ("a/" * 4000 + "a eq 1", "BadRequest", "nested deeper than 40"),
        ("name/any(x:" * 700, "BadRequest", "nested deeper than 40"),
        ("tolower(" * 1000, "BadRequest", "nested deeper than 40"),
        (f"age in ({'1,' * 4000}1)", "BadRequest", "more than 1500 words"),
        ("age eq " + "9" * 5000, "BadRequest", "digits"),
        ("x" * 8191, "BadRequest", "at most 8190 characters, got 8191"),
    ],
)
def test_filter_that_cannot_be(text: str, code: str, said: str) -> None:
    """An invalid filter, or one on a property without filters, is refused with Graph's code."""
    with pytest.raises(GraphError) as refused:
        read_filter(text, FIELDS, "thing")
    assert (refused.value.status, refused.value.code) == (400, code)
    assert said in refused.value.text


def test_search_joins_clauses() -> None:
    """AND binds closer than OR in $search as well; only properties that can be searched are taken."""
    a, b = Holds(NAME, "x"), Holds(NAME, "y z")
    assert read_search('"name:x" AND "name:y z"', FIELDS, ("name",)) == Either((All((a, b)),))
    assert read_search('"name:x" OR "name:y z"', FIELDS, ("name",)) == Either((All((a,)), All((b,))))
    for text in ('"age:9"', "x", '"name:x" AND', "AND"):
        with pytest.raises(GraphError, match="search"):
            read_search(text, FIELDS, ("name",))


@pytest.mark.parametrize(
    "text",
    [
        f"a{' ' * 400_000}b",
        f"a{' ' * 400_000}AND{' ' * 400_000}b",
        " AND " * 80_000,
        '"' * 400_000,
        f'"name:{" " * 400_000}',
    ],
    ids=("blanks", "blanks around AND", "AND", "quotes", "text"),
)
def test_search_of_any_text_is_read_in_one_pass(text: str) -> None:
    """Parsing a $search takes linear time in its length; quadratic time would take minutes here."""
    begin = time.thread_time()
    with pytest.raises(GraphError, match="search"):
        read_search(text, FIELDS, ("name",))
    assert time.thread_time() - begin < 2


def test_longest_expressions_that_tools_write_are_read() -> None:
    """Two hundred conditions, and a list of as many ids as fit into an address, are accepted."""
    conditions = " or ".join(f"startswith(name,'{number}')" for number in range(200))
    assert isinstance(read_filter(conditions, FIELDS, "thing"), Either)
    ids = ",".join(f"'{number:08}-0000-0000-0000-000000000000'" for number in range(200))
    condition = read_filter(f"name in ({ids})", FIELDS, "thing")
    assert isinstance(condition, OneOf)
    assert len(condition.values) == 200


def test_orders_are_read_in_turn() -> None:
    """Several properties, each with asc, desc or neither; other words are refused."""
    assert [(one.column, one.descending) for one in read_order("name desc,age", FIELDS, "thing")] == [
        (NAME, True),
        (AGE, False),
    ]
    assert read_order(None, FIELDS, "thing") == []
    for text in ("height", "name upwards", "name desc,", ",".join(["name"] * 21)):
        with pytest.raises(GraphError, match="orderby"):
            read_order(text, FIELDS, "thing")
