"""Numbers in texts: with the thing they count in the right form, and as peers send them."""

import re
from typing import Final

_WHOLE: Final = re.compile(r"-?[0-9]{1,10}")


def whole_number(text: str) -> int | None:
    """Return the whole number that a peer wrote, of at most ten decimal digits as a signed or unsigned 32-bit has."""
    return int(text) if _WHOLE.fullmatch(text) else None


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return `1 record`, `2 records`, `1,000 records`; `many` is what several are called, if not with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
