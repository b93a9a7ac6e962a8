"""YAML files of the user's, checked by JSON Schema: what is wrong with one is said in a sentence with its line."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pfxlab.emulator.wire.json_schema import choice_of, draft_2020_12, narrowed, place_of, problem_of
from pfxlab.scenarios import bounded_yaml
from pfxlab.scenarios.nearest import near


class InvalidYaml(ValueError):
    """A text that is not what the schema asks for; says where, what was expected, and what came."""


def line_of(node: yaml.Node, path: Sequence[str | int]) -> int:
    """Return the line of what a path leads to, or of the last thing on the way that is there."""
    line = node.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        else:
            return line
    return line


def checked(text: str, schema: Mapping[str, Any], place: str, holds: str) -> tuple[yaml.Node, Any]:
    """Return the nodes and the values of a YAML text; `place` and `holds` stand in what is said about it.

    Raises:
        InvalidYaml: it is not YAML, empty, or against the schema; with the line.

    """
    try:
        root, body = bounded_yaml.compose(text), bounded_yaml.load(text)
    except yaml.MarkedYAMLError as error:
        raise InvalidYaml(f"{place}, {bounded_yaml.problem_of(error)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidYaml(f"{place}: expected YAML, got something else ({error})") from None
    if root is None:
        raise InvalidYaml(f"{place}, line 1: expected {holds}, got an empty file")
    errors = sorted(draft_2020_12(schema).iter_errors(body), key=lambda e: line_of(root, list(e.absolute_path)))
    if errors:
        found = narrowed(errors[0])
        line, inside, choice = line_of(root, list(found.absolute_path)), place_of(found) or "the file", choice_of(found)
        hint = "" if choice is None else near(*choice)
        raise InvalidYaml(f"{place}, line {line}: {inside}: {problem_of(found)}{hint}")
    return root, body
