"""OData query options: $select, $top, $skip, $count and paging; $filter and $orderby are read in filters.py.

The `$` of a name may be missing, as on Graph's beta endpoint; nextLinks keep every other option. Sources:
sources.md#query-options, sources.md#paging, sources.md#page-size, sources.md#list-order.
"""

import base64
import json
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.expand import Expansion, read_expand

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
LONGEST_URL: Final = 8190
"""Characters in the address of a request, or of one in a batch."""

_DIGITS: Final = 15


class QueryOptions:
    """The query options of one request."""

    def __init__(self, query_string: str) -> None:
        self._pairs = [(_name(name), value) for name, value in parse_qsl(query_string, keep_blank_values=True)]
        self._values = dict(self._pairs)
        self._selected = _names(self._values.get("$select", ""))
        self._expansions: list[Expansion] | None = None

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
    def expansions(self) -> list[Expansion]:
        """Return what $expand names.

        Raises:
            GraphError: it does not parse.

        """
        if self._expansions is None:
            text = self.text("expand")
            self._expansions = read_expand(text) if text else []
        return self._expansions

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
            if more or name not in _PLACES or small(int(number)) < 0:
                raise ValueError("not one known place")
            return Place(**{_PLACES[name]: int(number)})
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
            raise errors.invalid_option("$skiptoken", "expected a token of a nextLink") from None

    def project(self, item: dict[str, Any], *kept: str) -> dict[str, Any]:
        """Return an entity cut down to $select; annotations and the `kept` properties stay."""
        if self._selected is None:
            return item
        names = self._selected.union(name.casefold() for name in (*kept, *(one.name for one in self.expansions)))
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


def small(number: int) -> int:
    """Return a number that SQLite can take.

    Raises:
        ValueError: it has too many digits.

    """
    if not -(10**_DIGITS) < number < 10**_DIGITS:
        raise ValueError(f"expected a number of at most {_DIGITS} digits")
    return number


def _names(select: str) -> frozenset[str] | None:
    """Return the properties that a $select names, in lower case, or None for all of them."""
    if not select or select.strip() == "*":
        return None
    return frozenset(name.strip().casefold() for name in select.split(","))


def _name(name: str) -> str:
    plain = name.removeprefix("$").lower()
    return f"${plain}" if plain in _OPTIONS else name
