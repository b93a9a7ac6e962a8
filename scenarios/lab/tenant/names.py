"""Names that a caller gives to what is in a lab, and what is said of one that nothing has."""

from collections.abc import Mapping
from typing import Any


class Unknown(ValueError):
    """A name that nothing in this world has; the text says which there are."""


def named(known: Mapping[str, Any], name: str, what: str) -> Any:
    """Return what has a name.

    Raises:
        Unknown: nothing has it.

    """
    if name not in known:
        have = ", ".join(sorted(known)) or "none"
        raise Unknown(f"expected a {what} of this world ({have}), got {name!r}")
    return known[name]
