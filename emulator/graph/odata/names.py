"""The names in $select, $expand, $filter and $orderby: each must be one of the type's, in the version that is asked.

A derived type's own names need a cast, except in collections of directory objects, which show them. Types of the
directory are open: extension properties are named as they come. Source: sources.md#unknown-names.
"""

import re
from functools import lru_cache
from typing import Any, Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata import refusals
from pfxlab.emulator.graph.odata.model import derived_type, model_of, property_names

_EXTENSION: Final = re.compile(r"ext\w*_\w+", re.IGNORECASE)


@lru_cache(maxsize=1000)
def known_names(kind: str, version: str) -> frozenset[str]:
    """Return the names of an entity type in lower case, empty for what is none."""
    model = model_of(version)
    if kind not in model.entity_types:
        return frozenset()
    kinds = [kind]
    if kind == "directoryObject":
        kinds = [name for name in model.entity_types if derived_type(name, kind)]
    return frozenset(name.casefold() for one in kinds for name in property_names(one, version))


def is_known(name: str, kind: str, version: str, *, open_types: bool = False) -> bool:
    """Return whether a query may use a name on a type; `open_types`: an open type has every name."""
    known = known_names(kind, version)
    if not known or name.casefold() in known or "@" in name or "." in name:
        return True
    return model_of(version).entity_types[kind].open and (open_types or _EXTENSION.fullmatch(name) is not None)


def check_select(text: str, kind: str, version: str, *, open_types: bool) -> None:
    """Check the names of a $select; `open_types`: the switch open_type_names lets every name pass on an open type.

    Raises:
        GraphError: the type has no such property.

    """
    for item in text.split(","):
        name = item.strip().partition("/")[0]
        if name not in ("", "*") and not is_known(name, kind, version, open_types=open_types):
            raise refusals.unknown_name("$select", name, kind)


def check_order(text: str, kind: str, version: str) -> None:
    """Check the names of an $orderby.

    Raises:
        GraphError: the type has no such property.

    """
    for item in text.split(","):
        name = item.strip().partition(" ")[0].partition("/")[0]
        if name and not is_known(name, kind, version):
            raise refusals.unknown_name("$orderby", name, kind)


def check_expand(names: list[str], kind: str, version: str) -> None:
    """Check the names of an $expand, which are those of navigation properties.

    Raises:
        GraphError: the type has no such property, or it leads to no entities.

    """
    known = known_names(kind, version)
    navigations = {name.casefold() for name in model_of(version).navigations_of(kind)}
    for name in names if known else ():
        if name.casefold() not in known:
            raise refusals.unknown_name("$expand", name, kind)
        if name.casefold() not in navigations:
            raise refusals.not_a_navigation(name, kind)


def refusal_of_filter(name: str, kind: str, version: str, resource: str) -> errors.GraphError:
    """Return the refusal of a $filter on a property: unknown to a closed type, or one that cannot be filtered."""
    known = known_names(kind, version)
    is_open = bool(known) and model_of(version).entity_types[kind].open
    if known and not is_open and name.casefold() not in known and name.isidentifier():
        return refusals.unknown_name("$filter", name, kind)
    return errors.unsupported_filter(name, resource)


def with_selected(body: Any, select: str, kind: str, version: str) -> Any:
    """Return an answer with every property that $select names: null, or an empty list, where the lab holds none.

    Objects of several types show what each of them has.
    """
    if not isinstance(body, dict) or kind == "directoryObject":
        return body
    empty = _empty_properties(select, kind, version)
    if not empty:
        return body
    if isinstance(body.get("value"), list):
        return {**body, "value": [{**item, **_missing(item, empty)} for item in body["value"]]}
    return {**body, **_missing(body, empty)}


def _missing(item: dict[str, Any], empty: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in empty.items() if name not in item}


@lru_cache(maxsize=1000)
def _empty_properties(select: str, kind: str, version: str) -> dict[str, Any]:
    wanted = {item.strip().casefold() for item in select.split(",")}
    shorts = model_of(version).properties_of(kind)
    return {n: [] if short.endswith("[]") else None for n, short in shorts.items() if n.casefold() in wanted}
