"""The lab's movable clock: real time plus an offset, or frozen."""

import asyncio
from datetime import UTC, datetime, timedelta


class LabClock:
    """Time of the whole lab. Tokens, leases, check-ins and validity read it, nothing reads another clock."""

    def __init__(self, frozen_at: datetime | None = None) -> None:
        self._offset = timedelta()
        self._frozen = frozen_at

    def now(self) -> datetime:
        """Return the lab's moment, aware, in UTC."""
        return self._frozen if self._frozen is not None else datetime.now(UTC) + self._offset

    def freeze(self, at: datetime | None = None) -> None:
        """Stop at `at`, or at the present moment."""
        self._frozen = at or self.now()

    def advance(self, step: timedelta) -> None:
        """Move forward; a frozen clock stays frozen at the later moment."""
        if step < timedelta():
            raise ValueError(f"expected a step forward, got {step}")
        if self._frozen is not None:
            self._frozen += step
        else:
            self._offset += step

    def set(self, at: datetime) -> None:
        """Put the clock forward or back; a running clock runs on from there, a frozen one stays frozen."""
        if self._frozen is not None:
            self._frozen = at
        else:
            self._offset += at - self.now()

    def resume(self) -> None:
        """Let a frozen clock run on from where it stands."""
        if self._frozen is not None:
            self._offset, self._frozen = self._frozen - datetime.now(UTC), None

    @property
    def frozen(self) -> bool:
        """Return whether the clock stands still."""
        return self._frozen is not None

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` of lab time have passed; a frozen clock is waited for until it is advanced."""
        left, before = seconds, self.now()
        while left > 0:
            await asyncio.sleep(min(left, 0.05))
            # A clock set back does not make anybody wait the longer for it.
            left -= max(0.0, (self.now() - before).total_seconds())
            before = self.now()
