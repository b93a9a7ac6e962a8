"""YAML files of the user's, checked by JSON Schema: what is wrong with one is said in a sentence with its line."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from pfxlab.emulator.wire.json_schema import draft_2020_12
from pfxlab.scenarios import bounded_yaml

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


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
        shown_error = _narrowed(errors[0])
        where = list(shown_error.absolute_path)
        shown = "/".join(str(part + 1) if isinstance(part, int) else part for part in where) or "the file"
        raise InvalidYaml(f"{place}, line {line_of(root, where)}: {shown}: {_sentence(shown_error)}")
    return root, body


def _narrowed(error: "ValidationError") -> "ValidationError":
    """Return the most telling part of an error that has alternatives."""
    if _alternatives(error):
        return error
    from jsonschema.exceptions import ValidationError, best_match

    inner = best_match([error])
    return inner if isinstance(inner, ValidationError) else error


def _alternatives(error: "ValidationError") -> list[str]:
    """Return the keys of which one must be there, if that is what an error is about."""
    wanted = error.validator_value
    if error.validator not in ("anyOf", "oneOf") or not isinstance(wanted, list):
        return []
    keys = [one["required"][0] for one in wanted if isinstance(one, dict) and set(one) == {"required"}]
    return keys if len(keys) == len(wanted) else []


def _sentence(error: "ValidationError") -> str:
    schema_, wanted = error.schema, error.validator_value
    keys = _alternatives(error)
    if keys and isinstance(error.instance, dict):
        given = [key for key in keys if key in error.instance]
        return f"expected {' or '.join(keys)}, got {' and '.join(given) or 'neither'}"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict) and isinstance(schema_, dict):
        known = sorted(schema_.get("properties", {}))
        unknown = sorted(set(map(str, error.instance)) - set(known))
        return f"expected one of {', '.join(known)}, got {', '.join(unknown)[:100]}"
    if error.validator == "enum" and isinstance(wanted, list):
        return f"expected one of {', '.join(map(str, wanted))}, got {error.instance!r}"[:600]
    if error.validator == "required" and isinstance(error.instance, dict) and isinstance(wanted, list):
        missing = [name for name in wanted if name not in error.instance]
        return f"expected {', '.join(missing)}, got none"
    return error.message[:300]
