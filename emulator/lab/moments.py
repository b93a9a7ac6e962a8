"""Spans of time and moments as people write them: `1d12h`, ISO 8601 `P30D` and `PT8H`; `2026-03-01T08:00:00Z`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_SHORT: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_ISO: Final = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_UNITS: Final = ("weeks", "days", "hours", "minutes", "seconds")
_SECONDS: Final = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}

LONGEST: Final = timedelta(days=365 * 30)
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Where the lab's clock may stand: the lab's authorities and X.509 dates work in between."""


def read_duration(text: str) -> timedelta:
    """Return a span of time.

    Raises:
        ValueError: it is none, or longer than 30 years.

    """
    found = _SHORT.fullmatch(text) or _ISO.fullmatch(text)
    if not text or found is None or not any(found.groups()):
        raise ValueError(f"expected a duration such as 1d12h, 30m or P30D, got {text[:40]!r}")
    numbers = {unit: int(number or 0) for unit, number in zip(_UNITS, found.groups(), strict=True)}
    seconds = sum(number * _SECONDS[unit] for unit, number in numbers.items())
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"expected a duration of at most 30 years, got {text[:40]!r}")
    return timedelta(seconds=seconds)


def read_moment(text: str) -> datetime:
    """Return a moment, aware, in UTC.

    Raises:
        ValueError: it is none, names no time zone, or lies outside 2000 to 2099.

    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected a moment such as 2026-03-01T08:00:00Z, got {text[:40]!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"expected a moment with its time zone, such as 2026-03-01T08:00:00Z, got {text[:40]!r}")
    try:
        return within(moment.astimezone(UTC))
    except OverflowError:
        raise ValueError(f"expected a moment from 2000 to 2099, got {text[:40]!r}") from None


def within(moment: datetime) -> datetime:
    """Return a moment at which the lab's clock may stand.

    Raises:
        ValueError: it lies outside 2000 to 2099.

    """
    if not EARLIEST <= moment < LATEST:
        raise ValueError(f"expected a moment from 2000 to 2099, got {moment.isoformat()}")
    return moment
