"""YAML files of the user's, checked by JSON Schema: what is wrong with one is said in a sentence with its line."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pfxlab.emulator.wire.json_schema import draft_2020_12, narrowed
from pfxlab.scenarios import bounded_file, bounded_yaml, json_values, schema_problem


class InvalidYaml(ValueError):
    """A text that is not what the schema asks for; says where, what was expected, and what came."""


def text_of(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InvalidYaml: it cannot be read, is too large, or is not UTF-8; with the line.

    """
    try:
        data = bounded_file.read(path, bounded_file.TEXT)
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        got = f"the byte 0x{error.object[error.start]:02x}"
        raise InvalidYaml(f"{path}, line {line}: expected text in UTF-8, got {got}") from None
    except bounded_file.TooLarge as error:
        raise InvalidYaml(f"{path}: {error}") from None
    except OSError as error:
        raise InvalidYaml(f"{path}: expected a file that can be read, got: {error.strerror}") from None


def values_of(path: Path, load: Callable[[str], Any] = bounded_yaml.load) -> Any:
    """Return the values of a file, which are those of JSON; None for an empty one.

    Raises:
        InvalidYaml: it cannot be read, is not YAML, or holds what JSON does not; with the line or the place.

    """
    try:
        body = load(text_of(path))
    except yaml.MarkedYAMLError as error:
        raise InvalidYaml(f"{path}, {bounded_yaml.problem_of(error)}") from None
    odd = json_values.first_odd(body)
    if odd is not None:
        where, problem = odd
        raise InvalidYaml(f"{path}: {'/'.join(map(str, where)) or 'the file'}: {problem}")
    return body


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
    if root is None:
        raise InvalidYaml(f"{place}, line 1: expected {holds}, got an empty file")
    # An unknown key before a missing one: it is often what the other should be.
    errors = sorted(
        draft_2020_12(schema).iter_errors(body),
        key=lambda e: (line_of(root, list(e.absolute_path)), e.validator != "additionalProperties"),
    )
    if errors:
        found = narrowed(errors[0])
        line = line_of(root, list(found.absolute_path))
        raise InvalidYaml(f"{place}, line {line}: {schema_problem.sentence(found)}")
    odd = json_values.first_odd(body)
    if odd is not None:
        where, problem = odd
        line = line_of(root, where)
        raise InvalidYaml(f"{place}, line {line}: {where[-1] if where else 'the file'}: {problem}")
    return root, body
