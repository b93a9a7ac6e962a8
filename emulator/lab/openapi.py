"""The control API as an OpenAPI 3.1 document, made of its verbs."""

import re
from typing import Any

from pfxlab.emulator.lab.control import PREFIX, VERBS, Verb

_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}


def _parameters(verb: Verb) -> list[dict[str, Any]]:
    text = {"type": "string"}
    places = [{"name": n, "in": "path", "required": True, "schema": text} for n in re.findall(r"{(\w+)}", verb.path)]
    return places + [
        {"name": name, "in": "query", "description": meaning, "schema": text} for name, meaning in verb.query.items()
    ]


def _operation(verb: Verb) -> dict[str, Any]:
    media = "application/zip" if verb.answer.get("format") == "binary" else "application/json"
    refused = {"description": "refused: what was expected, and what came", "content": _json(_ERROR)}
    operation: dict[str, Any] = {
        "operationId": verb.name,
        "summary": verb.summary,
        "responses": {"200": {"description": "done", "content": {media: {"schema": verb.answer}}}, "4XX": refused},
    }
    parameters = _parameters(verb)
    if parameters:
        operation["parameters"] = parameters
    if verb.body is not None:
        operation["requestBody"] = {"content": _json(verb.body)}
    if verb.public:
        operation["security"] = []
    return operation


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def document() -> dict[str, Any]:
    """Return the description of the control API."""
    paths: dict[str, dict[str, Any]] = {}
    for verb in VERBS:
        paths.setdefault(verb.path, {})[verb.method.lower()] = _operation(verb)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PFX Lab control API",
            "version": "1",
            "description": "Clock, faults, switches, seed data, snapshots, journal and explanations of a running lab."
            " Address and token stand in the ready file (control_url, control_token). Loopback only.",
        },
        "servers": [{"url": f"https://localhost:{{port}}{PREFIX}", "variables": {"port": {"default": "443"}}}],
        "components": {"securitySchemes": {"controlToken": {"type": "http", "scheme": "bearer"}}},
        "security": [{"controlToken": []}],
        "paths": paths,
    }
