"""The routes of a version: what a path may go on with, type by type, without properties. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.emulator.graph.odata.extract.facts import Facts
from tests.emulator.graph.odata.extract.served import SERVED
from tests.emulator.graph.odata.extract.write import by_name

_DIRECTORY = "directoryObject"

Operations = dict[str, dict[str, str]]
"""Type, or type with [] → names of operations, a function with () → nothing."""


@dataclass
class Routes:
    """A version's routes."""

    facts: Facts
    operations: Operations = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Facts, paths: Iterable[list[str]] = ()) -> "Routes":
        """Return the routes of a document; `paths` are more of them, whose last segment may be an unknown operation."""
        routes = cls(facts)
        routes.roots = {name: f"{kind}[]" for name, kind in facts.sets.items()} | facts.singletons
        for one in facts.operations:
            routes.operations.setdefault(one.bound, {})[one.name + ("()" if one.function else "")] = ""
        for path in sorted(paths):
            routes._follow(path)
        return routes

    def step(self, kind: str, segment: str) -> str | None:
        """Return the type that a segment leads to from a type, None when it leads nowhere, '' when to no entity."""
        name = kind.removesuffix("[]")
        if segment == "{}" and kind.endswith("[]"):
            return name
        for base in self.facts.lineage(name):
            navigation = self.facts.structures[base].navigations.get(segment)
            if navigation is not None and not kind.endswith("[]"):
                return navigation.type
            if segment in self.facts.structures[base].properties or segment.startswith("$"):
                return ""
            if segment in self.operations.get(base + ("[]" if kind.endswith("[]") else ""), {}):
                return ""
        cast = segment.removeprefix("graph.").removeprefix("microsoft.graph.")
        if cast != segment:
            known = next((n for n in self.facts.structures if n.lower() == cast.lower()), None)
            return None if known is None else known + ("[]" if kind.endswith("[]") else "")
        return None

    def _follow(self, path: list[str]) -> None:
        """Walk a path; what its last segment adds to the known is an operation, or a root of unknown type."""
        first, *rest = path
        if first not in self.roots:
            if not first.endswith("()"):
                self.roots[first] = "?[]" if rest[:1] == ["{}"] else "?"
            return
        kind: str | None = self.roots[first]
        for place, segment in enumerate(rest):
            following = self.step(str(kind), segment)
            if following is None and place == len(rest) - 1 and segment != "{}" and kind != "?":
                self.operations.setdefault(str(kind), {})[segment] = ""
            if not following:
                return
            kind = following

    def reached(self) -> set[str]:
        """Return the entity types known by name: the served ones, and all that paths of Intune lead to.

        A path that leaves Intune for the directory is not followed: whatever comes there is not told from a typo.
        """
        structures = self.facts.structures
        derived: dict[str, list[str]] = {}
        for name, structure in structures.items():
            derived.setdefault(structure.base or "", []).append(name)
        found: set[str] = set()
        following = [name for name in SERVED if name in structures]
        while following:
            name = following.pop()
            if name in found or name not in structures:
                continue
            found.add(name)
            following += [structures[name].base or ""] + (
                derived.get(name, []) if name not in ("entity", _DIRECTORY) else []
            )
            if _DIRECTORY not in self.facts.lineage(name):
                following += [one.type.removesuffix("[]") for one in structures[name].navigations.values()]
        return found


def routes_document(versions: Mapping[str, Routes]) -> dict[str, Any]:
    """Return the routes of both versions as one document: each type is a line of words, apart by blanks.

    A word is `<base`, `navigation=type`, an operation (a function with ()), or `[]operation` of a collection.
    """
    reached = {v: one.reached() for v, one in versions.items()}
    types = {}
    for name in sorted(set().union(*reached.values())):
        said: dict[str, dict[str, str]] = {}
        for version, one in versions.items():
            if name in reached[version]:
                said[version] = dict.fromkeys(_words(one, name, reached[version]), "")
        types[name] = " ".join(word if not mark else f"{mark.strip()}:{word}" for word, mark in by_name(said).items())
    return {"roots": by_name({v: one.roots for v, one in versions.items()}), "types": types}


def _words(routes: Routes, name: str, known: set[str]) -> Iterable[str]:
    structure = routes.facts.structures[name]
    yield f"<{structure.base or '-'}"
    for navigation, one in structure.navigations.items():
        bare = one.type.removesuffix("[]")
        yield f"{navigation}=" + (one.type if bare in known else "?" + one.type[len(bare) :])
    yield from routes.operations.get(name, {})
    for operation in routes.operations.get(f"{name}[]", {}):
        yield f"[]{operation}"
