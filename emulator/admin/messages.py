"""A device's message as people read it: indented, with everything secret or long as its size alone. Pure."""

import xml.etree.ElementTree as ET
from typing import Final

from defusedxml.ElementTree import fromstring

_LONGEST: Final = 64
"""Characters of a word that are shown: ids, thumbprints and paths are shorter, tokens and ciphertext longer."""


def pretty(data: bytes | None) -> str:
    """Return a message as indented XML without namespaces, or a remark on what it is instead."""
    if data is None:
        return "(too large to be kept)"
    if not data:
        return "(nothing: the session is over)"
    try:
        root = fromstring(data)
    except (ET.ParseError, ValueError):
        return f"({len(data):,} bytes that are no XML)"
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
        element.text = _shown(element.tag, element.text)
        element.tail = None
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _shown(tag: str, text: str | None) -> str | None:
    """Return a text, or its size when it is data or one long word."""
    stripped = (text or "").strip()
    if not stripped:
        return None
    if tag == "data" or any(len(word) > _LONGEST and "/" not in word[:_LONGEST] for word in stripped.split()):
        return f"‹{len(stripped):,} characters›"
    if len(stripped) > 4 * _LONGEST:
        return f"‹{len(stripped):,} characters›"
    return stripped
