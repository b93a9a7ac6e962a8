"""Listing a collection: filter, order, page, count, cast. Entities come from a view, or are computed for the request.

Source: sources.md#qualified-names, sources.md#directory-queries.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata import refusals
from pfxlab.emulator.graph.odata.directory_queries import MOST_OBJECTS, DirectoryQuery, check_top
from pfxlab.emulator.graph.odata.model import ENTITY_SETS, ENUM_TYPES, derived_type, model_of
from pfxlab.emulator.graph.odata.names import refusal_of_filter
from pfxlab.emulator.graph.odata.query import Place
from pfxlab.emulator.graph.permissions import Permissions
from pfxlab.emulator.graph.request import Answer, GraphRequest, Handler, Json, page
from pfxlab.emulator.graph.router import CAST, Route, Router
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.lists.columns import Column, Kind, json_property
from pfxlab.emulator.store.lists.conditions import All, Condition
from pfxlab.emulator.store.lists.lists import Order, Wanted
from pfxlab.emulator.store.lists.views import View

_OBJECTS_ON_A_PAGE: Final = 100


class Collection:
    """A collection of entities of a type of the model, the caller's tenant's rows of a view.

    `fields` are the properties as columns by which it is filtered and sorted.
    """

    def __init__(
        self,
        fragment: str,
        view: View,
        fields: Mapping[str, Column],
        kind: str,
        to_json: Callable[[Row], Json],
        *,
        counts: bool = True,
        quirky: bool = False,
        searched: tuple[str, ...] = (),
    ) -> None:
        # `counts` False: $count=true is silently ignored, as for directory objects without ConsistencyLevel.
        # `quirky`: the switch filter_quirks is about this collection. `searched`: properties $search looks into.
        self._counts, self._quirky, self._searched = counts, quirky, searched
        self.fragment, self._view, self._fields = fragment, view, fields
        self._kind, self._to_json = kind, to_json

    def _wanted(self, request: GraphRequest, within: Condition | None) -> Wanted:
        """Return the rows that the request is about, as stored."""
        searched = self._search(request)
        parts = tuple(part for part in (within, searched) if part is not None)
        quirks = self._quirky and request.cloud.config.switches.filter_quirks == "on"
        queried = Queried(self._kind, self._fields, directory=not self._counts)
        condition = queried.filter(request, quirks=quirks)
        return Wanted(self._view, request.caller.tenant_id, All(parts) if parts else None, condition)

    def _search(self, request: GraphRequest) -> Condition | None:
        """Return what $search asks for; it is for collections that know it, with ConsistencyLevel only."""
        text = request.query.text("search")
        if text is None or not self._searched:
            return None
        if not request.eventual:
            raise errors.search_needs_header()
        from pfxlab.emulator.graph.odata.filters import read_search

        return read_search(text, self._fields, self._searched)

    def first(self, request: GraphRequest, most: int, within: Condition | None) -> list[Json]:
        """Return the first entities, whatever the request's query options are."""
        wanted = Wanted(self._view, request.caller.tenant_id, within)
        return [self._to_json(one.row) for one in request.cloud.lists.page(wanted, (), most)]

    def count(self, request: GraphRequest, within: Condition | None = None) -> int:
        """Return how many entities match the request's $filter."""
        return request.cloud.lists.count(self._wanted(request, within))

    def page(
        self,
        request: GraphRequest,
        size: int,
        *,
        within: Condition | None = None,
        expand: Callable[[Json], Json] | None = None,
        most: int | None = None,
    ) -> Answer:
        """Return one page of `size` entities, or of $top when that is no more than `most` (`size` if None).

        `within` limits the collection to a part of the tenant's rows.
        """
        wanted = self._wanted(request, within)
        queried = Queried(self._kind, self._fields, directory=not self._counts)
        order, top, place = queried.order(request), queried.top(request), request.query.place()
        limit = size if top is None else min(top, most or size)
        found = request.cloud.lists.page(wanted, order, limit + 1, after=place.after or 0, skip=place.offset)
        items = [self._to_json(one.row) for one in found[:limit]]
        if expand is not None:
            items = [expand(item) for item in items]
        first = place == Place(offset=request.query.number("skip") or 0)
        counted = (self._counts or request.eventual) and request.query.count and first
        total = request.cloud.lists.count(wanted) if counted else None
        following = None
        if len(found) > limit:
            # In an order of the client's own a row has no place but its number.
            following = Place(offset=place.offset + limit) if order else Place(after=found[limit - 1].number)
        return page(request, self.fragment + request.query.select_fragment(), items, total, following)


