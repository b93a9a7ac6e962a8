"""Pieces of JSON Schema that verbs and expectations share; `title` is what help and errors call such a value."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pfxlab.emulator.wire.enums import IntendedPurpose

NAME: Final = {
    "title": "a name of letters, digits, spaces or _.()+-",
    "type": "string",
    "pattern": r"^[\w][\w .()+-]{0,63}$",
}
TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 300}
UPN: Final = {
    "title": "a user principal name",
    "type": "string",
    "pattern": r"^[^@\s]+@[^@\s]+$",
    "maxLength": 113,
}
SPAN: Final = {
    "title": "a duration such as 1d12h",
    "type": "string",
    "pattern": r"^(P[0-9WDTHMS]+|(\d+[wdhms])+)$",
}
MOMENT: Final = {
    "title": "a moment such as 2026-03-01T08:00:00Z",
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})$",
}
PURPOSE: Final = {"enum": [purpose.name for purpose in IntendedPurpose]}
LIST_OF_NAMES: Final = {
    "oneOf": [TEXT, {"type": "array", "items": TEXT}],
}


def closed(properties: Mapping[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the schema of an object with these properties and no others, all required unless told."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties), "required": names, "additionalProperties": False}


def either(*schemas: Any) -> dict[str, Any]:
    """Return the schema of a value that fits one of several."""
    return {"anyOf": list(schemas)}
