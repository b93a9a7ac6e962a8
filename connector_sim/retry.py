"""How long to wait before a request is repeated: what an answer asks for, in any of its forms. Pure.

Sources: sources.md#retry-after, sources.md#throttling-guidance, sources.md#retry-after-milliseconds.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_PAUSE: Final = 300.0


def pause_of(headers: Mapping[str, str], attempt: int, now: datetime) -> float:
    """Return how many seconds to wait: as the answer says, in any of its forms, else longer each time. Pure."""
    given = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in given:
            try:
                return min(max(0.0, float(given[name]) * unit), _LONGEST_PAUSE)
            except ValueError:
                pass
    try:
        when = parsedate_to_datetime(given["retry-after"])
        return min(max(0.0, (when.astimezone(UTC) - now).total_seconds()), _LONGEST_PAUSE)
    except (KeyError, ValueError, TypeError):
        return float(min(2**attempt, 60))
