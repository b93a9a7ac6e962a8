"""XML of bounded size, and what parsers raise on other bytes, on odd encodings, and on entities."""

from typing import Final
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException

NOT_XML: Final = (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError)

_MOST_TAGS: Final = 100_000
"""Beginnings and ends of elements in a message: a session with a thousand certificates has 40,000."""


def bounded(data: bytes) -> bytes:
    """Return XML that can be read in a fraction of a second; elements cost more than their bytes.

    Raises:
        ValueError: too many tags.

    """
    tags = data.count(b"<")
    if tags > _MOST_TAGS:
        raise ValueError(f"expected at most {_MOST_TAGS:,} tags, got {tags:,}")
    return data
