"""`$metadata` of a version: the model as CSDL 4.0 XML.

Sources: sources.md#odata-metadata, sources.md#published-model.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final
from xml.sax.saxutils import quoteattr

from pfxlab.emulator.graph.odata.model import (
    NAMESPACE,
    PRIMITIVES,
    Model,
    Operation,
    StructuredType,
    full_name,
    model_of,
)

CONTENT_TYPE: Final = "application/xml"
_NOT_NULL: Final = {"Nullable": "false"}


def _element(name: str, attributes: Mapping[str, str], inner: str = "") -> str:
    shown = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{shown}>{inner}</{name}>" if inner else f"<{name}{shown}/>"


def _declared(model: Model, short: str) -> bool:
    """Return whether a type is one of OData's own, or one that the document declares."""
    bare = short.rstrip("!").removesuffix("[]")
    return bare in PRIMITIVES or bare in model.enumerations or model.structured(bare) is not None


def _structured(model: Model, element: str, kind: StructuredType) -> str:
    attributes = {"Name": kind.name}
    if kind.base is not None:
        attributes["BaseType"] = full_name(kind.base)
    marks = {"Abstract": kind.abstract, "OpenType": kind.open, "HasStream": kind.stream}
    attributes |= {name: "true" for name, marked in marks.items() if marked}
    inner = '<Key><PropertyRef Name="id"/></Key>' if kind.name == "entity" else ""
    for name, short in kind.properties.items():
        if _declared(model, short):
            nullable = _NOT_NULL if name in kind.required else {}
            inner += _element("Property", {"Name": name, "Type": full_name(short), **nullable})
    for name, short in kind.navigations.items():
        # What leads to a type that the lab does not know would name a type that the document does not declare.
        if _declared(model, short):
            contained = {"ContainsTarget": "true"} if name in kind.contained else {}
            inner += _element("NavigationProperty", {"Name": name, "Type": full_name(short), **contained})
    return _element(element, attributes, inner)


def _enum(name: str, members: Mapping[str, int], *, flags: bool) -> str:
    inner = "".join(_element("Member", {"Name": member, "Value": str(value)}) for member, value in members.items())
    return _element("EnumType", {"Name": name, **({"IsFlags": "true"} if flags else {})}, inner)


def _typed(element: str, name: str | None, said: str) -> str:
    attributes = {} if name is None else {"Name": name}
    attributes["Type"] = full_name(said.removesuffix("!"))
    return _element(element, attributes | (_NOT_NULL if said.endswith("!") else {}))


def _operation(operation: Operation) -> str:
    inner = _typed("Parameter", "bindingParameter", operation.bound)
    inner += "".join(_typed("Parameter", name, said) for name, said in operation.parameters.items())
    if operation.returned is not None:
        inner += _typed("ReturnType", None, operation.returned)
    return _element("Function" if operation.function else "Action", {"Name": operation.name, "IsBound": "true"}, inner)


@cache
def csdl(version: str) -> str:
    """Return the metadata document of a version, `beta` or `v1.0`."""
    model = model_of(version)
    parts = [_enum(n, members, flags=n in model.flags) for n, members in model.enumerations.items()]
    parts += [_structured(model, "ComplexType", kind) for kind in model.complex_types.values()]
    parts += [_structured(model, "EntityType", kind) for kind in model.entity_types.values()]
    parts += [_operation(one) for one in model.operations]
    sets = [_element("EntitySet", {"Name": n, "EntityType": full_name(kind)}) for n, kind in model.entity_sets.items()]
    single = [_element("Singleton", {"Name": n, "Type": full_name(kind)}) for n, kind in model.singletons.items()]
    parts.append(_element("EntityContainer", {"Name": "GraphService"}, "".join(sets + single)))
    attributes = {"Namespace": NAMESPACE, "Alias": "graph", "xmlns": "http://docs.oasis-open.org/odata/ns/edm"}
    services = _element("edmx:DataServices", {}, _element("Schema", attributes, "".join(parts)))
    edmx = {"Version": "4.0", "xmlns:edmx": "http://docs.oasis-open.org/odata/ns/edmx"}
    return f'<?xml version="1.0" encoding="utf-8"?>{_element("edmx:Edmx", edmx, services)}'
