"""What is extracted: names, types, numbers and nullability of one version of Graph. Pure."""

from dataclasses import dataclass, field

GRAPH = "microsoft.graph."


def short(name: str) -> str:
    """Return a type's name without Edm, `microsoft.graph` or its alias; a collection ends in []."""
    if name.startswith("Collection("):
        return f"{short(name[11:-1])}[]"
    for prefix in ("Edm.", GRAPH, "graph."):
        name = name.removeprefix(prefix)
    return name


@dataclass
class Property:
    """A property or navigation property. `type` is short; `contained`: the entities live in the one that has it."""

    type: str
    nullable: bool = True
    contained: bool = False


@dataclass
class Structure:
    """An entity or complex type."""

    entity: bool
    base: str | None = None
    abstract: bool = False
    open: bool = False
    stream: bool = False
    properties: dict[str, Property] = field(default_factory=dict)
    navigations: dict[str, Property] = field(default_factory=dict)


@dataclass
class Enumeration:
    """An enumeration; members with their numbers."""

    flags: bool = False
    members: dict[str, int] = field(default_factory=dict)


@dataclass
class Operation:
    """A bound action or function; the first parameter is what it is bound to."""

    name: str
    function: bool
    bound: str
    parameters: dict[str, Property]
    returns: Property | None


@dataclass
class Facts:
    """All that one document says, by short type name."""

    structures: dict[str, Structure] = field(default_factory=dict)
    enumerations: dict[str, Enumeration] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    sets: dict[str, str] = field(default_factory=dict)
    singletons: dict[str, str] = field(default_factory=dict)

    def lineage(self, name: str) -> list[str]:
        """Return a structured type and its ancestors, itself first."""
        found: list[str] = []
        following: str | None = name
        while following is not None and following in self.structures:
            found.append(following)
            following = self.structures[following].base
        return found
