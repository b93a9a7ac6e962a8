"""Finds the handler of a Graph path: case-insensitive segments, three key spellings, doubled slashes, qualified names.

Sources: sources.md#record-key-spellings, sources.md#routing-errors, sources.md#addresses-of-clients,
sources.md#qualified-names.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import unquote

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.routes import QUALIFIED
from pfxlab.emulator.graph.permissions import Permissions
from pfxlab.emulator.graph.request import Handler

_PARENTHESES = re.compile(r"(?P<name>[^()]+)\((?P<key>.*)\)", re.DOTALL)

CAST: Final = "{type}"
"""Stands in a template for the qualified name of a type, to which the path casts what stands before it."""


@dataclass(frozen=True)
class Route:
    """A method of a resource: who may call it, and what answers."""

    handler: Handler
    permissions: Permissions
    versions: tuple[str, ...] = ("beta", "v1.0")


@dataclass
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    key: "_Node | None" = None
    cast: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict)

    @property
    def is_action(self) -> bool:
        """Return whether this is a bound action, which answers to POST and has nothing below it."""
        return set(self.routes) == {"POST"} and not self.literals and self.key is None


class Found(NamedTuple):
    """The route of a path, the keys in it, and the type it casts to, without its namespace."""

    route: Route
    keys: tuple[str, ...]
    cast: str | None = None


def split_path(path: str) -> list[str]:
    """Return a raw (still percent-encoded) path as segments; a key in parentheses becomes its own segment."""
    if "%" not in path and "(" not in path:
        return [text for text in path.split("/") if text]
    segments = []
    for raw in path.split("/"):
        text = unquote(raw)
        match = _PARENTHESES.fullmatch(text)
        if match is None:
            segments += [text] if text else []
        else:
            segments += [match["name"], _unquoted(match["key"])]
    return segments


def _unquoted(key: str) -> str:
    if len(key) >= 2 and key[0] == key[-1] == "'":
        return key[1:-1].replace("''", "'")
    return key


class Router:
    """All routes of Graph, as a tree of segments."""

    def __init__(self) -> None:
        self._root = _Node()

        self.table: list[tuple[str, str, Route]] = []

    def add(self, method: str, template: str, route: Route) -> None:
        """Register a route; `{}` in the template stands for an entity's key, `{type}` for a cast."""
        self.table.append((method, template, route))
        node = self._root
        for segment in template.split("/"):
            if segment == "{}":
                node.key = node.key or _Node()
                node = node.key
            elif segment == CAST:
                node.cast = node.cast or _Node()
                node = node.cast
            else:
                node = node.literals.setdefault(segment.casefold(), _Node())
        node.routes[method] = route

    def has(self, version: str, segments: Sequence[str]) -> bool:
        """Return whether some method has a route at a path."""
        try:
            self.find("", version, segments)
        except errors.GraphError as refused:
            return refused.rule == "MethodUnknown"
        return True

    def find(self, method: str, version: str, segments: Sequence[str]) -> Found:
        """Return the route of a path.

        Raises:
            GraphError: no such path, or no such method on it.

        """
        node, cast, keys = self._root, None, []
        for segment in segments:
            literal = node.literals.get(segment.casefold())
            if literal is not None:
                node = literal
            elif "." in segment and (qualified := QUALIFIED.fullmatch(segment)) is not None:
                following = _qualified(node, qualified["name"])
                if following is None:
                    raise errors.unknown_segment(segment)
                if following is node.cast:
                    cast = qualified["name"]
                node = following
            elif node.key is not None:
                node = node.key
                keys.append(segment)
            else:
                raise errors.unknown_segment(segment)
        route = node.routes.get(method)
        if route is not None and version in route.versions:
            return Found(route, tuple(keys), cast)
        if any(version in other.versions for other in node.routes.values()):
            raise errors.method_not_allowed(method)
        raise errors.unknown_segment(segments[-1] if segments else "")


def _qualified(node: _Node, name: str) -> _Node | None:
    """Return what a name with its namespace leads to: a route below one type, an action, or a cast."""
    name = name.casefold()
    below_type = node.literals.get(f"microsoft.graph.{name}")
    if below_type is not None:
        return below_type
    action = node.literals.get(name)
    return action if action is not None and action.is_action else node.cast
