"""Text that can be stored and sent: without halves of characters, which UTF-8 cannot hold."""

import re
from typing import Final

_HALVES: Final = re.compile("[\ud800-\udfff]")


def whole_text(text: str) -> str:
    """Return a text with U+FFFD for each half of a character, and for each byte that aiohttp could not decode."""
    return text if text.isascii() else _HALVES.sub("\N{REPLACEMENT CHARACTER}", text)
