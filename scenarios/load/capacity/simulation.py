"""Holds the planner against the real queue: devices check in, connectors lease and complete, by the lab's clock.

The deliveries lie in a lab's own store and move by emulator/intune/deliveries.py, as when devices and connectors
talk to the emulator; only what a connector computes is replaced by the time that it takes. A large tenant is simulated
as a small one with connectors that are slower by as much: waits stay what they are. Its few devices check in as evenly
as the many would, one in each equal part of them.
"""

import heapq
import random
import tempfile
from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Final

from pfxlab.emulator.config import Switches
from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.store.delivery_states import State, Trigger
from pfxlab.emulator.wire.connector import Recrypted
from pfxlab.scenarios.lab.config_file import config_of
from pfxlab.scenarios.lab.key_cache import lay_out
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.load.capacity.model import Flow, Tenant, spread
from pfxlab.scenarios.load.drive.material import Material, queue_up

LARGEST: Final = 3000
"""Deliveries that are simulated at most; of more, a share."""

_BATCH: Final = 500
_LEASE: Final = Switches().connector_lease_seconds
_FOR_EVER: Final = 1e9
_LEASE_SHARE: Final = 0.25
"""A connector takes no more at once than it can do in this share of a lease's time."""

_MONDAY: Final = datetime(2026, 3, 2, 7, tzinfo=UTC)
_PIECES: Final = 2000


@dataclass(frozen=True)
class Capacity:
    """Connectors, and deliveries per second of each."""

    connectors: int
    per_second: float

    @classmethod
    def of(cls, exact: float, per_second: float) -> "Capacity":
        """Return whole connectors, each slower by what `exact` falls short of their number."""
        number = max(1, ceil(exact - 1e-9))
        return cls(number, per_second * exact / number)


@dataclass(frozen=True)
class Simulated:
    """What became of a morning. `mean_wait`, `longest_wait`: seconds from when a device asked until it was done."""

    flow: Flow
    mean_wait: float
    longest_wait: float


class Queue:
    """A lab with so many deliveries that nobody has asked for yet, all of one tenant."""

    def __init__(self, folder: Path, count: int, users: int) -> None:
        lay_out(folder)
        # A small tenant's connectors are slow: what they lease is theirs for as long as it takes.
        self.lab = Lab(folder, config_of(switches={"connector_lease_seconds": _FOR_EVER}), at=_MONDAY)
        self._count, self._users = count, min(users, count)
        queue_up(self.lab, Material(), [b"\x01" * 256] * count, self._users)
        self._cloud = self.lab.cloud

    def close(self) -> None:
        """Let go of the lab."""
        self._cloud.close()
        self.lab._lock.release()

    def run(self, tenant: Tenant, capacity: Capacity, chance: random.Random, *, even: bool) -> "Simulated":
        """Return what becomes of a morning: every device checks in once, the connectors work until all is done."""
        self.lab.clock.set(_MONDAY)
        for state in (State.REQUESTED, State.READY):
            self._cloud.deliveries.step_many(state, Trigger.SOURCE_CHANGED, _MONDAY)
        self._cloud.journal.clear()
        moments = _check_ins(tenant, self._users, chance, even=even)
        return _Morning(self, moments, capacity).run()

    def ask(self, device: int) -> list[str]:
        """Let a device check in; return the deliveries that it asks for."""
        cloud = self._cloud
        found = cloud.devices.get(f"ud{device}")
        if found is None:
            raise LookupError(f"expected the device {device}")
        with self._cloud.store.atomic():
            return [one.id for one in deliveries.ask(cloud, cloud.deliveries.of_device(found.id), found)]

    def lease(self, connector: int, limit: int) -> tuple[str, list[str]]:
        """Give a connector work."""
        tenant = self.lab.operator.credentials.tenant_id
        lease_id, rows = deliveries.lease(self._cloud, tenant, f"connector {connector}", limit)
        return lease_id, [row["id"] for row in rows]

    def complete(self, connector: int, lease_id: str, ids: list[str]) -> None:
        """Take a connector's results."""
        results = [Recrypted(one, b"\x30") for one in ids]
        answers = deliveries.complete(self._cloud, f"connector {connector}", lease_id, results)
        stale = sum(answer["outcome"] != "accepted" for answer in answers)
        if stale:
            raise RuntimeError(f"expected every result to be accepted, {stale} were not")


