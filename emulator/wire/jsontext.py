"""JSON as bytes, fast and bounded: what every hot path between the parties reads and writes."""

import json
from typing import Any, Final

import msgspec

DEEPEST: Final = 64
"""Arrays and objects within one another: far more than any message has, far fewer than recursion ends at."""

MOST_VALUES: Final = 20_000
"""Values of a client's body: reading that many costs a few milliseconds."""

_LONGEST_NUMBER: Final = 2**63


def encode(value: Any) -> bytes:
    """Return a value as compact UTF-8 JSON: bytes as base64, half characters, which UTF-8 cannot hold, as escapes."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def check_size(data: bytes, most: int = MOST_VALUES) -> None:
    """Let JSON pass that can hold no more than `most` values; a comma within a text counts as one.

    Raises:
        ValueError: it may hold more.

    """
    count = data.count(b",") + data.count(b"[") + data.count(b"{")
    if count > most:
        raise ValueError(f"expected JSON of at most {most:,} values, got up to {count:,}")


def check_values(value: Any) -> None:
    """Let a value pass whose depth and whole numbers are usual; in one pass, without recursion.

    Raises:
        ValueError: deeper than DEEPEST, or a whole number beyond 64 bits.

    """
    level: list[Any] = [value]
    for depth in range(DEEPEST + 2):
        below: list[Any] = []
        for one in level:
            if type(one) is dict:
                below += one.values()
            elif type(one) is list:
                below += one
            elif type(one) is int:
                if not -_LONGEST_NUMBER <= one < 2 * _LONGEST_NUMBER:
                    raise ValueError(f"expected whole numbers of at most 64 bits, got one of {one.bit_length()}")
                continue
            else:
                continue
            if depth >= DEEPEST:
                raise ValueError(f"expected JSON nested at most {DEEPEST} deep, got more")
        level = below


def decode(data: bytes, most: int = MOST_VALUES) -> Any:
    """Return the value of strict JSON: UTF-8 without mark, finite numbers, whole characters, bounded size and depth.

    Raises:
        ValueError: anything else.

    """
    check_size(data, most)
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"expected strict JSON ({type(error).__name__})") from None
    check_values(value)
    return value
