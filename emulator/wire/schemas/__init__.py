"""JSON Schemas (Draft 2020-12) of request bodies, compiled once."""

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

import jsonschema_rs

from pfxlab.emulator.wire.json_schema import draft_2020_12

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


@cache
def validator(name: str) -> "Draft202012Validator":
    """Return the compiled schema `name`.json of this folder."""
    schema: dict[str, Any] = json.loads((files(__name__) / f"{name}.json").read_text("utf-8"))
    compiled = draft_2020_12(schema)
    compiled.check_schema(schema)
    return compiled


@cache
def _fast(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(dict(cast(Any, validator(name).schema)))


def first_problem(name: str, body: object, whole: str = "the body") -> str | None:
    """Return what is wrong with a body in one sentence, or None: where, what was expected, what came.

    `whole`: what the body as a whole is called.
    """
    try:
        # The first problem only: to look for all of them takes minutes with a large body.
        _fast(name).validate(body)
    except jsonschema_rs.ValidationError as error:
        where = "/".join(str(part) for part in error.instance_path) or whole
        rule, wanted = str(error.schema_path[-1]), cast(Any, validator(name).schema)
        for part in error.schema_path:
            wanted = wanted[part]
        return f"{where}: {_without_values(rule, wanted, error.instance)}"
    return None


def _without_values(rule: object, wanted: object, instance: object) -> str:
    # Bodies carry ciphertext and secrets: the sentence names the rule and the kind of value, never the value.
    if rule == "required" and isinstance(instance, dict) and isinstance(wanted, list):
        return f"expected {', '.join(name for name in wanted if name not in instance)}, got none"
    return f"expected {rule} {json.dumps(wanted)[:200]}, got {type(instance).__name__}"