def _check_ins(tenant: Tenant, devices: int, chance: random.Random, *, even: bool) -> list[float]:
    """Return when each device checks in, in seconds since the window began."""
    ends = list(accumulate(spread(tenant.arrivals, _PIECES)))
    parts = [(number + chance.random()) / devices if even else chance.random() for number in range(devices)]
    chance.shuffle(parts)
    return [(bisect(ends, part) + chance.random()) / _PIECES * tenant.window for part in parts]


class _Morning:
    """The events of one simulation, in the order of the lab's clock."""

    def __init__(self, queue: Queue, moments: list[float], capacity: Capacity) -> None:
        self._queue, self._clock = queue, queue.lab.clock
        self._each = capacity.per_second
        self._batch = max(1, min(_BATCH, int(capacity.per_second * _LEASE * _LEASE_SHARE)))
        self._idle = list(range(capacity.connectors))
        self._done_at: dict[int, float] = {}
        self._asked: dict[str, float] = {}
        self._waits: list[float] = []
        self._longest_queue = self._finished = 0.0
        self._waiting = 0
        # (moment, kind, which): a device checks in, or a connector is done with a lease.
        self._events: list[tuple[float, int, tuple[int, str, list[str]]]] = [
            (moment, 0, (device, "", [])) for device, moment in enumerate(moments)
        ]
        heapq.heapify(self._events)
        self._connectors = capacity.connectors

    def run(self) -> "Simulated":
        while self._events:
            moment, kind, (which, lease_id, ids) = heapq.heappop(self._events)
            self._clock.set(_MONDAY + timedelta(seconds=moment))
            if kind == 0:
                asked = self._queue.ask(which)
                self._asked.update(dict.fromkeys(asked, moment))
                self._waiting += len(asked)
                # What a connector has leased is still queued as far as it has not come to it.
                leased = sum(end - moment for end in self._done_at.values()) * self._each
                self._longest_queue = max(self._longest_queue, self._waiting + leased)
            else:
                self._queue.complete(which, lease_id, ids)
                self._waits += [moment - self._asked[one] for one in ids]
                self._finished = moment
                self._idle.append(which)
                del self._done_at[which]
            self._hand_out(moment)
        capacity = self._each * self._connectors
        busy = len(self._asked) / capacity / max(self._finished, 1e-9)
        queue = Flow(self._longest_queue, self._longest_queue / capacity, self._finished, busy)
        return Simulated(queue, sum(self._waits) / len(self._waits), max(self._waits))

    def _hand_out(self, moment: float) -> None:
        """Let idle connectors lease what waits."""
        while self._idle:
            lease_id, ids = self._queue.lease(self._idle[-1], self._batch)
            if not ids:
                return
            self._waiting -= len(ids)
            which, done = self._idle.pop(), moment + len(ids) / self._each
            self._done_at[which] = done
            heapq.heappush(self._events, (done, 1, (which, lease_id, ids)))


@contextmanager
def queue_for(tenant: Tenant, largest: int = LARGEST) -> Iterator[tuple[Queue, float]]:
    """Yield the queue of a tenant, or of a small one in its place, and what share of the tenant it is."""
    share = min(1.0, largest / max(1, tenant.deliveries))
    count = max(1, round(tenant.deliveries * share))
    # A device checks in with all that its user has: that many deliveries come together.
    devices = max(1, round(count / tenant.certificates_per_user))
    with tempfile.TemporaryDirectory(prefix="pfxlab-plan-") as folder:
        queue = Queue(Path(folder), count, devices)
        try:
            yield queue, share
        finally:
            queue.close()


def simulate(tenant: Tenant, exact: float, per_second: float, seed: int = 7, largest: int = LARGEST) -> Simulated:
    """Return what becomes of a tenant's morning with `exact` connectors of that many deliveries per second each."""
    with queue_for(tenant, largest) as (queue, share):
        capacity = Capacity.of(exact, per_second * share)
        chance = random.Random(seed)  # noqa: S311 - the lab's seed
        found = queue.run(tenant, capacity, chance, even=share < 1)
    return replace(found, flow=replace(found.flow, longest_queue=found.flow.longest_queue / share))
