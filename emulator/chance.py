"""The lab's seeded generator: ids and, later, faults of a run derive from one printed seed.

Key material, passwords and client secrets never come from here: they come from the operating system.
"""

import random
from uuid import UUID


class Chance:
    """Repeatable randomness for one purpose.

    `run` separates the starts of one data folder, so that ids never repeat; `purpose` keeps ids of records apart
    from those of requests, of which there may be more or fewer from run to run.
    """

    def __init__(self, seed: int, run: int, purpose: str) -> None:
        self.seed = seed
        self._random = random.Random(f"{seed}/{run}/{purpose}")  # noqa: S311 - repeatable on purpose, see the module

    def guid(self) -> str:
        """Return a version 4 GUID, lower case with dashes."""
        return str(UUID(int=self._random.getrandbits(128), version=4))
