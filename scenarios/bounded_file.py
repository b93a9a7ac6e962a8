"""Files of the user's, read up to a bound: a wrong name may lead to a disk image, or to a device without an end."""

from pathlib import Path
from typing import Final

TEXT: Final = 16 * 1024 * 1024
"""The most bytes of a file that is written by hand."""


class TooLarge(ValueError):
    """A file beyond its bound; the text says what was expected."""


def read(path: Path, most: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        TooLarge: it has more than `most` bytes.
        OSError: it cannot be read.

    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"expected at most {most:,} bytes, got more")
    return data
