"""BER as a tree, of bounded size and depth: enough to see what a structure holds before a library works on it.

Libraries read what they know; here every value is seen, whatever its place and type. ITU-T X.690, section 8.
"""

from dataclasses import dataclass, field
from typing import Final

INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER, SEQUENCE = 2, 3, 4, 6, 16
_UNIVERSAL: Final = 0
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_INDEFINITE: Final = 0x80
_DEEPEST: Final = 60
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Value:
    """A value: `tag` of the universal class, or None; `content` of a primitive one, the pieces of a text joined."""

    tag: int | None
    content: bytes = b""
    inside: "list[Value]" = field(default_factory=list)

    @property
    def number(self) -> int:
        """Return the content as a whole number."""
        return int.from_bytes(self.content, signed=True)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._left = data, _MOST

    def byte(self, at: int, end: int) -> int:
        if at >= end:
            raise ValueError("expected BER, got data that break off")
        return self._data[at]

    def head(self, at: int, end: int) -> tuple[int, int, int | None, int]:
        """Return first octet, tag number, length (None: until end-of-contents), and where the contents begin."""
        first = self.byte(at, end)
        tag, at = first & _LONG_TAG, at + 1
        if tag == _LONG_TAG:
            # The number itself is nobody's: tags above 30 are never universal here.
            tag = 0
            while self.byte(at, end) & _INDEFINITE:
                at += 1
            at += 1
        length, at = self.byte(at, end), at + 1
        if length < _INDEFINITE:
            return first, tag, length, at
        if length == _INDEFINITE:
            return first, tag, None, at
        count = length - _INDEFINITE
        return first, tag, int.from_bytes(self._data[at : at + count]), at + count

    def values(self, at: int, end: int, depth: int, *, marked: bool = False) -> tuple[list[Value], int]:
        """Return the values up to the end, or up to an end-of-contents mark, and where they end."""
        if depth > _DEEPEST:
            raise ValueError(f"expected BER nested at most {_DEEPEST} deep, got more")
        found: list[Value] = []
        while at < end:
            first, tag, length, at = self.head(at, end)
            if marked and first == 0 and length == 0:
                return found, at
            self._left -= 1
            stop = end if length is None else at + length
            if self._left < 0 or stop > end:
                raise ValueError("expected BER of usual size, got more values, or data that break off")
            value, at = self._value(first, tag, at, stop, depth, indefinite=length is None)
            found.append(value)
        if marked:
            raise ValueError("expected the end of contents, got none")
        return found, at

    def _value(self, first: int, tag: int, at: int, stop: int, depth: int, *, indefinite: bool) -> tuple[Value, int]:
        known = tag if first >> 6 == _UNIVERSAL else None
        if not first & _CONSTRUCTED:
            return Value(known, self._data[at:stop]), stop
        inside, at = self.values(at, stop, depth + 1, marked=indefinite)
        text = b"".join(piece.content for piece in inside) if known == OCTET_STRING else b""
        return Value(known, text, [] if text else inside), at


def read(data: bytes) -> list[Value]:
    """Return the values of BER.

    Raises:
        ValueError: it is none, breaks off, holds too many values or nests them too deep.

    """
    return _Reader(data).values(0, len(data), 0)[0]
