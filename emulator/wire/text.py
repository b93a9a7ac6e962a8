"""Text that can be stored, sent and shown: whole characters, no control characters, not too long."""

import re
import traceback
from typing import Final

_LONGEST: Final = 80
_HALVES: Final = re.compile("[\ud800-\udfff]")
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours it or turns the direction of writing; line feed and tab stay."""


def printable(text: str) -> str:
    """Return a text for a terminal: control characters and those that turn the direction of writing are escaped."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def printable_json(text: str) -> str:
    """Return JSON for a terminal: the same characters are escaped, as JSON has it, which changes no value."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def whole_text(text: str) -> str:
    """Return a text with U+FFFD for each half of a character, and for each byte that aiohttp could not decode."""
    return text if text.isascii() else _HALVES.sub("\N{REPLACEMENT CHARACTER}", text)


def shown(value: object, longest: int = _LONGEST) -> str:
    """Return what a client sent in a form that can be told: control characters escaped, cut at so many characters."""
    text = str(value)
    return repr(text[:longest])[1:-1] + ("…" if len(text) > longest else "")


def quoted(value: object, longest: int = _LONGEST) -> str:
    """Return the same in quotation marks."""
    text = str(value)
    return repr(text[:longest]) + ("…" if len(text) > longest else "")


def describe_defect(error: BaseException) -> str:
    """Return type and place of an exception that nobody foresaw, as a bug in the lab.

    Its own text is left out: it may hold a secret.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"bug in the lab: {type(error).__name__}{place}"
