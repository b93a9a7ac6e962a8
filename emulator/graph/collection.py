"""Listing a collection from the store: filter, order, page, count."""

from collections.abc import Callable, Mapping
from typing import Any

from emulator.graph.odata import Field, compile_filter, order_by
from emulator.graph.request import Answer, GraphRequest, Json, page
from emulator.store.database import Row


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
    ) -> None:
        # `counts` False: $count=true is silently ignored, as for directory objects without ConsistencyLevel.
        self._counts, self._columns = counts, columns
        self.fragment, self._table, self._fields = fragment, table, fields
        self._resource, self._to_json = resource, to_json

    def _where(self, request: GraphRequest, condition: str, parameters: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        text = request.query.text("filter")
        if not text:
            return condition, parameters
        compiled = compile_filter(text, self._fields, self._resource)
        return f"({condition}) and ({compiled.text})", parameters + compiled.parameters

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
    ) -> Answer:
        """Return one page; $top limits it, `size` is what a page holds at most."""
        where, values = self._where(request, condition, parameters)
        order = order_by(request.query.text("orderby"), self._fields, self._resource)
        top, skip = request.query.number("top", 1), request.query.offset()
        limit = size if top is None else min(top, size)
        sql = (
            f"select {self._columns} from {self._table} where {where} "  # noqa: S608 - literals are parameters
            f"order by {f'{order}, ' if order else ''}rowid limit ? offset ?"
        )
        rows = request.cloud.store.rows(sql, (*values, limit + 1, skip))
        items = [self._to_json(row) for row in rows[:limit]]
        if expand is not None:
            items = [expand(item) for item in items]
        total = (
            self.count(request, condition, parameters)
            if (self._counts or request.eventual) and request.query.count and skip == 0
            else None
        )
        more = len(rows) > limit
        fragment = self.fragment + request.query.select_fragment()
        return page(request, fragment, items, total, more, skip + limit)
