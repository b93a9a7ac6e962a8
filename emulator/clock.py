"""The two clocks: the lab's, which can be moved, and the wall clock, by which clients measure (docs/time.md)."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any


class WallClock:
    """The machine's time. What a client measures by its own clock is judged by it: tokens, throttling, sessions.

    Nothing moves it; scenarios and tests inject a clock of their own in its place.
    """

    def now(self) -> datetime:
        """Return the machine's moment, aware, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for that many real seconds."""
        await asyncio.sleep(seconds)


class LabClock:
    """Time as Microsoft's side plans with it: check-ins, leases, retries, validity, reports."""

    def __init__(self, frozen_at: datetime | None = None) -> None:
        self._offset = timedelta()
        self._frozen = frozen_at
        self.on_change: list[Callable[[timedelta], None]] = []
        """Called after every change, with how far the clock was set back (zero if it was not): stored deadlines move
        with it. A listener that raises undoes the change."""

    def now(self) -> datetime:
        """Return the lab's moment, aware, in UTC."""
        return self._frozen if self._frozen is not None else datetime.now(UTC) + self._offset

    def freeze(self, at: datetime | None = None) -> None:
        """Stop at `at`, or at the present moment."""
        self._change(self._offset, at or self.now())

    def advance(self, step: timedelta) -> None:
        """Move forward; a frozen clock stays frozen at the later moment."""
        if step < timedelta():
            raise ValueError(f"expected a step forward, got {step}")
        if self._frozen is not None:
            self._change(self._offset, self._frozen + step)
        else:
            self._change(self._offset + step, None)

    def set(self, at: datetime) -> None:
        """Put the clock forward or back; a running clock runs on from there, a frozen one stays frozen."""
        if self._frozen is not None:
            self._change(self._offset, at)
        else:
            self._change(self._offset + (at - self.now()), None)

    def _change(self, offset: timedelta, frozen: datetime | None) -> None:
        """Take another state, and notify the listeners."""
        before, was = self.now(), (self._offset, self._frozen)
        self._offset, self._frozen = offset, frozen
        back = max(timedelta(), before - self.now())
        try:
            for listener in self.on_change:
                listener(back)
        except BaseException:
            self._offset, self._frozen = was
            raise

    def resume(self) -> None:
        """Let a frozen clock run on from where it stands."""
        if self._frozen is not None:
            self._change(self._frozen - datetime.now(UTC), None)

    def saved(self) -> dict[str, Any]:
        """Return where it stands as JSON values: the moment of a frozen clock, the lead of a running one."""
        if self._frozen is not None:
            return {"frozen": self._frozen.isoformat()}
        return {"ahead": self._offset.total_seconds()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go back to what `saved` told; a clock that ran then runs on with the lead it had, its past is over.

        Raises:
            ValueError: it is not what `saved` returns.

        """
        try:
            if "frozen" in saved:
                self._frozen = datetime.fromisoformat(saved["frozen"])
            else:
                self._offset, self._frozen = timedelta(seconds=saved["ahead"]), None
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"expected the state of a clock, got something else ({error})") from None

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
