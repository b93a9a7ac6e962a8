"""Names that a caller gives to things in a lab, and the error for an unknown one."""

from collections.abc import Mapping
from typing import Any


class Unknown(ValueError):
    """A name that nothing in the lab has; the text lists the names there are."""


def named(known: Mapping[str, Any], name: str, what: str) -> Any:
    """Return the value of a name; `what` is the kind of thing, for the error.

    Raises:
        Unknown: there is no such name.

    """
    if name not in known:
        have = ", ".join(sorted(known)) or "none"
        raise Unknown(f"expected a {what} of this world ({have}), got {name!r}")
    return known[name]
