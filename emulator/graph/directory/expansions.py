"""$expand on users, groups and roles: objects of a relationship in place of a request of its own.

A resource declares its relationships with `expandable`. Source: sources.md#directory-expand.
"""

from collections.abc import Callable
from typing import Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.collection import Listing
from pfxlab.emulator.graph.odata.names import check_select
from pfxlab.emulator.graph.request import GraphRequest, Json

_MOST: Final = 20
_RELATED: Final[dict[tuple[str, str], Callable[[GraphRequest, str], Listing]]] = {}


def expandable(kind: str, name: str, related: Callable[[GraphRequest, str], Listing]) -> None:
    """Declare a relationship of a type: `related` returns the objects that one with an id is related to."""
    _RELATED[kind, name.casefold()] = related


def expanded(request: GraphRequest, kind: str, item: Json) -> Json:
    """Return an object with what $expand asks for.

    Raises:
        GraphError: a relationship that is not expanded.

    """
    found: Json = {}
    for expansion in request.query.expansions:
        related = _RELATED.get((kind, expansion.name.casefold()))
        if related is None:
            raise errors.expand_unsupported(expansion.name)
        objects = related(request, item["id"]).first(request, _MOST)
        found[expansion.name] = [_selected(request, one, expansion.select) for one in objects]
    return {**item, **found} if found else item


def _selected(request: GraphRequest, item: Json, select: str | None) -> Json:
    if not select:
        return item
    check_select(select, "directoryObject", request.version, open_types=True)
    names = {name.strip().casefold() for name in select.split(",")}
    return {name: value for name, value in item.items() if "@" in name or name.casefold() in names}
