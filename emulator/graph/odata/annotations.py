"""Metadata levels: what `Accept: application/json;odata.metadata=…` adds to an answer, or takes from it. Pure.

`full` names types, ids and edit links in the relative form the service uses; text, whole numbers and truth values need
no type. Source: sources.md#metadata-levels.
"""

import re
from typing import Any, Final

from pfxlab.emulator.graph.odata.model import PRIMITIVES, model_of
from pfxlab.emulator.graph.odata.versions import path_of, type_at

_NATIVE: Final = ("String", "Boolean", "Int32")
_LEVEL = re.compile(r"odata\.metadata=(none|minimal|full)")


def level_of(accept: str) -> str:
    """Return the metadata level an Accept header asks for; minimal when it asks for none."""
    match = _LEVEL.search(accept.replace(" ", "").lower())
    return "minimal" if match is None else match[1]


def at_level(body: Any, level: str, version: str) -> Any:
    """Return an answer with the annotations of a level; it comes with those of minimal."""
    if level == "none":
        return _bare(body)
    if level == "full" and isinstance(body, dict) and "@odata.context" in body:
        return _full(body, version)
    return body


def _bare(value: Any) -> Any:
    """Of all annotations only links and counts stay."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = ("@odata.nextLink", "@odata.count")
    return {name: _bare(v) for name, v in value.items() if "@odata." not in name or name in kept}


def _full(body: dict[str, Any], version: str) -> dict[str, Any]:
    path = path_of(body["@odata.context"])
    kind = type_at(path, version)
    if kind is None:
        return body
    if isinstance(body.get("value"), list):
        return {**body, "value": [_entity(item, kind, path, version) for item in body["value"]]}
    return _entity(body, kind, path, version)


def _entity(body: dict[str, Any], kind: str, path: str, version: str) -> dict[str, Any]:
    given = str(body.get("@odata.type", f"#microsoft.graph.{kind}"))
    kind = given.removeprefix("#microsoft.graph.")
    address = f"{path}('{body['id']}')" if "id" in body and not path.endswith(")") else path
    head = {name: value for name, value in body.items() if name == "@odata.context"}
    head["@odata.type"] = given
    if "id" in body:
        # Without its key, which $select left out, an entity has no address.
        head |= {"@odata.id": address, "@odata.editLink": address}
    return {**head, **_typed({n: v for n, v in body.items() if n not in head}, kind, version)}


def _typed(values: dict[str, Any], kind: str, version: str) -> dict[str, Any]:
    """Return properties, each after the annotation of its type where JSON cannot show it."""
    types = model_of(version).properties_of(kind)
    shown: dict[str, Any] = {}
    for name, value in values.items():
        short = types.get(name)
        if short is not None and value is not None and short not in _NATIVE:
            inner = short.removesuffix("[]")
            full = inner if inner in PRIMITIVES else f"microsoft.graph.{inner}"
            shown[f"{name}@odata.type"] = f"#Collection({full})" if short.endswith("[]") else f"#{full}"
        shown[name] = value
    return shown
