"""Writes the facts of both versions as one compact file: what is the same stands once. Pure.

A fact of one version only begins with its name, as in `beta String`; one that differs has both, apart by a bar.
"""

import json
from collections.abc import Mapping
from typing import Any

from tests.emulator.graph.odata.extract.facts import Facts, Operation, Property
from tests.emulator.graph.odata.extract.served import declarable, needed, operations

Versions = Mapping[str, Facts]
Said = Mapping[str, str]
"""Version → what it says."""


def both(said: Said) -> str:
    """Return what the versions say as one text."""
    told = set(said.values())
    if len(said) == 2 and len(told) == 1:
        return told.pop()
    return "|".join(f"{version} {text}" for version, text in said.items())


def by_name(said: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return names with what the versions that have them say, in the order of their first appearance."""
    names = dict.fromkeys(name for one in said.values() for name in one)
    return {name: both({v: one[name] for v, one in said.items() if name in one}) for name in names}


def _property(one: Property) -> str:
    return one.type + ("" if one.nullable else "!")


def _navigation(one: Property) -> str:
    return _property(one) + ("+" if one.contained else "")


def served_types(versions: Versions) -> dict[str, Any]:
    """Return the types known in full, with their operations."""
    known = {v: needed(facts) for v, facts in versions.items()}
    names = sorted(set().union(*known.values()))
    held = {name: {v: f for v, f in versions.items() if name in known[v]} for name in names}
    structures = {n: _structure(n, having) for n, having in held.items() if n in next(iter(having.values())).structures}
    enumerations = {n: _enumeration(n, having) for n, having in held.items() if n not in structures}
    return {
        "types": structures,
        "enumerations": enumerations,
        "operations": _operations(versions, known),
        "sets": by_name({v: {n: k for n, k in f.sets.items() if k in known[v]} for v, f in versions.items()}),
        "singletons": by_name(
            {v: {n: k for n, k in f.singletons.items() if k in known[v]} for v, f in versions.items()}
        ),
    }


def _structure(name: str, having: Versions) -> dict[str, Any]:
    kinds = {v: f.structures[name] for v, f in having.items()}
    heads = {}
    for version, kind in kinds.items():
        marks = [word for word in ("abstract", "open", "stream") if getattr(kind, word)]
        heads[version] = " ".join(["entity" if kind.entity else "complex", kind.base or "-", *marks])
    return {
        "is": both(heads),
        "properties": by_name({v: {n: _property(p) for n, p in k.properties.items()} for v, k in kinds.items()}),
        "navigations": by_name({v: {n: _navigation(p) for n, p in k.navigations.items()} for v, k in kinds.items()}),
    }


def _enumeration(name: str, having: Versions) -> dict[str, str]:
    kinds = {v: f.enumerations[name] for v, f in having.items()}
    return {
        "is": both({v: "flags" if k.flags else "enumeration" for v, k in kinds.items()}),
        **by_name({v: {n: str(number) for n, number in k.members.items()} for v, k in kinds.items()}),
    }


def _operations(versions: Versions, known: Mapping[str, set[str]]) -> list[Any]:
    said: dict[str, dict[str, str]] = {}
    for version, facts in versions.items():
        for one in operations(facts, known[version]):
            if declarable(one, known[version]):
                said.setdefault(version, {})[_signature(one)] = ""
    return [text + (f" {mark.strip()}" if mark else "") for text, mark in by_name(said).items()]


def _signature(one: Operation) -> str:
    told = ", ".join(f"{name} {_property(p)}" for name, p in one.parameters.items())
    kind = "function" if one.function else "action"
    return f"{kind} {one.bound}.{one.name}({told})" + (f": {_property(one.returns)}" if one.returns else "")


def lines(document: Mapping[str, Any]) -> str:
    """Return a document as JSON with a line for each entry, so that a change of one is a change of a line."""
    parts = []
    for key, value in document.items():
        if isinstance(value, dict):
            entries = [f"{json.dumps(n)}: {json.dumps(v, separators=(',', ':'))}" for n, v in value.items()]
            parts.append(f"{json.dumps(key)}: {{\n" + ",\n".join(entries) + "\n}")
        elif isinstance(value, list):
            parts.append(f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(v) for v in value) + "\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
