"""Finds the handler of a Graph path: case-insensitive segments, the three key spellings, doubled slashes.

Sources: sources.md#record-key-spellings, sources.md#routing-errors, sources.md#addresses-of-clients.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.permissions import Permissions
from pfxlab.emulator.graph.request import Handler

_PARENTHESES = re.compile(r"(?P<name>[^()]+)\((?P<key>.*)\)", re.DOTALL)


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
    routes: dict[str, Route] = field(default_factory=dict)


def split_path(path: str) -> list[str]:
    """Return a raw (still percent-encoded) path as segments; a key in parentheses becomes its own segment."""
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
        """Register a route; `{}` in the template stands for an entity's key."""
        self.table.append((method, template, route))
        node = self._root
        for segment in template.split("/"):
            if segment == "{}":
                node.key = node.key or _Node()
                node = node.key
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

    def find(self, method: str, version: str, segments: Sequence[str]) -> tuple[Route, tuple[str, ...]]:
        """Return the route of a path and the keys in it.

        Raises:
            GraphError: no such path, or no such method on it.

        """
        node, keys = self._root, []
        for segment in segments:
            literal = node.literals.get(segment.casefold())
            if literal is not None:
                node = literal
            elif node.key is not None:
                node = node.key
                keys.append(segment)
            else:
                raise errors.unknown_segment(segment)
        routes = {name: route for name, route in node.routes.items() if version in route.versions}
        if not routes:
            raise errors.unknown_segment(segments[-1] if segments else "")
        if method not in routes:
            raise errors.method_not_allowed(method)
        return routes[method], tuple(keys)
