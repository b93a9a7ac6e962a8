"""YAML with bounds: a loader that counts what aliases repeat, how deep values lie, and how long numbers are.

Whatever is wrong with a text comes as one kind of error, with its line. That includes a key that comes twice, of which
PyYAML silently takes the last.

A few hundred bytes of aliases stand for more values than a machine has memory ("billion laughs"); PyYAML shares them,
and whatever walks the result afterwards does not.
"""

import re
from typing import Any, Final

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

_MOST_REPEATED: Final = 10_000
"""Values that all aliases of a text stand for together."""

_DEEPEST: Final = 50
_LONGEST_NUMBER: Final = 100
_HALF: Final = re.compile("[\ud800-\udfff]")
_MERGE: Final = "tag:yaml.org,2002:merge"
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class BeyondBounds(ComposerError):
    """YAML that repeats too much, lies too deep, or has a value that is not readable; `problem` is a whole sentence."""


class BoundedLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a text beyond its bounds while reading it, with the line."""

    def __init__(self, stream: str) -> None:
        """Begin to read a text.

        Raises:
            BeyondBounds: it holds a character that YAML does not have.

        """
        try:
            super().__init__(stream)
        except ReaderError as error:
            line = stream.count("\n", 0, error.position)
            mark = yaml.Mark("", error.position, line, 0, None, 0)
            raise _refusal(f"printable text, got the character U+{error.character:04X}", mark) from None
        self._depth = self._repeated = self._seen = 0
        self._size: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Compose a node, its values and those of its aliases counted.

        Raises:
            BeyondBounds: nested too deep, too many values by aliases, an alias to what holds it, too long a number,
                half a character.

        """
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            aliased: Any = super().compose_node(parent, index)
            self._count_alias(aliased, event)
            return aliased  # type: ignore[no-any-return]
        before, self._depth = self._seen, self._depth + 1
        if self._depth > _DEEPEST:
            raise _refusal(f"values nested at most {_DEEPEST} deep, got more", event.start_mark)
        node: Any = super().compose_node(parent, index)
        self._depth, self._seen = self._depth - 1, self._seen + 1
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise _refusal(
                f"a number of at most {_LONGEST_NUMBER} characters, got one of {len(node.value)}", event.start_mark
            )
        if isinstance(node, yaml.ScalarNode) and _HALF.search(node.value):
            raise _refusal("whole characters, got one half of a surrogate pair", event.start_mark)
        if event.anchor is not None:
            self._size[id(node)] = self._seen - before
        return node  # type: ignore[no-any-return]

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping. What a merge (`<<`) brings may come again: that replaces it.

        Raises:
            BeyondBounds: a key comes twice.

        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        before: dict[Any, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name = self.construct_object(key)
            if name in before:
                earlier = before[name].line + 1
                raise _refusal(f"each key once, got {key.value!r:.60} here and in line {earlier}", key.start_mark)
            before[name] = key.start_mark
        return node

    def scan_flow_scalar(self, style: str) -> Any:
        """Return the token of a quoted text.

        Raises:
            BeyondBounds: an escape is no character.

        """
        try:
            return super().scan_flow_scalar(style)
        except (ValueError, OverflowError):
            raise _refusal("escapes of Unicode characters, got another number", self.get_mark()) from None

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node.

        Raises:
            BeyondBounds: its text is not what its tag says; PyYAML raises whatever comes.

        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            kind = str(node.tag).rpartition(":")[2]
            wanted = f"a valid {kind}, or quotes around a text that looks like one"
            raise _refusal(f"{wanted}, got something else", node.start_mark) from None

    def _count_alias(self, node: yaml.Node, event: Any) -> None:
        size = self._size.get(id(node))
        if size is None:
            raise _refusal(f"an alias to what stands before it, {event.anchor!r:.40} holds itself", event.start_mark)
        self._repeated, self._seen = self._repeated + size, self._seen + size
        if self._repeated > _MOST_REPEATED:
            raise _refusal(f"aliases for at most {_MOST_REPEATED:,} values, got more", event.start_mark)


def _refusal(wanted: str, mark: Any) -> BeyondBounds:
    return BeyondBounds(None, None, f"expected {wanted}", mark)


class _TextLoader(BoundedLoader):
    """Leaves moments the texts that they are: YAML would make dates of some and lose their zone."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def compose(text: str) -> yaml.Node | None:
    """Return the nodes of a YAML text, with their lines; None for an empty one.

    Raises:
        yaml.MarkedYAMLError: it is not YAML, or beyond the bounds.

    """
    return yaml.compose(text, Loader=_TextLoader)


def load(text: str) -> Any:
    """Return the values of a YAML text, with moments as the texts that they are.

    Raises:
        yaml.MarkedYAMLError: it is not YAML, or beyond the bounds.

    """
    return yaml.load(text, Loader=_TextLoader)  # noqa: S506 - a SafeLoader


def problem_of(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong with a text, with its line."""
    line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
    wrong = str(error.problem) if isinstance(error, BeyondBounds) else f"expected YAML, got {error.problem}"
    return f"line {line}: {wrong}"


def load_with_dates(text: str) -> Any:
    """Return the values of a YAML text, with moments as dates; raises as `load` does."""
    return yaml.load(text, Loader=BoundedLoader)  # noqa: S506 - a SafeLoader
