"""What queries on directory objects may do, by default and with the advanced query parameters. Pure.

Those are the header ConsistencyLevel: eventual together with $count=true. Sources: sources.md#directory-queries,
sources.md#directory-sorting, sources.md#directory-page-size.
"""

from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.graph.odata import refusals

MOST_OBJECTS: Final = 999
"""Objects that $top may ask for."""

_DATES: Final = frozenset({"createddatetime", "deleteddatetime"})
_NAME: Final = frozenset({"displayname"})


def check_top(top: int | None) -> None:
    """Refuse a $top beyond what a page of directory objects may hold: sources.md#directory-page-size.

    Raises:
        GraphError: it is none of 1 to 999.

    """
    if top is not None and not 1 <= top <= MOST_OBJECTS:
        raise refusals.page_size(top)


@dataclass(frozen=True)
class _Sorting:
    """Properties that objects of a type can be sorted by, in lower case."""

    default: frozenset[str]
    advanced: frozenset[str]


_SORTING: Final = {
    "user": _Sorting(_NAME | {"userprincipalname"}, _DATES),
    "group": _Sorting(_NAME, frozenset({"deleteddatetime"})),
    "device": _Sorting(frozenset(), _DATES | _NAME),
    "application": _Sorting(frozenset(), _DATES | _NAME),
    "servicePrincipal": _Sorting(frozenset(), _DATES | _NAME),
    "directoryObject": _Sorting(frozenset(), _DATES | _NAME),
}
"""Type → what sorts it; a type that is not here sorts by everything."""


@dataclass(frozen=True)
class DirectoryQuery:
    """One query on directory objects of a type: whether it has the advanced parameters, and what is switched.

    `contains`: the switch directory_contains.
    """

    kind: str
    advanced: bool
    contains: str

    @property
    def resource(self) -> str:
        """The type as the directory's refusals name it."""
        return self.kind[:1].upper() + self.kind[1:]

    def check_order(self, text: str | None, *, filtered: bool) -> None:
        """Refuse an $orderby that the directory does not serve.

        Raises:
            GraphError: it comes with a $filter and without the advanced parameters, or names another property.

        """
        if not text:
            return
        if filtered and not self.advanced:
            raise refusals.sorting_unsupported()
        sorting = _SORTING.get(self.kind)
        for item in text.split(",") if sorting is not None else ():
            name = item.strip().partition(" ")[0]
            allowed = name.casefold() in sorting.default if sorting is not None else True
            if not allowed and not (self.advanced and sorting and name.casefold() in sorting.advanced):
                raise refusals.unsorted_property(name, self.resource, advanced=self.advanced)
