"""Values of enumerations in bodies: names of the model, whatever their case, flags joined by commas.

Sources: sources.md#purpose-and-padding-names, sources.md#published-model.
"""

from functools import cache
from typing import Final

from pfxlab.emulator.graph.odata.model import ENUM_TYPES
from pfxlab.emulator.wire.text import quoted

_FLAGS: Final = frozenset({"subjectAlternativeNameType", "keyUsages"})
_SERVICE_TYPES: Final = "microsoft.management.services.api"


def canonical(enumeration: str, text: str) -> str:
    """Return a value as the service answers it, each member in the model's own case.

    Raises:
        ValueError: the enumeration has no such member, or does not combine members.

    """
    members = _by_name(enumeration)
    parts = [part.strip() for part in text.split(",")] if enumeration in _FLAGS else [text]
    unknown = [part for part in parts if part.casefold() not in members]
    if unknown:
        raise ValueError(f"expected one of {', '.join(members.values())}, got {quoted(unknown[0])}")
    return ",".join(members[part.casefold()] for part in parts)


def service_type(enumeration: str) -> str:
    """Return the name that the service has for an enumeration."""
    return f"{_SERVICE_TYPES}.{enumeration}"


@cache
def _by_name(enumeration: str) -> dict[str, str]:
    return {name.casefold(): name for name in ENUM_TYPES[enumeration]}
