"""Values that YAML has and JSON does not: sets, bytes, dates, infinity, names that are no texts."""

import math
from collections.abc import Iterable
from typing import Any

Place = tuple[str | int, ...]
"""The way to a value: names, and positions in lists from 0."""


def first_odd(value: Any, place: Place = ()) -> tuple[Place, str] | None:
    """Return the place of the first value that JSON does not have, and what was expected; None without one.

    The values come from a reader that bounds how deep they lie.
    """
    if isinstance(value, dict):
        odd = [name for name in value if not isinstance(name, str)]
        if odd:
            return place, f"expected texts as names, got {str(odd[0])[:40]} ({type(odd[0]).__name__})"
        parts: Iterable[tuple[str | int, Any]] = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    elif value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return None
    elif isinstance(value, float):
        return place, f"expected a finite number, got {value}"
    else:
        return place, f"expected a text, a number, true or false, got {type(value).__name__}"
    return next((found for name, part in parts if (found := first_odd(part, (*place, name)))), None)