@dataclass(frozen=True)
class Queried:
    """The query options of a request about a collection: its type, and what it is filtered and sorted by.

    `directory`: the rules of directory objects are about it.
    """

    kind: str
    fields: Mapping[str, Column]
    directory: bool

    @property
    def _resource(self) -> str:
        return self.kind[:1].upper() + self.kind[1:] if self.directory else self.kind

    def _rules(self, request: GraphRequest) -> DirectoryQuery:
        counted = request.query.count or request.path.endswith("/$count")
        return DirectoryQuery(self.kind, request.eventual and counted, request.cloud.config.switches.directory_contains)

    def filter(self, request: GraphRequest, *, quirks: bool = False) -> Condition | None:
        """Return what $filter asks for.

        Raises:
            GraphError: it cannot be, or not so.

        """
        text = request.query.text("filter")
        if not text:
            return None
        # Its grammar takes a while to load: with the first list that needs it.
        from pfxlab.emulator.graph.odata.directory_filters import check_filter
        from pfxlab.emulator.graph.odata.filters import read_filter

        return read_filter(
            text,
            self.fields,
            self._resource,
            quirks=quirks,
            unknown=lambda name: refusal_of_filter(name, self.kind, request.version, self._resource),
            admit=partial(check_filter, self._rules(request)) if self.directory else None,
        )

    def order(self, request: GraphRequest) -> list[Order]:
        """Return what $orderby asks for.

        Raises:
            GraphError: it cannot be, or not so.

        """
        text = request.query.text("orderby")
        if not text:
            return []
        if self.directory:
            self._rules(request).check_order(text, filtered=bool(request.query.text("filter")))
        from pfxlab.emulator.graph.odata.filters import read_order

        return read_order(text, self.fields, self._resource)

    def top(self, request: GraphRequest) -> int | None:
        """Return what $top asks for.

        Raises:
            GraphError: it is no whole number, or not one that is taken.

        """
        top = request.query.number("top", 0 if self.directory else 1)
        if self.directory:
            check_top(top)
        return top


def computed(
    request: GraphRequest, fragment: str, items: Sequence[Json], type_name: str, size: int, *, directory: bool = False
) -> Answer:
    """Return a page of entities of one type of the model that no table holds.

    `directory`: as directory objects do, count only with ConsistencyLevel and take a $top of up to 999.
    """
    query = request.query
    queried = Queried(type_name, _json_fields(type_name, request.version), directory)
    condition, order = queried.filter(request), queried.order(request)
    top, place = queried.top(request), query.place()
    limit = size if top is None else min(top, MOST_OBJECTS if directory else size)
    listed = request.cloud.lists.of(items)
    found = listed.pick(condition, order, limit + 1, place.offset)
    total = None
    if query.count and query.text("skiptoken") is None and (request.eventual or not directory):
        total = listed.count(condition)
    following = Place(offset=place.offset + limit) if len(found) > limit else None
    shown = [items[index] for index in found[:limit]]
    return page(request, fragment + query.select_fragment(), shown, total, following)


_KINDS: Final[dict[str, Kind]] = {
    "DateTimeOffset": "instant",
    "Boolean": "boolean",
    "Int32": "number",
    "Int64": "number",
    "String[]": "strings",
}


@cache
def _all_properties(type_name: str, version: str) -> dict[str, str]:
    """Return the properties of a type and of those derived from it."""
    model = model_of(version)
    found = {
        name: short
        for kind in model.entity_types
        if derived_type(kind, type_name)
        for name, short in model.properties_of(kind).items()
    }
    return {**found, **model.properties_of(type_name)}


@cache
def _json_fields(type_name: str, version: str) -> dict[str, Column]:
    """Return the filterable properties of computed entities, from the model; texts compare case-blind."""
    return {
        name: json_property(name, _KINDS.get(short, "name"))
        for name, short in _all_properties(type_name, version).items()
        if short in _KINDS or short in ENUM_TYPES or short in ("String", "Guid")
    }


class Listing(ABC):
    """What a request lists: a collection of directory objects, or a part of one."""

    @abstractmethod
    def page(self, request: GraphRequest) -> Answer:
        """Return one page."""

    @abstractmethod
    def count(self, request: GraphRequest) -> int:
        """Return how many objects match the request's $filter."""

    @abstractmethod
    def first(self, request: GraphRequest, most: int) -> list[Json]:
        """Return the first objects, whatever the request's query options are."""

    @abstractmethod
    def of_type(self, name: str) -> "Listing":
        """Return the objects of one type, which then do not name it."""


