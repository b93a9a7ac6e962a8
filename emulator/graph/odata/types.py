"""The @odata.type of a body, whose name must be one of the model's, and values of types that have no null.

Sources: sources.md#record-odata-type, sources.md#model-validation, sources.md#values-without-null.
"""

from typing import Any, Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.model import BETA, COMPLEX_TYPES, ENTITY_TYPES, NAMESPACE, model_of

_PREFIXES: Final = (f"{NAMESPACE}.", "graph.")


def short_name(given: object) -> str:
    """Return the name of the type that an annotation names, without `#` and namespace.

    Raises:
        GraphError: it is no text, or in another namespace.

    """
    if not isinstance(given, str):
        raise errors.schema_mismatch("@odata.type", f"@odata.type: expected a text, got {type(given).__name__}")
    name = given.removeprefix("#")
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    raise errors.unknown_type(name)


def check_type(body: dict[str, Any], expected: str) -> None:
    """Check the @odata.type of a body, which may be missing, for a collection whose entities are of one type.

    Raises:
        GraphError: the model has no such type, or it is not the expected one.

    """
    given = body.get("@odata.type")
    if given is None or short_name(given) == expected:
        return
    name = short_name(given)
    if name in ENTITY_TYPES or name in COMPLEX_TYPES:
        raise errors.not_assignable(name, expected)
    raise errors.unknown_type(str(given).removeprefix("#"))


_NOTHING: Final = {
    "Boolean": False,
    "DateTimeOffset": "0001-01-01T00:00:00Z",
    "Double": 0.0,
    "Int32": 0,
    "Int64": 0,
    "String": "",
}
"""What stands for "nothing known" where a type has no null: the default of .NET, in which Intune is written."""


def nothing(kind: str) -> Any:
    """Return the value for "nothing known" of a type without null: of an enumeration, the member of lowest number.

    Raises:
        KeyError: no primitive type of these, and no enumeration of the model.

    """
    members = model_of(BETA).enumerations.get(kind)
    return _NOTHING[kind] if members is None else min(members, key=lambda name: members[name])


def without_nulls(type_name: str, item: dict[str, Any]) -> dict[str, Any]:
    """Return an entity whose properties have no null where the model's type has none."""
    model = model_of(BETA)
    kinds = model.properties_of(type_name)
    required = {name for one in model.lineage(type_name) for name in one.required}
    return {n: nothing(kinds[n]) if value is None and n in required else value for n, value in item.items()}
