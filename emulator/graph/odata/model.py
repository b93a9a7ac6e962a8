"""Graph's entity model, version by version: types, properties, navigations, enumerations, operations.

`$metadata`, the annotations of `odata.metadata=full`, the known names of queries and the filters of computed lists are
made from it. Its names and numbers are those of Microsoft's published documents: served_types.json beside this module,
which tests/emulator/graph/odata/extract writes. Source: sources.md#published-model.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

NAMESPACE: Final = "microsoft.graph"
BETA: Final = "beta"
PRIMITIVES: Final = frozenset(
    (
        "Binary", "Boolean", "Byte", "Date", "DateTimeOffset", "Decimal", "Double", "Duration", "Guid", "Int16",
        "Int32", "Int64", "Single", "Stream", "String", "TimeOfDay",
    )
)  # fmt: skip
"""OData's own types."""


@dataclass(frozen=True)
class StructuredType:
    """An entity or complex type. Property types are short: `String`, `userPfxIntendedPurpose`, `String[]`.

    `required` are the properties that are never null, `contained` the navigations whose entities live in this one.
    """

    name: str
    base: str | None
    abstract: bool
    properties: dict[str, str]
    navigations: dict[str, str] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    contained: frozenset[str] = frozenset()
    open: bool = False
    stream: bool = False


@dataclass(frozen=True)
class Operation:
    """A bound action or function: what it is bound to, its parameters and what it returns; `!` says never null."""

    name: str
    function: bool
    bound: str
    parameters: dict[str, str]
    returned: str | None


@dataclass(frozen=True)
class Model:
    """What one version of Graph has, of the types that the lab serves and of all that they name."""

    entity_types: dict[str, StructuredType]
    complex_types: dict[str, StructuredType]
    enumerations: dict[str, dict[str, int]]
    """Enumerations: member → number."""
    flags: frozenset[str]
    """Enumerations whose members combine."""
    operations: tuple[Operation, ...]
    entity_sets: dict[str, str]
    """Entity sets of the service → the types of their members."""
    singletons: dict[str, str]
    """Singletons of the service → their types."""

    def structured(self, name: str) -> StructuredType | None:
        """Return an entity or complex type, None when the version has none of that name."""
        return self.entity_types.get(name) or self.complex_types.get(name)

    def lineage(self, name: str) -> list[StructuredType]:
        """Return an entity or complex type and its bases, the first base first."""
        found: list[StructuredType] = []
        kind = self.structured(name)
        while kind is not None:
            found.append(kind)
            kind = None if kind.base is None else self.structured(kind.base)
        return found[::-1]

    def properties_of(self, name: str) -> dict[str, str]:
        """Return all properties of an entity or complex type, inherited ones first: name → short type."""
        return {name: short for kind in self.lineage(name) for name, short in kind.properties.items()}

    def navigations_of(self, name: str) -> dict[str, str]:
        """Return all navigation properties of an entity type, inherited ones first: name → short type."""
        return {name: short for kind in self.lineage(name) for name, short in kind.navigations.items()}


def _of(said: str, version: str) -> str | None:
    """Return what a fact says of a version: `X`, or parts such as `beta X`; None when it says nothing of it."""
    for part in said.split("|"):
        first, _, rest = part.partition(" ")
        if first == version:
            return rest
        if first not in ("beta", "v1.0"):
            return said
    return None


def _members(said: dict[str, str], version: str) -> dict[str, str]:
    # Most facts are the same in both versions, and say so by naming none.
    in_version = {name: text if text.isalnum() else _of(text, version) for name, text in said.items()}
    return {name: text for name, text in in_version.items() if text is not None}