@dataclass(frozen=True)
class StoredListing(Listing):
    """The rows of a collection that `within` lets pass.

    `shape` makes of an entity what a request shows of it; `casts`: type → the listing that its entities come from.
    """

    type_name: str
    collection: Collection
    shape: Callable[[GraphRequest, Json], Json]
    within: Condition | None = None
    casts: Mapping[str, "StoredListing"] = field(default_factory=dict)

    def first(self, request: GraphRequest, most: int) -> list[Json]:
        """Return the first objects, whatever the request's query options are."""
        return [self.shape(request, item) for item in self.collection.first(request, most, self.within)]

    def page(self, request: GraphRequest) -> Answer:
        """Return one page, of a hundred objects unless $top asks for more."""
        return self.collection.page(
            request,
            _OBJECTS_ON_A_PAGE,
            within=self.within,
            expand=lambda item: self.shape(request, item),
            most=MOST_OBJECTS,
        )

    def count(self, request: GraphRequest) -> int:
        """Return how many objects match the request's $filter."""
        return self.collection.count(request, self.within)

    def of_type(self, name: str) -> Listing:
        """Return the objects of one type; of a type that no table holds there are none."""
        if name == self.type_name:
            return self
        if name not in self.casts:
            return ComputedListing(_fragment_of(name), name, ())
        return replace(self.casts[name], within=self.within)


@dataclass(frozen=True)
class ComputedListing(Listing):
    """Objects that no table holds, as the request shows them, of a type of the model or of types derived from it."""

    fragment: str
    type_name: str
    items: Sequence[Json]

    def first(self, request: GraphRequest, most: int) -> list[Json]:
        """Return the first objects, whatever the request's query options are."""
        return list(self.items[:most])

    def page(self, request: GraphRequest) -> Answer:
        """Return one page, of a hundred objects unless $top asks for more."""
        return computed(request, self.fragment, self.items, self.type_name, _OBJECTS_ON_A_PAGE, directory=True)

    def count(self, request: GraphRequest) -> int:
        """Return how many objects match the request's $filter."""
        queried = Queried(self.type_name, _json_fields(self.type_name, request.version), directory=True)
        return request.cloud.lists.of(self.items).count(queried.filter(request))

    def of_type(self, name: str) -> Listing:
        """Return the objects of one type."""
        wanted = f"#microsoft.graph.{name}"
        items = [
            {key: value for key, value in item.items() if key != "@odata.type"}
            for item in self.items
            if item.get("@odata.type", f"#microsoft.graph.{self.type_name}") == wanted
        ]
        return ComputedListing(_fragment_of(name), name, items)


def _takes_text(accept: str) -> bool:
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")} - {""}
    return not kinds or not kinds.isdisjoint({"text/plain", "text/*", "*/*"})


def _fragment_of(type_name: str) -> str:
    """Return how an answer's context names objects of a type: by the entity set that holds them."""
    return next((entities for entities, kind in ENTITY_SETS.items() if kind == type_name), "directoryObjects")


def add_listing(
    router: Router,
    path: str,
    permissions: Permissions,
    read: Callable[[GraphRequest], Listing],
    base: str = "directoryObject",
) -> None:
    """Register a collection of `base`, its `$count`, and both behind a cast to a type derived from `base`."""

    def cast(request: GraphRequest) -> Listing:
        if request.cast is None:
            return read(request)
        name = derived_type(request.cast, base)
        if name is None:
            raise errors.unknown_segment(f"microsoft.graph.{request.cast}")
        return read(request).of_type(name)

    def listed(request: GraphRequest) -> Answer:
        return cast(request).page(request)

    def counted(request: GraphRequest) -> Answer:
        if not _takes_text(request.accept):
            raise refusals.count_is_text(request.accept)
        if not request.eventual:
            raise errors.count_unsupported()
        return Answer(200, str(cast(request).count(request)))

    handlers: tuple[tuple[str, Handler], ...] = (("", listed), ("/$count", counted))
    for suffix, handler in handlers:
        router.add("GET", f"{path}{suffix}", Route(handler, permissions))
        router.add("GET", f"{path}/{CAST}{suffix}", Route(handler, permissions))
