"""Listing a collection: filter, order, page, count. Entities come from a table, or are computed for the request."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.model import ENUM_TYPES, properties_of
from pfxlab.emulator.graph.odata.query import Field, Place, compile_filter, order_by
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json, page
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.wire import jsontext

_ROW: Final = "row_number"
_MOST_SEARCHED: Final = 19
_MOST_OBJECTS: Final = 999
_CLAUSE: Final = re.compile(r'"?(?P<name>\w+):(?P<text>[^"]{1,200})"?')


class Collection:
    """A collection of entities in one table; `condition` limits it to what the caller's tenant may see."""

    def __init__(
        self,
        fragment: str,
        table: str,
        fields: Mapping[str, Field],
        resource: str,
        to_json: Callable[[Row], Json],
        *,
        counts: bool = True,
        columns: str = "*",
        quirky: bool = False,
        searched: tuple[str, ...] = (),
    ) -> None:
        # `counts` False: $count=true is silently ignored, as for directory objects without ConsistencyLevel.
        # `quirky`: the switch filter_quirks is about this collection. `searched`: columns $search looks into.
        self._searched = searched
        self._counts, self._columns, self._quirky = counts, columns, quirky
        self.fragment, self._table, self._fields = fragment, table, fields
        self._resource, self._to_json = resource, to_json

    def _where(self, request: GraphRequest, condition: str, parameters: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        condition, parameters = self._search(request, condition, parameters)
        text = request.query.text("filter")
        if not text:
            return condition, parameters
        quirks = self._quirky and request.cloud.config.switches.filter_quirks == "on"
        compiled = compile_filter(text, self._fields, self._resource, quirks=quirks)
        # The filter knows better than the tenant where to look: `+` keeps SQLite from an index for the latter.
        narrowed = condition.replace("tenant_id = ?", "+tenant_id = ?")
        return f"({narrowed}) and ({compiled.text})", parameters + compiled.parameters

    def _search(
        self, request: GraphRequest, condition: str, parameters: tuple[Any, ...]
    ) -> tuple[str, tuple[Any, ...]]:
        """Narrow down by $search: `"displayName:mail"`, several joined by AND or OR, with ConsistencyLevel only."""
        text = request.query.text("search")
        if text is None or not self._searched:
            return condition, parameters
        if not request.eventual:
            raise errors.search_needs_header()
        parts = re.split(r"\s+(AND|OR)\s+", text.strip())
        if len(parts) > _MOST_SEARCHED:
            raise errors.invalid_option("$search", f"expected at most {_MOST_SEARCHED // 2 + 1} clauses, got more")
        sql = ""
        for part in parts:
            if part in ("AND", "OR"):
                sql += f" {part.lower()} "
                continue
            match = _CLAUSE.fullmatch(part)
            field = self._fields.get(match["name"]) if match is not None else None
            if match is None or field is None or field.column not in self._searched:
                raise errors.invalid_option("$search", f'expected "property:text", got {part[:80]!r}')
            sql += f"instr(lower({field.column}), lower(?)) > 0"
            parameters = (*parameters, match["text"])
        return f"({condition}) and ({sql})", parameters

    def count(self, request: GraphRequest, condition: str, parameters: tuple[Any, ...]) -> int:
        """Return how many entities match the request's $filter."""
        where, values = self._where(request, condition, parameters)
        sql = f"select count(*) from {self._table} where {where}"  # noqa: S608 - literals are parameters
        return int(request.cloud.store.scalar(sql, values))

    def page(
        self,
        request: GraphRequest,
        condition: str,
        parameters: tuple[Any, ...],
        size: int,
        expand: Callable[[Json], Json] | None = None,
        most: int | None = None,
    ) -> Answer:
        """Return one page of `size` entities, or of $top when that is no more than `most` (`size` if None)."""
        where, values = self._where(request, condition, parameters)
        order = order_by(request.query.text("orderby"), self._fields, self._resource)
        top, place = request.query.number("top", 1), request.query.place()
        limit = size if top is None else min(top, most or size)
        sql = (
            f"select {self._columns}, rowid as {_ROW} from {self._table} "  # noqa: S608 - literals are parameters
            f"where {where} and rowid > ? order by {f'{order}, ' if order else ''}rowid limit ? offset ?"
        )
        rows = request.cloud.store.rows(sql, (*values, place.after or 0, limit + 1, place.offset))
        numbers = [row.pop(_ROW) for row in rows]
        items = [self._to_json(row) for row in rows[:limit]]
        if expand is not None:
            items = [expand(item) for item in items]
        first = place == Place(offset=request.query.number("skip") or 0)
        counted = (self._counts or request.eventual) and request.query.count and first
        total = self.count(request, condition, parameters) if counted else None
        following = None
        if len(rows) > limit:
            # In an order of the client's own a row has no place but its number.
            following = Place(offset=place.offset + limit) if order else Place(after=numbers[limit - 1])
        return page(request, self.fragment + request.query.select_fragment(), items, total, following)


def computed(
    request: GraphRequest, fragment: str, items: Sequence[Json], type_name: str, size: int, *, directory: bool = False
) -> Answer:
    """Return a page of entities of one type of the model that no table holds.

    `directory`: as directory objects do, count only with ConsistencyLevel and take a $top of up to 999.
    """
    query, fields = request.query, _json_fields(type_name)
    where, values = "true", tuple[Any, ...]()
    text = query.text("filter")
    if text:
        where, values = compile_filter(text, fields, type_name)
    order = order_by(query.text("orderby"), fields, type_name)
    top, place = query.number("top", 1), query.place()
    limit = size if top is None else min(top, _MOST_OBJECTS if directory else size)
    source, listed = "from json_each(?) as item where", jsontext.encode(list(items)).decode()
    keys = request.cloud.store.rows(
        f"select key {source} {where} order by {f'{order}, ' if order else ''}key limit ? offset ?",
        (listed, *values, limit + 1, place.offset),
    )
    total = None
    if query.count and query.text("skiptoken") is None and (request.eventual or not directory):
        total = request.cloud.store.scalar(f"select count(*) {source} {where}", (listed, *values))
    following = Place(offset=place.offset + limit) if len(keys) > limit else None
    shown = [items[row["key"]] for row in keys[:limit]]
    return page(request, fragment + query.select_fragment(), shown, total, following)


_KINDS: Final = {
    "DateTimeOffset": "instant",
    "Boolean": "boolean",
    "Int32": "number",
    "Int64": "number",
    "String[]": "strings",
}


@cache
def _json_fields(type_name: str) -> dict[str, Field]:
    """Return the filterable properties of computed entities, from the model; texts compare case-blind."""
    return {
        name: Field(f"json_extract(item.value, '$.{name}')", _KINDS.get(short, "name"))
        for name, short in properties_of(type_name).items()
        if short in _KINDS or short in ENUM_TYPES or short in ("String", "Guid")
    }
