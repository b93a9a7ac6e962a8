"""Conditions, orders and pages of lists, against rows and answers written by hand; no server, no OData."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pfxlab.emulator.store.database import Store
from pfxlab.emulator.store.directory import Directory
from pfxlab.emulator.store.lists.columns import ITEM, Column, constant, json_property
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
    Part,
    SomeItem,
)
from pfxlab.emulator.store.lists.lists import Lists, Numbered, Order, Wanted
from pfxlab.emulator.store.lists.views import USERS

NAME, AGE = json_property("name", "name"), json_property("age", "number")
EXACT, TAGS, MOMENT = json_property("name", "text"), json_property("tags", "strings"), json_property("at", "instant")
ANNA, BERT, NOBODY, ODD = range(4)
VALUES = [
    {"name": "Anna", "age": 30, "tags": ["a", "b"], "at": "2026-01-01T00:00:00Z"},
    {"name": "bert", "age": None, "tags": [], "at": "2026-01-01T00:00:00.5Z"},
    {"name": None, "age": 7, "tags": ["b"], "at": None},
    {"name": "5%_\\x' or 1=1", "age": 9, "tags": ["B", "c"], "at": "2026-02-01T00:00:00.0000000Z"},
]
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
CASES: dict[str, tuple[Condition, list[int]]] = {
    "everything": (Always(), [ANNA, BERT, NOBODY, ODD]),
    "a name, whatever the case": (Compare(NAME, "=", "anna"), [ANNA]),
    "a text, in its case": (Compare(EXACT, "=", "anna"), []),
    "a text in another case": (Compare(EXACT.upper(), "=", "ANNA"), [ANNA]),
    "unlike, a null too": (Compare(NAME, "!=", "anna"), [BERT, NOBODY, ODD]),
    "less, never a null": (Compare(AGE, "<", 9), [NOBODY]),
    "at least": (Compare(AGE, ">=", 9), [ANNA, ODD]),
    "a null": (IsNull(AGE), [BERT]),
    "not a null": (Not(IsNull(AGE)), [ANNA, NOBODY, ODD]),
    "the opposite of a comparison with a null": (Not(Compare(AGE, ">", 8)), [BERT, NOBODY]),
    "one of two": (OneOf(NAME, ("anna", "bert")), [ANNA, BERT]),
    "one of none": (OneOf(NAME, ()), []),
    "starts": (Matches(NAME, Part.START, "an"), [ANNA]),
    "ends": (Matches(NAME, Part.END, "rt"), [BERT]),
    "contains": (Matches(NAME, Part.ANYWHERE, "n"), [ANNA]),
    "a wildcard is a character": (Matches(NAME, Part.ANYWHERE, "%_\\x"), [ODD]),
    "a wildcard stands for nothing else": (Matches(NAME, Part.START, "a%a"), []),
    "a quote is a character": (Compare(NAME, "=", "5%_\\x' or 1=1"), [ODD]),
    "holds, whatever the case": (Holds(EXACT, "NN"), [ANNA]),
    "both": (All((Compare(AGE, ">", 8), Compare(NAME, "=", "anna"))), [ANNA]),
    "either": (Either((IsNull(AGE), Compare(AGE, "=", 7))), [BERT, NOBODY]),
    "both bind closer than either": (Either((All((IsNull(AGE), IsNull(NAME))), IsNull(NAME))), [NOBODY]),
    "has items": (SomeItem(TAGS), [ANNA, NOBODY, ODD]),
    "some item": (SomeItem(TAGS, Compare(ITEM, "=", "b")), [ANNA, NOBODY]),
    "each item, or none at all": (EachItem(TAGS, Compare(ITEM, "=", "b")), [BERT, NOBODY]),
    "a moment, however it is written": (Compare(MOMENT, "=", NEW_YEAR), [ANNA]),
    "after a moment, by fractions": (Compare(MOMENT, ">", NEW_YEAR), [BERT, ODD]),
    "a constant": (Compare(constant("it's", "text"), "=", "it's"), [ANNA, BERT, NOBODY, ODD]),
}


@pytest.fixture
def store() -> Iterator[Store]:
    """Return an empty store in memory."""
    opened = Store()
    yield opened
    opened.close()


@pytest.mark.parametrize("name", CASES)
def test_condition_selects_the_expected_rows(store: Store, name: str) -> None:
    """Each condition selects the values listed by hand, and counts them."""
    condition, expected = CASES[name]
    listed = Lists(store).of(VALUES)
    assert listed.pick(condition, [], 10, 0) == expected
    assert listed.count(condition) == len(expected)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([Order(AGE)], [BERT, NOBODY, ODD, ANNA]),
        ([Order(AGE, descending=True)], [ANNA, ODD, NOBODY, BERT]),
        ([Order(NAME)], [NOBODY, ODD, ANNA, BERT]),
        ([Order(MOMENT, descending=True)], [ODD, BERT, ANNA, NOBODY]),
        ([Order(constant(0, "boolean")), Order(AGE, descending=True)], [ANNA, ODD, NOBODY, BERT]),
    ],
)
def test_values_are_sorted_as_requested(store: Store, order: list[Order], expected: list[int]) -> None:
    """Nulls sort first, names without case, moments by time; constants change nothing."""
    assert Lists(store).of(VALUES).pick(None, order, 10, 0) == expected


def test_indexed_text_is_compared_in_its_case_with_the_help_of_the_index(store: Store) -> None:
    """A text with an index in lower case is found by its exact form only, through the index."""
    column = Column("user_principal_name", "cased")
    sql = Compare(column, "=", "Anna@x").sql()
    assert sql.parameters == ("anna@x", "Anna@x")
    (plan,) = store.rows(f"explain query plan select id from pfx_certificates where {sql.text}", sql.parameters)  # noqa: S608
    assert "pfx_lower_upn" in plan["detail"]


@pytest.fixture
def users(store: Store) -> Lists:
    """Return the lists of a store with five users of one tenant and one of another."""
    directory = Directory(store)
    for number in range(6):
        tenant = "other" if number == 2 else "mine"
        row = {"id": f"u{number}", "tenant_id": tenant, "user_principal_name": f"p{number}@x", "mail": None}
        directory.add_user({**row, "display_name": f"N{9 - number}", "created": "2026-01-01T00:00:00.000000Z"})
    return Lists(store)


def ids(found: list[Numbered]) -> list[object]:
    """Return the ids of numbered rows."""
    return [row["id"] for _, row in found]


def test_pages_follow_each_other_without_gap(users: Lists) -> None:
    """A page continues with the tenant's next row after the previous page, and ends with the last row."""
    wanted = Wanted(USERS, "mine")
    first = users.page(wanted, [], 2)
    second = users.page(wanted, [], 2, after=first[-1].number)
    third = users.page(wanted, [], 2, after=second[-1].number)
    assert [ids(page) for page in (first, second, third)] == [["u0", "u1"], ["u3", "u4"], ["u5"]]
    assert users.count(wanted) == 5


def test_part_filter_order_and_skip_work_together(users: Lists) -> None:
    """Only rows that match the filter are sorted, skipped and counted."""
    within = Compare(USERS["id"], "!=", "u0")
    wanted = Wanted(USERS, "mine", within, Compare(USERS["user_principal_name"], "<", "p5@x"))
    found = users.page(wanted, [Order(USERS["display_name"])], 5)
    assert ids(found) == ["u4", "u3", "u1"]
    assert ids(users.page(wanted, [Order(USERS["display_name"])], 5, skip=2)) == ["u1"]
    assert users.count(wanted) == 3


def test_row_of_a_view_is_found_by_its_id(users: Lists) -> None:
    """A row of a view is found by its id, and by no other."""
    found = users.row(USERS, "u3")
    assert found is not None
    assert found["user_principal_name"] == "p3@x"
    assert users.row(USERS, "u9") is None
