"""$expand: which navigation properties a query wants in place, and what of each. Pure.

Source: sources.md#directory-expand.
"""

import re
from typing import Final, NamedTuple

from pfxlab.emulator.graph.odata import refusals

_ITEM: Final = re.compile(r"\s*(?P<name>[\w.$]+)\s*(?:\((?P<options>[^()]*)\))?\s*")
_OPTION: Final = re.compile(r"\s*\$?(?P<name>select|levels|top|count)\s*=\s*(?P<value>[^;]*)", re.IGNORECASE)
_MOST: Final = 20


class Expansion(NamedTuple):
    """A navigation property, and the properties that `$select` within it names; None for all."""

    name: str
    select: str | None = None


def read_expand(text: str) -> list[Expansion]:
    """Return what an $expand names.

    Raises:
        GraphError: it is no list of names, each with options in parentheses or none.

    """
    found: list[Expansion] = []
    place = 0
    while place <= len(text):
        match = _ITEM.match(text, place)
        ended = match is not None and (match.end() == len(text) or text[match.end()] == ",")
        if match is None or not ended or len(found) == _MOST:
            raise refusals.invalid_expand(text[place : place + 80])
        options = {
            option["name"].lower(): option["value"].strip()
            for part in (match["options"] or "").split(";")
            if (option := _OPTION.fullmatch(part)) is not None
        }
        found.append(Expansion(match["name"], options.get("select")))
        place = match.end() + 1
    return found
