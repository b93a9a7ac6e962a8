"""The one way to ask for the time: every party is handed something that satisfies `Clock`."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time as a party sees it."""

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock."""
        ...
