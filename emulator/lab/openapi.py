"""The control API as an OpenAPI 3.1 document, made of its verbs."""

import re
from typing import Any

from pfxlab.emulator.lab.control import PREFIX
from pfxlab.emulator.lab.verbs import Endpoint, endpoints

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


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    text = {"type": "string"}
    places = re.findall(r"{(\w+)}", endpoint.path)
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in places] + [
        {"name": name, "in": "query", "description": means, "schema": text} for name, means in endpoint.query.items()
    ]


def _operation(endpoint: Endpoint, does: str) -> dict[str, Any]:
    media = "application/zip" if endpoint.answer.get("format") == "binary" else "application/json"
    refused = {"description": "refused: what was expected, and what came", "content": _json(_ERROR)}
    operation: dict[str, Any] = {
        "operationId": endpoint.operation,
        "summary": does,
        "responses": {"200": {"description": "done", "content": {media: {"schema": endpoint.answer}}}, "4XX": refused},
    }
    parameters = _parameters(endpoint)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {"content": _json(endpoint.body)}
    if endpoint.public:
        operation["security"] = []
    return operation


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def document() -> dict[str, Any]:
    """Return the description of the control API."""
    paths: dict[str, dict[str, Any]] = {}
    for verb, endpoint in endpoints():
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, verb.does)
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
