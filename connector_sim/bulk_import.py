"""Many imports at once: throttled, resumable, and never twice.

A 429, 503 or 504 is waited for as the answer says. A POST of which no answer came, or a 5xx, may have been done: it is
looked up before it is repeated (PFXImport 3 does not repeat it at all: sources.md#no-blind-repeat).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.connector_sim.retry import pause_of
from pfxlab.emulator.wire.clock import Clock

State = Literal["created", "updated", "there", "failed"]
_ATTEMPTS: Final = 6
_WAIT: Final = (429, 503, 504)


@dataclass(frozen=True)
class Item:
    """One record to import, and the file it came from. `record` holds ciphertext only."""

    source: str
    record: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Return what makes the record unique: user and thumbprint, lower case."""
        return f"{self.record['userPrincipalName']}/{self.record['thumbprint']}".lower()


@dataclass(frozen=True)
class ImportResult:
    """What came of an item: `there` means that Graph had it already; `reason` says why it failed."""

    item: Item
    state: State
    attempts: int
    reason: str | None = None


async def import_one(client: GraphClient, item: Item, clock: Clock, *, update: bool = False) -> ImportResult:
    """Import or change one record, as often as it takes."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if update:
                await client.update_user_pfx_certificate(item.record)
                return ImportResult(item, "updated", attempt)
            await client.import_user_pfx_certificate(item.record)
            return ImportResult(item, "created", attempt)
        except GraphRefused as error:
            last = attempt == _ATTEMPTS
            if error.status not in (*_WAIT, 0) and error.status < 500:
                return await _refused(client, item, attempt, error, update=update)
            there: bool | None = False
            if error.status != 429 and not update:
                # The record may have been written: nothing is sent again before that is known.
                there = await _looked_up(client, item, clock)
            if there is None:
                text = f"{error}; and whether the record was written could not be found out: look before importing it"
                return ImportResult(item, "failed", attempt, text)
            if there:
                return ImportResult(item, "created", attempt)
            if last:
                return ImportResult(item, "failed", attempt, str(error))
            await clock.sleep(pause_of(error.headers, attempt, clock.now()))
    raise AssertionError("the last attempt returns")


async def _refused(client: GraphClient, item: Item, attempt: int, error: GraphRefused, *, update: bool) -> ImportResult:
    # The service does not say why it refuses; that the record is there already can be looked up.
    with contextlib.suppress(GraphRefused):
        if not update and error.status in (400, 409) and await _is_there(client, item):
            return ImportResult(item, "there", attempt)
    return ImportResult(item, "failed", attempt, str(error))


async def _is_there(client: GraphClient, item: Item) -> bool:
    record = item.record
    return bool(await client.get_user_pfx_certificates(record["userPrincipalName"], record["thumbprint"]))


async def _looked_up(client: GraphClient, item: Item, clock: Clock) -> bool | None:
    """Return whether a record is there; None when the service does not say, asked as often as an import is sent."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _is_there(client, item)
        except GraphRefused as error:
            if attempt < _ATTEMPTS:
                await clock.sleep(pause_of(error.headers, attempt, clock.now()))
    return None


async def import_all(
    client: GraphClient,
    items: Sequence[Item],
    clock: Clock,
    *,
    update: bool = False,
    at_once: int = 4,
    done: Callable[[Item], bool] = lambda _: False,
) -> AsyncIterator[ImportResult]:
    """Yield what comes of each item, as it comes; those that are `done` from an earlier run are passed over."""
    waiting = [item for item in items if not done(item)]
    limit = asyncio.Semaphore(at_once)

    async def one(item: Item) -> ImportResult:
        async with limit:
            return await import_one(client, item, clock, update=update)

    tasks = [asyncio.create_task(one(item)) for item in waiting]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for left in tasks:
            left.cancel()
