"""Connector versions: which one is current, and how long an older one is supported. Pure.

Source: sources.md#connector-versions. Supported until six months after the next release, may work for eighteen; the
portal shows Active, Warning (deprecated), Error.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

RELEASES: Final = (
    ("6.2107.45.0", datetime(2021, 7, 29, tzinfo=UTC)),
    ("6.2301.1.0", datetime(2023, 1, 31, tzinfo=UTC)),
    ("6.2406.0.1001", datetime(2024, 9, 19, tzinfo=UTC)),
    ("6.2510.3.2002", datetime(2026, 2, 18, tzinfo=UTC)),
)
"""Version and day of release, oldest first."""

LATEST: Final = RELEASES[-1][0]
_SUPPORTED: Final = timedelta(days=182)
_WORKS: Final = timedelta(days=547)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isascii() and part.isdigit() else 0 for part in version.split("."))


def status(version: str, now: datetime) -> str:
    """Return `active`, `deprecated` or `unsupported` by the day the first newer version was released."""
    newer = [day for name, day in RELEASES if _parts(name) > _parts(version) and day <= now]
    if not newer:
        return "active"
    age = now - min(newer)
    if age <= _SUPPORTED:
        return "active"
    return "deprecated" if age <= _WORKS else "unsupported"
