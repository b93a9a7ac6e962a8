"""Puts the facts of a version together: from its own document, or from a list of names and other documents. Pure.

A published list of names says what a version has; the first document that knows a name says what it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.emulator.graph.odata.extract.facts import GRAPH, Enumeration, Facts, Operation, Property, Structure

Names = Mapping[str, Mapping[str, Any]]
"""Namespace → type → its names, as in the published files of type mappings."""


def short_names(names: Names) -> dict[str, Any]:
    """Return the names by short type name."""
    return {
        f"{space}.{name}".removeprefix(GRAPH): value for space, kinds in names.items() for name, value in kinds.items()
    }


def merged(
    entities: Names, complex_types: Names, enumerations: Names, documents: Sequence[Facts]
) -> tuple[Facts, list[str]]:
    """Return the facts of the names, as the documents have them, and what none of them knows."""
    facts = Facts()
    missing: list[str] = []
    for entity, names in ((True, entities), (False, complex_types)):
        for name, members in short_names(names).items():
            known = [d.structures[name] for d in documents if name in d.structures]
            facts.structures[name] = _structure(name, members, known, missing, entity=entity)
    for name, listed in short_names(enumerations).items():
        kinds = [d.enumerations[name] for d in documents if name in d.enumerations]
        facts.enumerations[name] = _enumeration(name, listed, kinds, missing)
    _operations(facts, documents)
    for document in documents:
        facts.sets = {**document.sets, **facts.sets}
        facts.singletons = {**document.singletons, **facts.singletons}
    facts.sets = {name: kind for name, kind in facts.sets.items() if kind in facts.structures}
    facts.singletons = {name: kind for name, kind in facts.singletons.items() if kind in facts.structures}
    return facts, missing


def _structure(name: str, members: Any, known: list[Structure], missing: list[str], *, entity: bool) -> Structure:
    if not known:
        missing.append(name)
        return Structure(entity)
    first = known[0]
    made = Structure(entity, first.base, first.abstract, first.open, first.stream)
    for wanted, into in (("properties", made.properties), ("navigationProperties", made.navigations)):
        for member in members[wanted]:
            found = [k.properties.get(member) or k.navigations.get(member) for k in known]
            fact = next((one for one in found if one is not None), None)
            if fact is None:
                missing.append(f"{name}.{member}")
            into[member] = fact or Property("?")
    return made


def _enumeration(name: str, listed: Sequence[str], known: list[Enumeration], missing: list[str]) -> Enumeration:
    numbers: dict[str, int] = {}
    for kind in reversed(known):
        numbers |= kind.members
    missing += [f"{name}.{member}" for member in listed if member not in numbers]
    held = {member: numbers[member] for member in listed if member in numbers}
    return Enumeration(any(k.flags for k in known), dict(sorted(held.items(), key=lambda item: item[1])))


def _operations(facts: Facts, documents: Sequence[Facts]) -> None:
    """Take each operation from the first document that has it for its type; one for a type that is gone is left out."""
    held: set[tuple[str, str]] = set()
    for document in documents:
        fresh: list[Operation] = []
        for one in document.operations:
            if (one.name, one.bound) not in held and one.bound.removesuffix("[]") in facts.structures:
                fresh.append(one)
        facts.operations += fresh
        held |= {(one.name, one.bound) for one in fresh}
