"""Property lists of bounded size, XML and binary.

A binary list may name one object from many places: 200 bytes stand for more than a machine has memory, as soon as
somebody walks or shows the result. Source: sources.md#apple-check-in.
"""

import plistlib
import struct
from datetime import datetime
from typing import Any, Final
from xml.parsers.expat import ExpatError

from pfxlab.emulator.wire.xml import NOT_XML, bounded

_NOT_PLIST: Final = (*NOT_XML, ExpatError, OverflowError, AttributeError, TypeError, struct.error, MemoryError)
"""What plistlib raises over other bytes: binary lists have numbers and references of their own."""

_BINARY_HEAD: Final = b"bplist00"
_LARGEST_BINARY: Final = 256 * 1024
_DEEPEST: Final = 40
_SHARED: Final = 2**20
_VALUE: Final = 16
"""What a value counts beside its characters: about the work that it makes."""

_SMALLEST_INTEGER, _BEYOND_INTEGER = -(2**63), 2**64


class PlistError(ValueError):
    """The bytes are not the property list the protocol asks for."""


def load(data: bytes) -> Any:
    """Return the value of a property list.

    Raises:
        PlistError: it is none, too large, nested too deep, names objects from too many places, or has an integer beyond
            64 bits.

    """
    if data.startswith(_BINARY_HEAD) and len(data) > _LARGEST_BINARY:
        raise PlistError(f"expected a binary property list of at most {_LARGEST_BINARY} bytes, got {len(data)}")
    try:
        value = plistlib.loads(bounded(data))
    except _NOT_PLIST as error:
        reason = f"{error}"[:200]
        raise PlistError(f"expected a property list, got {len(data)} bytes that are not one ({reason})") from None
    _check(value, _SHARED + 4 * len(data))
    return value


def _check(value: Any, most: int) -> None:
    """Let a value pass that is no larger than its bytes can hold without naming much twice."""
    level, depth, size = [value], 0, 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise PlistError(f"expected a property list nested at most {_DEEPEST} deep, got more")
        below: list[Any] = []
        for one in level:
            size += _size(one)
            if isinstance(one, dict):
                below += one.keys()
                below += one.values()
            elif isinstance(one, list):
                below += one
            if size + _VALUE * len(below) > most:
                raise PlistError("expected a property list that names its objects once, got one that repeats them")
        level = below


def _size(value: Any) -> int:
    match value:
        case str() | bytes():
            return _VALUE + len(value)
        case bool() | float() | datetime():
            return _VALUE
        case int() if not _SMALLEST_INTEGER <= value < _BEYOND_INTEGER:
            raise PlistError(f"expected integers of at most 64 bits, got one of {value.bit_length()}")
        case _:
            return _VALUE
