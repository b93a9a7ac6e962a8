"""A device's message as people read it: indented, with everything secret or long as its size alone. Pure."""

import xml.etree.ElementTree as ET
from typing import Final

from defusedxml.ElementTree import fromstring

from pfxlab.emulator.wire.omadm.syncml import USER_TOKEN
from pfxlab.emulator.wire.xml import NOT_XML, bounded

_LONGEST: Final = 64
"""Characters of a word that are shown: ids and thumbprints are shorter, tokens and ciphertext longer."""

_LONGEST_PATH: Final = 256
_PATHS: Final = ("LocURI", "LocName")
_SECRET_KEYS: Final = ("Token", "PushMagic", "UnlockToken", "Password", "Challenge")
"""Keys of Apple's property lists whose values are nobody else's, however short."""

_SECRET_PARENTS: Final = ("Cred", "Chal")
_DEEPEST: Final = 100


def pretty(data: bytes | None) -> str:
    """Return a message as indented XML without namespaces, or a remark on what it is instead."""
    if data is None:
        return "(too large to be kept)"
    if not data:
        return "(nothing: the session is over)"
    try:
        root = fromstring(bounded(data))
    except NOT_XML:
        return f"({len(data):,} bytes that are no XML)"
    if not _mask(root, hidden=False, depth=0):
        return f"({len(data):,} bytes of XML too deep to be shown)"
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _mask(element: ET.Element, *, hidden: bool, depth: int) -> bool:
    """Make an element fit to be shown, with all that is in it; return whether it is no deeper than can be shown."""
    if depth > _DEEPEST:
        return False
    element.tag = str(element.tag).rpartition("}")[2]
    hidden = hidden or element.tag in _SECRET_PARENTS or _carries_a_token(element)
    element.text, element.tail = _shown(element.tag, element.text, hidden=hidden), None
    element.attrib = {name.rpartition("}")[2]: _shown("", value, hidden=False) or "" for name, value in element.items()}
    secret_next = False
    for child in element:
        name = str(child.tag).rpartition("}")[2]
        if not _mask(child, hidden=hidden or secret_next, depth=depth + 1):
            return False
        secret_next = name == "key" and child.text in _SECRET_KEYS
    return True


def _carries_a_token(element: ET.Element) -> bool:
    """Return whether an item of SyncML says that its data is a user's token."""
    return element.tag == "Item" and any((one.text or "").strip() == USER_TOKEN for one in element.iter())


def _shown(tag: str, text: str | None, *, hidden: bool) -> str | None:
    """Return a text, or its size when it is data, secret, or one long word."""
    stripped = (text or "").strip()
    if not stripped:
        return None
    if tag in _PATHS and not hidden:
        return stripped if len(stripped) <= _LONGEST_PATH else f"‹{len(stripped):,} characters›"
    too_long = len(stripped) > 4 * _LONGEST or any(len(word) > _LONGEST for word in stripped.split())
    is_value = hidden and tag not in ("key", "Type", "Format")
    return f"‹{len(stripped):,} characters›" if tag == "data" or is_value or too_long else stripped
