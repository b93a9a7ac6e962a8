"""Where a path leads in Microsoft's model, also where the lab has no route: routes.json beside this module. Pure.

A walk costs one look-up for each segment. Below Intune's roots and the types that the lab serves each name is known; a
path that goes on from there to other parts of Graph (mail, files) is taken as it is.
Source: sources.md#published-model.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from pfxlab.emulator.graph.odata.model import model_of

MOST_SEGMENTS: Final = 64
"""The model has circles, such as members of groups of members: a path may be as long as the client likes."""
QUALIFIED: Final = re.compile(r"(?:microsoft\.)?graph\.(?P<name>\w+)", re.IGNORECASE)
"""A name with its namespace, in full or by the model's alias."""

_UNKNOWN: Final = "?"
_INTUNE: Final = ("deviceManagement", "deviceAppManagement")


class Place(NamedTuple):
    """Where a path leads. `fragment` is its form in an @odata.context.

    `entities` says whether that is a collection of entities, `counted` whether the path ends in their number.
    """

    kind: str
    fragment: str
    intune: bool
    entities: bool = False
    counted: bool = False


@dataclass
class NoSuchSegment(Exception):
    """The model has nothing of this name at this place of the path."""

    segment: str


@dataclass(frozen=True)
class _Type:
    """What a path may go on with from an entity, and from a collection of them.

    `members`: folded name → name and type, '' for what is no entity.
    """

    base: str | None
    members: dict[str, tuple[str, str]]
    collection: frozenset[str]


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(Path(__file__).with_name("routes.json").read_bytes())
    return facts


@cache
def _roots(version: str) -> dict[str, tuple[str, str]]:
    """Return the first segments of paths: folded name → name and type."""
    roots = {}
    for name, said in _facts()["roots"].items():
        first, _, rest = said.partition(" ")
        if not rest or first == version:
            roots[name.casefold()] = (name, rest or first)
    return roots


@cache
def _type(name: str, version: str) -> _Type | None:
    """Return a type with what it inherits, None when the version has none of that name."""
    base, members, collection = None, {}, set()
    words = [_word(word, version) for word in _facts()["types"].get(name, "").split()]
    if not any(words):
        return None
    for word in filter(None, words):
        member, typed, kind = word.partition("=")
        if word.startswith("<"):
            base = word[1:]
        elif word.startswith("[]"):
            collection.add(word[2:].removesuffix("()").casefold())
        else:
            bare = member.removesuffix("()")
            members[bare.casefold()] = (bare, kind if typed else "")
    inherited = None if base is None else _type(base, version)
    if inherited is not None:
        members, collection = {**inherited.members, **members}, collection | inherited.collection
    properties = model_of(version).properties_of(name)
    return _Type(base, {**{p.casefold(): (p, "") for p in properties}, **members}, frozenset(collection))


def _word(word: str, version: str) -> str | None:
    """Return a word without its version, None when it is of the other one."""
    head, colon, rest = word.partition(":")
    if not colon or head not in ("beta", "v1.0"):
        return word
    return rest if head == version else None


def place_of(version: str, segments: Sequence[str]) -> Place:
    """Return where a path leads; keys in parentheses are segments of their own.

    Raises:
        NoSuchSegment: the model has no such path.

    """
    first, *rest = segments or [""]
    name, kind = _roots(version).get(first.casefold(), ("", ""))
    if not name:
        raise NoSuchSegment(first)
    place = Place(kind.removesuffix("[]"), name, name in _INTUNE, entities=kind.endswith("[]"))
    for number, segment in enumerate(rest):
        if place.kind in ("", _UNKNOWN):
            return place._replace(entities=False)
        if number == MOST_SEGMENTS:
            raise NoSuchSegment(segment)
        place = _step(place, segment, version)
    return place


def _step(place: Place, segment: str, version: str) -> Place:
    folded = segment.casefold()
    qualified = QUALIFIED.fullmatch(segment) if "." in segment else None
    name = folded if qualified is None else qualified["name"].casefold()
    known = _type(place.kind, version)
    if known is None:
        # An abstract base of a type that the list has not: nothing is known of what follows.
        return place._replace(kind=_UNKNOWN, entities=False)
    if place.entities:
        return _from_collection(place, segment, name, known, qualified is not None, version)
    if folded in ("$value", "$ref"):
        return place._replace(kind="")
    member = known.members.get(name) or known.members.get(folded)
    if member is not None:
        spelled, kind = member
        fragment = f"{place.fragment}/{spelled}"
        return place._replace(kind=kind.removesuffix("[]"), fragment=fragment, entities=kind.endswith("[]"))
    return _cast(place, segment, name, qualified is not None, version)


def _from_collection(place: Place, segment: str, name: str, known: _Type, qualified: bool, version: str) -> Place:
    if name == "$count":
        return place._replace(kind="", entities=False, counted=True)
    if name == "$ref" or name in known.collection or segment.casefold() in known.collection:
        return place._replace(kind="", entities=False)
    if qualified:
        return _cast(place, segment, name, qualified, version)
    key = segment.replace("'", "''")
    return place._replace(fragment=f"{place.fragment}('{key}')", entities=False)


def _cast(place: Place, segment: str, name: str, qualified: bool, version: str) -> Place:
    """Return the place seen as a type derived from its own, or as its base."""
    kind = _type_names().get(name) if qualified else None
    if kind is None or not (_is(kind, place.kind, version) or _is(place.kind, kind, version)):
        raise NoSuchSegment(segment)
    return place._replace(kind=kind, fragment=f"{place.fragment}/microsoft.graph.{kind}")


@cache
def _type_names() -> dict[str, str]:
    return {name.casefold(): name for name in _facts()["types"]}


def _is(kind: str, base: str, version: str) -> bool:
    """Return whether a type is another one or derived from it."""
    following: str | None = kind
    while following is not None and following != base:
        known = _type(following, version)
        following = None if known is None else known.base
    return following is not None
