"""The @odata.type of a body: its name must be one of the model's, in the model's case.

Sources: sources.md#record-odata-type, sources.md#model-validation.
"""

from typing import Any, Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.model import COMPLEX_TYPES, ENTITY_TYPES, NAMESPACE

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
