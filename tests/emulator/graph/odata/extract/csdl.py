"""Reads a CSDL 4.0 document."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import parse

from tests.emulator.graph.odata.extract.facts import Enumeration, Facts, Operation, Property, Structure, short

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
Resolver: TypeAlias = Callable[[str | None], str]
"""From a type as a schema writes it to its short name."""


def read_csdl(path: Path) -> Facts:
    """Return the facts of a document."""
    facts = Facts()
    root = parse(path).getroot()
    assert root is not None
    for schema in root.iter(f"{EDM}Schema"):
        namespace = schema.get("Namespace", "")
        for element in schema:
            _read(facts, namespace, schema.get("Alias", ""), element)
    return facts


def _read(facts: Facts, namespace: str, alias: str, element: Element) -> None:
    kind, name = element.tag.removeprefix(EDM), short(f"{namespace}.{element.get('Name')}")

    def resolved(type_name: str | None) -> str:
        text = short(type_name or "")
        # The alias of a schema stands for its namespace, in that schema only.
        return short(f"{namespace}.{text.removeprefix(alias + '.')}") if text.startswith(f"{alias}.") else text

    if kind in ("EntityType", "ComplexType"):
        facts.structures[name] = _structure(element, resolved)
    elif kind == "EnumType":
        members = {str(m.get("Name")): int(m.get("Value", "0")) for m in element.iter(f"{EDM}Member")}
        facts.enumerations[name] = Enumeration(element.get("IsFlags") == "true", members)
    elif kind in ("Action", "Function") and element.get("IsBound") == "true":
        facts.operations.append(_operation(element, name.removeprefix("microsoft.graph."), resolved))
    elif kind == "EntityContainer":
        facts.sets |= {str(e.get("Name")): resolved(e.get("EntityType")) for e in element.iter(f"{EDM}EntitySet")}
        facts.singletons |= {str(e.get("Name")): resolved(e.get("Type")) for e in element.iter(f"{EDM}Singleton")}


def _structure(element: Element, resolved: Resolver) -> Structure:
    base = element.get("BaseType")
    return Structure(
        entity=element.tag == f"{EDM}EntityType",
        base=None if base is None else resolved(base),
        abstract=element.get("Abstract") == "true",
        open=element.get("OpenType") == "true",
        stream=element.get("HasStream") == "true",
        properties=dict(_properties(element, "Property", resolved)),
        navigations=dict(_properties(element, "NavigationProperty", resolved)),
    )


def _properties(element: Element, kind: str, resolved: Resolver) -> Iterator[tuple[str, Property]]:
    for one in element.iter(f"{EDM}{kind}"):
        yield str(one.get("Name")), _property(one, resolved)


def _property(one: Element, resolved: Resolver) -> Property:
    return Property(resolved(one.get("Type")), one.get("Nullable") != "false", one.get("ContainsTarget") == "true")


def _operation(element: Element, name: str, resolved: Resolver) -> Operation:
    bound, *others = element.iter(f"{EDM}Parameter")
    returned = element.find(f"{EDM}ReturnType")
    return Operation(
        name=name,
        function=element.tag == f"{EDM}Function",
        bound=resolved(bound.get("Type")),
        parameters={str(one.get("Name")): _property(one, resolved) for one in others},
        returns=None if returned is None else _property(returned, resolved),
    )
