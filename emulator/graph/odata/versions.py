"""What a version shows of an entity: a property that only the other version has is left out. Pure.

A resource makes one body for both; the model says which names each has. Source: sources.md#published-model.
"""

import re
from functools import lru_cache
from typing import Any

from pfxlab.emulator.graph.odata.model import model_of, property_names

_OTHER = {"beta": "v1.0", "v1.0": "beta"}


def path_of(context: str) -> str:
    """Return the path that an @odata.context is about, without what it selects and expands."""
    fragment = context.partition("$metadata#")[2]
    return re.sub(r"\((?!')[^)]*\)*", "", fragment.removesuffix("/$entity"))


@lru_cache(maxsize=1000)
def type_at(path: str, version: str) -> str | None:
    """Return the entity type at a path such as `deviceManagement/deviceConfigurations('id')/assignments`, or None."""
    model = model_of(version)
    first, *rest = [re.sub(r"\('.*'\)", "", part) for part in path.split("/")]
    kind = model.entity_sets.get(first) or model.singletons.get(first)
    for part in rest:
        if kind is None:
            return None
        cast = part.removeprefix("microsoft.graph.")
        following = model.navigations_of(kind).get(part, "").removesuffix("[]")
        kind = cast if cast in model.entity_types else following or None
    return kind


@lru_cache(maxsize=1000)
def _foreign(context: str, version: str) -> frozenset[str]:
    """Return the names that only the other version has, of the type that an @odata.context is about."""
    kind = type_at(path_of(context), version)
    return frozenset() if kind is None else foreign_names(kind, version)


@lru_cache(maxsize=1000)
def foreign_names(kind: str, version: str) -> frozenset[str]:
    """Return the properties of a type that only the other version has."""
    if model_of(_OTHER[version]).structured(kind) is None or model_of(version).structured(kind) is None:
        return frozenset()
    return property_names(kind, _OTHER[version]) - property_names(kind, version)


def shown(body: Any, version: str) -> Any:
    """Return the body of an answer as a version shows it: a list of entities, or one."""
    context = body.get("@odata.context") if isinstance(body, dict) else None
    foreign = _foreign(context, version) if context is not None else frozenset()
    if not foreign:
        return body
    value = body.get("value")
    if not isinstance(value, list):
        return _without(body, foreign)
    # One look at all of them first: mostly there is nothing to leave out.
    if all(map(foreign.isdisjoint, value)):
        return body
    return {**body, "value": [_without(item, foreign) for item in value]}


def _without(item: dict[str, Any], foreign: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in foreign}
