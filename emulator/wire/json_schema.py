"""JSON Schema, Draft 2020-12: the validator, and what values and errors are in words.

The validator is loaded when first needed, for it takes a while.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

from pfxlab.emulator.wire.numbers import counted
from pfxlab.emulator.wire.text import quoted, shown

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

A_LIST: Final = "a list such as [a, b]"
_TYPES: Final = {
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": A_LIST,
    "object": "values such as {a: b}",
    "null": "nothing",
}
_KINDS: Final[Mapping[type, str]] = {dict: "an object", list: "a list", str: "a text"}
_LENGTHS: Final[Mapping[str, tuple[str, ...]]] = {
    "minLength": ("at least", "character"),
    "maxLength": ("at most", "character"),
    "minItems": ("at least", "entry", "entries"),
    "maxItems": ("at most", "entry", "entries"),
    "minProperties": ("at least", "value"),
    "maxProperties": ("at most", "value"),
}


def draft_2020_12(schema: Mapping[str, Any]) -> "Draft202012Validator":
    """Return the validator of a schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema)


def described(schema: Mapping[str, Any]) -> str:
    """Return what a value may be: the schema's `title`, its choices, or its type with the bounds of a number."""
    if "title" in schema:
        return str(schema["title"])
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum") or [schema["const"]]))
    # Alternatives that only require keys say nothing of what the value is.
    inner = [one for one in (*schema.get("oneOf", ()), *schema.get("anyOf", ())) if set(one) != {"required"}]
    if inner:
        return described_either(inner)
    kinds = schema.get("type", "object")
    return " or ".join(_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)) + _bounds(schema)


def described_either(schemas: list[Any]) -> str:
    """Return what a value may be that fits one of several schemas."""
    return " or ".join(dict.fromkeys(described(one) for one in schemas))


def _bounds(schema: Mapping[str, Any]) -> str:
    least, above, most = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if above is not None:
        return f" above {above}" + ("" if most is None else f", at most {most}")
    if least is None:
        return "" if most is None else f" of at most {most}"
    return f" from {least}" + ("" if most is None else f" to {most}")


def narrowed(error: "ValidationError") -> "ValidationError":
    """Return the part of an error that matters: of alternatives, the one that the value was meant for."""
    if error.validator not in ("anyOf", "oneOf") or _keys(error):
        return error
    branches = groupby(error.context or (), lambda one: one.relative_schema_path[0])
    meant = [found for _, problems in branches if not any(map(_of_another_type, found := list(problems)))]
    if not meant:
        return error
    # An alternative with the right keys is nearer than one that lacks some.
    return narrowed(next((found for found in meant if all(one.relative_path for one in found)), meant[0])[0])


def _of_another_type(error: "ValidationError") -> bool:
    return not error.relative_path and error.validator in ("type", "enum", "const")


def _keys(error: "ValidationError") -> list[list[str]]:
    """Return the sets of keys of which one must be there, if that is what an error is about."""
    wanted = error.validator_value
    if error.validator not in ("anyOf", "oneOf") or not isinstance(wanted, list):
        return []
    keys = [one["required"] for one in wanted if isinstance(one, dict) and set(one) == {"required"}]
    return keys if len(keys) == len(wanted) else []


def place_of(error: "ValidationError") -> str:
    """Return where in the value an error is, such as `steps/2/device`; entries count from 1. Empty: all of it."""
    return "/".join(str(part + 1) if isinstance(part, int) else str(part) for part in error.absolute_path)


def choice_of(error: "ValidationError") -> tuple[str, list[str]] | None:
    """Return the name that is not known and those that are, if that is what an error is about."""
    if error.validator == "additionalProperties" and isinstance(error.schema, dict):
        known = sorted(error.schema.get("properties", {}))
        return ", ".join(sorted(set(map(str, cast(Any, error.instance))) - set(known))), known
    if error.validator == "enum" and isinstance(error.instance, str):
        return error.instance, list(map(str, cast(Any, error.validator_value)))
    return None


def problem_of(error: "ValidationError") -> str:
    """Return what was expected, and what came; a password is not repeated."""
    keys, choice = _keys(error), choice_of(error)
    wanted, value = cast(Any, error.validator_value), cast(Any, error.instance)
    if keys and isinstance(value, dict):
        return _keys_problem(keys, value)
    if choice is not None:
        unknown, known = choice
        got = shown(unknown, 100) if isinstance(value, dict) else _got(error)
        return f"expected one of {', '.join(known)}, got {got}"
    if error.validator == "required":
        return f"expected {', '.join(name for name in wanted if name not in value)}, got none"
    if str(error.validator) in _LENGTHS:
        bound, *unit = _LENGTHS[str(error.validator)]
        return f"expected {bound} {counted(wanted, *unit)}, got {len(value):,}"
    if isinstance(error.schema, dict) and ("title" in error.schema or error.validator in _DESCRIBED):
        one_of = "one of " if error.validator == "enum" else ""
        return f"expected {one_of}{described(error.schema)}, got {_got(error)}"
    return error.message[:300]


_DESCRIBED: Final = ("type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "anyOf", "oneOf")
"""Keywords whose schema says in words what was expected."""


def _keys_problem(keys: list[list[str]], value: Mapping[str, Any]) -> str:
    given = [one for one in keys if one[0] in value]
    lacking = [(first, [name for name in others if name not in value]) for first, *others in given]
    if lacking and lacking[0][1]:
        return f"expected {', '.join(lacking[0][1])} beside {lacking[0][0]}, got none"
    names = [one[0] for one in keys]
    got = " and ".join(one[0] for one in given)
    if len(names) == 2:
        return f"expected {' or '.join(names)}, got {got or 'neither'}"
    return f"expected one of {', '.join(names)}, got {got or 'none of them'}"


def _got(error: "ValidationError") -> str:
    value = error.instance
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list) or "password" in error.absolute_path:
        return _KINDS.get(type(value), "another value")
    return quoted(value) if isinstance(value, str) else shown(value)
