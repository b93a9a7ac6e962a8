"""OData primitive values: Edm.DateTimeOffset and Edm.Binary as Graph reads and writes them.

Reading accepts what clients send (any offset, up to seven fraction digits); writing gives what the service gives (UTC,
`Z`, seven digits). Sources: sources.md#dates-on-the-wire, sources.md#record-base64, sources.md#json-of-clients.
"""

import base64
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from pfxlab.emulator.wire.text import quoted

_DATE_TIME = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})[Tt](?P<time>\d{2}:\d{2}(?::\d{2})?)(?:\.(?P<fraction>\d{1,12}))?"
    r"(?P<zone>[Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)


_WITHOUT_WHITE_SPACE = dict.fromkeys(map(ord, " \t\r\n"))


# A value is checked first and converted after, and a bulk import repeats its dates: each text is read once.
@lru_cache(maxsize=1024)
def parse_date_time(text: str) -> datetime:
    """Return an Edm.DateTimeOffset as an aware UTC datetime; fractions below a microsecond are cut off.

    Raises:
        ValueError: not a date, a time and an offset, or outside years 1 to 9999.

    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a date-time with offset such as 2026-03-01T09:15:00Z, got {quoted(text)}")
    naive = datetime.fromisoformat(f"{match['date']}T{match['time']}")
    micros = int(((match["fraction"] or "") + "000000")[:6])
    zone = match["zone"].upper()
    offset = timedelta() if zone == "Z" else _offset(zone)
    aware = naive.replace(microsecond=micros, tzinfo=timezone(offset))
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        # .NET's default(DateTimeOffset) with a local offset lies outside what UTC can hold.
        return naive.replace(microsecond=micros, tzinfo=UTC)


def _offset(zone: str) -> timedelta:
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 14 or minutes > 59:
        raise ValueError(f"expected an offset between -14:00 and +14:00, got {quoted(zone)}")
    size = timedelta(hours=hours, minutes=minutes)
    return -size if zone[0] == "-" else size


def seventh_digit(text: str) -> int:
    """Return the seventh fraction digit of an Edm.DateTimeOffset, the 100 ns that a datetime cannot hold."""
    match = _DATE_TIME.fullmatch(text)
    fraction = "" if match is None else match["fraction"] or ""
    return int(fraction[6:7] or 0)


@lru_cache(maxsize=256)
def format_date_time(moment: datetime, seventh: int = 0) -> str:
    """Return `2026-02-01T09:00:01.4820190Z`: UTC, seven fraction digits, none when all are zero."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    text = utc.isoformat(timespec="microseconds")
    return f"{text[:26]}{seventh}Z" if utc.microsecond or seventh else f"{text[:19]}Z"


@lru_cache(maxsize=8)
def parse_binary(text: str) -> bytes:
    """Return the bytes of an Edm.Binary: base64 as .NET's Convert.FromBase64String reads it.

    White space may stand anywhere; the alphabet is the standard one, and the padding is there. Source:
    sources.md#record-base64.

    Raises:
        ValueError: other characters, such as those of the URL-safe alphabet, or padding that is missing.

    """
    plain = text.translate(_WITHOUT_WHITE_SPACE)
    try:
        if len(plain) % 4:
            raise ValueError("incorrect padding")
        return base64.b64decode(plain, validate=True)
    except ValueError as error:
        raise ValueError(f"expected base64, got {len(text)} characters that are not ({error})") from None


def format_binary(value: bytes) -> str:
    """Return bytes as standard base64 with padding."""
    return base64.b64encode(value).decode("ascii")
