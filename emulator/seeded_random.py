"""The lab's seeded generator: ids and, later, faults of a run derive from one printed seed.

Key material, passwords and client secrets never come from here: they come from the operating system.
"""

import random
from collections.abc import Sequence
from typing import Any

_VERSION_BITS = 0xF000 << 64 | 0xC000 << 48
_VERSION_4 = 0x4000 << 64 | 0x8000 << 48  # RFC 9562, sections 4.1 and 4.2: variant 10, version 4


class SeededRandom:
    """Repeatable randomness for one purpose.

    `run` separates the starts of one data folder, so that ids never repeat; `purpose` keeps ids of records apart
    from those of requests, of which there may be more or fewer from run to run.
    """

    def __init__(self, seed: int, run: int, purpose: str) -> None:
        self.seed = seed
        self._random = random.Random(f"{seed}/{run}/{purpose}")  # noqa: S311 - repeatable on purpose, see the module

    def saved(self) -> list[Any]:
        """Return where it stands as JSON values, for a snapshot."""
        version, words, gauss = self._random.getstate()
        return [version, list(words), gauss]

    def restore(self, saved: Sequence[Any]) -> None:
        """Go back to where `saved` was called; the same ids follow as did then.

        Raises:
            ValueError: it is not what `saved` returns.

        """
        try:
            self._random.setstate((saved[0], tuple(saved[1]), saved[2]))
        except (TypeError, IndexError) as error:
            raise ValueError(f"expected the state of a generator, got something else ({error})") from None

    def guid(self) -> str:
        """Return a version 4 GUID, lower case with dashes."""
        bits = self._random.getrandbits(128) & ~_VERSION_BITS | _VERSION_4
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
