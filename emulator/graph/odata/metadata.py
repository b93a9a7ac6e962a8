"""`$metadata`: the model as CSDL 4.0 XML. Source: sources.md#odata-metadata."""

from functools import cache
from typing import Final
from xml.sax.saxutils import quoteattr

from pfxlab.emulator.graph.odata.model import (
    ACTIONS,
    COMPLEX_TYPES,
    ENTITY_SETS,
    ENTITY_TYPES,
    ENUM_TYPES,
    NAMESPACE,
    SINGLETONS,
    StructuredType,
    full_name,
)

CONTENT_TYPE: Final = "application/xml"
_FLAGS: Final = frozenset({"subjectAlternativeNameType", "keyUsages"})


def _element(name: str, attributes: dict[str, str], inner: str = "") -> str:
    shown = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{shown}>{inner}</{name}>" if inner else f"<{name}{shown}/>"


def _structured(element: str, kind: StructuredType) -> str:
    attributes = {"Name": kind.name}
    if kind.base is not None:
        attributes["BaseType"] = f"{NAMESPACE}.{kind.base}"
    if kind.abstract:
        attributes["Abstract"] = "true"
    inner = '<Key><PropertyRef Name="id"/></Key>' if kind.name == "entity" else ""
    for name, short in kind.properties.items():
        nullable = {"Nullable": "false"} if name == "id" else {}
        inner += _element("Property", {"Name": name, "Type": full_name(short), **nullable})
    for name, short in kind.navigations.items():
        contained = {} if "directoryObject" in short else {"ContainsTarget": "true"}
        inner += _element("NavigationProperty", {"Name": name, "Type": full_name(short), **contained})
    return _element(element, attributes, inner)


def _enum(name: str, members: dict[str, int]) -> str:
    inner = "".join(_element("Member", {"Name": member, "Value": str(value)}) for member, value in members.items())
    return _element("EnumType", {"Name": name, **({"IsFlags": "true"} if name in _FLAGS else {})}, inner)


def _action(name: str) -> str:
    bound, parameters, returned = ACTIONS[name]
    inner = _element("Parameter", {"Name": "bindingParameter", "Type": full_name(bound)})
    for parameter, short in parameters.items():
        inner += _element("Parameter", {"Name": parameter, "Type": full_name(short)})
    if returned is not None:
        inner += _element("ReturnType", {"Type": full_name(returned)})
    return _element("Action", {"Name": name, "IsBound": "true"}, inner)


@cache
def csdl() -> str:
    """Return the service's metadata document."""
    parts = [_enum(name, members) for name, members in ENUM_TYPES.items()]
    parts += [_structured("ComplexType", kind) for kind in COMPLEX_TYPES.values()]
    parts += [_structured("EntityType", kind) for kind in ENTITY_TYPES.values()]
    parts += [_action(name) for name in ACTIONS]
    sets = [_element("EntitySet", {"Name": name, "EntityType": full_name(kind)}) for name, kind in ENTITY_SETS.items()]
    single = [_element("Singleton", {"Name": name, "Type": full_name(kind)}) for name, kind in SINGLETONS.items()]
    parts.append(_element("EntityContainer", {"Name": "GraphService"}, "".join(sets + single)))
    schema = _element("Schema", {"Namespace": NAMESPACE, "xmlns": "http://docs.oasis-open.org/odata/ns/edm"},
                      "".join(parts))  # fmt: skip
    services = _element("edmx:DataServices", {}, schema)
    edmx = {"Version": "4.0", "xmlns:edmx": "http://docs.oasis-open.org/odata/ns/edmx"}
    return f'<?xml version="1.0" encoding="utf-8"?>{_element("edmx:Edmx", edmx, services)}'
