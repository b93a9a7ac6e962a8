"""JSON as bytes, fast: what every hot path between the parties reads and writes."""

import json
from typing import Any

import msgspec


def encode(value: Any) -> bytes:
    """Return a value as compact UTF-8 JSON: bytes as base64, half characters, which UTF-8 cannot hold, as escapes."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def decode(data: bytes) -> Any:
    """Return the value of strict JSON: UTF-8 without mark, finite numbers, whole characters, sane depth.

    Raises:
        ValueError: anything else.

    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"expected strict JSON ({type(error).__name__})") from None