def _structured(name: str, head: str, entry: dict[str, Any], version: str) -> StructuredType:
    _, base, *marks = head.split()
    properties = _members(entry["properties"], version)
    navigations = _members(entry["navigations"], version)
    return StructuredType(
        name=name,
        base=None if base == "-" else base,
        abstract="abstract" in marks,
        properties={n: t.removesuffix("!") for n, t in properties.items()},
        navigations={n: t.rstrip("!+") for n, t in navigations.items()},
        required=frozenset(n for n, t in properties.items() if t.endswith("!")),
        contained=frozenset(n for n, t in navigations.items() if t.endswith("+")),
        open="open" in marks,
        stream="stream" in marks,
    )


_SIGNATURE: Final = re.compile(
    r"(?P<kind>action|function) (?P<bound>[^.]+)\.(?P<name>[\w.]+)\((?P<parameters>[^)]*)\)"
    r"(?:: (?P<returned>\S+))?(?: (?P<version>beta|v1\.0))?"
)


def _operations(signatures: list[str], version: str) -> tuple[Operation, ...]:
    found = [match for text in signatures if (match := _SIGNATURE.fullmatch(text)) is not None]
    return tuple(
        Operation(
            match["name"],
            match["kind"] == "function",
            match["bound"],
            dict(part.split(" ") for part in match["parameters"].split(", ") if part),
            match["returned"],
        )
        for match in found
        if match["version"] in (None, version)
    )


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(Path(__file__).with_name("served_types.json").read_bytes())
    return facts


@cache
def model_of(version: str) -> Model:
    """Return the model of a version, `beta` or `v1.0`."""
    facts = _facts()
    kinds: dict[str, dict[str, StructuredType]] = {"entity": {}, "complex": {}}
    for name, entry in facts["types"].items():
        head = _of(entry["is"], version)
        if head is not None:
            kinds[head.partition(" ")[0]][name] = _structured(name, head, entry, version)
    heads = {name: _of(entry["is"], version) for name, entry in facts["enumerations"].items()}
    return Model(
        entity_types=kinds["entity"],
        complex_types=kinds["complex"],
        enumerations={
            name: {m: int(n) for m, n in _members(facts["enumerations"][name], version).items() if m != "is"}
            for name, head in heads.items()
            if head is not None
        },
        flags=frozenset(name for name, head in heads.items() if head == "flags"),
        operations=_operations(facts["operations"], version),
        entity_sets=_members(facts["sets"], version),
        singletons=_members(facts["singletons"], version),
    )


_BETA: Final = model_of(BETA)
ENTITY_TYPES: Final = _BETA.entity_types
COMPLEX_TYPES: Final = _BETA.complex_types
ENUM_TYPES: Final = _BETA.enumerations
ENTITY_SETS: Final = _BETA.entity_sets
SINGLETONS: Final = _BETA.singletons


@cache
def properties_of(type_name: str, version: str = BETA) -> dict[str, str]:
    """Return all properties of an entity or complex type, inherited ones first: name → short type.

    Raises:
        KeyError: the version has no such type.

    """
    model = model_of(version)
    if model.structured(type_name) is None:
        raise KeyError(type_name)
    return model.properties_of(type_name)


@cache
def property_names(type_name: str, version: str = BETA) -> frozenset[str]:
    """Return the names that a query may use on a type: its properties and navigation properties, inherited ones too.

    Raises:
        KeyError: the version has no such type.

    """
    return frozenset(properties_of(type_name, version)) | frozenset(model_of(version).navigations_of(type_name))


@cache
def derived_type(name: str, base: str) -> str | None:
    """Return the entity type of a name in any case when it is `base` or derived from it, else None."""
    found = _ENTITY_NAMES.get(name.casefold())
    return found if found is not None and any(kind.name == base for kind in _BETA.lineage(found)) else None


_ENTITY_NAMES: Final = {name.casefold(): name for name in ENTITY_TYPES}


def full_name(short: str) -> str:
    """Return a type as OData writes it: `Edm.String`, `microsoft.graph.x`, `Collection(…)`."""
    if short.endswith("[]"):
        return f"Collection({full_name(short[:-2])})"
    return f"Edm.{short}" if short in PRIMITIVES else f"{NAMESPACE}.{short}"
