"""The manifest of a bundle: what its JSON must be. Bundles are passed on, so each may come from anywhere."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pfxlab.scenarios import schema_problem
from pfxlab.scenarios.control.parts import PARTS

FORMAT: Final = "pfxlab bundle 1"
FORMER_KIND: Final = "story"
"""The name of a scenario in bundles of earlier versions, which can still be read."""

_SEED: Final = {"type": "integer", "minimum": -(10**100), "maximum": 10**100,
                "title": "a whole number of at most 100 digits"}  # fmt: skip
_TEXT: Final = {"title": "a text", "type": "string", "pattern": "^[^\\ud800-\\udfff]*$"}


def _exactly(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_LAB: Final = _exactly(
    {
        "seed": _SEED,
        "domain": {
            "title": "a domain such as pfxlab.example",
            "type": "string",
            "pattern": r"^[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+\Z",
        },
        "explain": {"type": "boolean"},
        "autoApproveUpn": {**_TEXT, "title": "a user principal name or nothing", "type": ["string", "null"]},
        "switches": {"type": "object"},
        "tenants": {"type": "array"},
        "parts": {"type": "array", "items": {"enum": list(PARTS)}},
    },
    "tenants",
    "parts",
)
_STARTS: Final = {
    "lab": _LAB,
    "scenario": _exactly({"seed": _SEED, "time": _TEXT, "scenario": _TEXT}, "time"),
    FORMER_KIND: _exactly({"seed": _SEED, "time": _TEXT, FORMER_KIND: _TEXT}, "time"),
}
_ASKED: Final = _exactly(
    {
        "afterRequests": {"type": "integer", "minimum": 0, "maximum": 10**9},
        "method": {"enum": ["POST", "PUT", "PATCH", "DELETE"]},
        "path": {"title": "a path such as /clock", "type": "string", "pattern": "^/[^\\ud800-\\udfff]*$"},
        "body": {},
        "byCommand": {"type": "boolean"},
    }
)
_END: Final = {
    "outcome": _TEXT,
    "why": _TEXT,
    "time": _TEXT,
    "frozen": {"type": "boolean"},
    "switches": {"type": "object"},
    "faults": {"type": "array"},
}


def _schema(kind: str) -> dict[str, Any]:
    return _exactly(
        {
            "format": {"const": FORMAT},
            "madeBy": _TEXT,
            "kind": {"const": kind},
            "timed": {"type": "boolean"},
            "start": _STARTS[kind],
            "end": _exactly(_END, *_END),
            "asked": {"type": "array", "items": _ASKED},
        }
    )


class KeyTwice(ValueError):
    """A JSON object that has a key twice."""


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise KeyTwice(f"expected each key once, got {twice[:40]!r} twice")
    return made


def checked(data: bytes) -> dict[str, Any]:
    """Return the values of a manifest.

    Raises:
        ValueError: it is none, or of another version; the text says where, what was expected and what came.

    """
    try:
        body = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once)
    except KeyTwice:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: expected JSON, got something else") from None
    except (ValueError, RecursionError):
        raise ValueError("expected JSON in UTF-8, got something else") from None
    if not isinstance(body, dict):
        raise ValueError(f"expected a JSON object, got {type(body).__name__}")
    if body.get("format") != FORMAT:
        got = str(body.get("format", "none"))[:40]
        raise ValueError(f"format: expected {FORMAT!r}, got {got!r}; create it again with this version")
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in _STARTS:
        raise ValueError(f"kind: expected the run of a scenario or a lab, got {str(kind)[:40]!r}")
    problem = schema_problem.first_problem(_schema(kind), body)
    if problem is not None:
        raise ValueError(problem)
    return body
