"""What was probably meant: names that are near to one that is not there."""

import difflib
from collections.abc import Iterable


def near(given: str, known: Iterable[str]) -> str:
    """Return the end of an error message that names what is near, or an empty text."""
    found = difflib.get_close_matches(given, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""
