"""Compares the planner with the real queue: devices check in, connectors lease and complete, by the lab's clock.

The deliveries are in a lab's store and change state through emulator/intune/deliveries.py, as when devices and
connectors talk to the emulator; only a connector's computation is replaced by the time it takes. A large tenant is
scaled down together with the speed of its connectors, which leaves waiting times as they are. The few devices left
check in as evenly as many would: one in each equal part of the distribution.
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
"""The most deliveries that are simulated; larger tenants are scaled down."""

_BATCH: Final = 500
_LEASE: Final = Switches().connector_lease_seconds
_FOR_EVER: Final = 1e9
_LEASE_SHARE: Final = 0.25
"""A connector leases no more than it can process in this share of a lease's time."""

_MONDAY: Final = datetime(2026, 3, 2, 7, tzinfo=UTC)
_PIECES: Final = 2000


@dataclass(frozen=True)
class Capacity:
    """A number of connectors, and the deliveries per second of each."""

    connectors: int
    per_second: float

    @classmethod
    def of(cls, exact: float, per_second: float) -> "Capacity":
        """Round `exact` up to whole connectors, each slower in proportion."""
        number = max(1, ceil(exact - 1e-9))
        return cls(number, per_second * exact / number)


@dataclass(frozen=True)
class Simulated:
    """The result of a simulated morning. `mean_wait`, `longest_wait`: seconds from request to completion."""

    flow: Flow
    mean_wait: float
    longest_wait: float


class Queue:
    """A lab with deliveries of one tenant that no device has requested yet."""

    def __init__(self, folder: Path, count: int, users: int) -> None:
        lay_out(folder)
        # Scaled-down connectors are slow, so their leases must not time out.
        self.lab = Lab(folder, config_of(switches={"connector_lease_seconds": _FOR_EVER}), at=_MONDAY)
        self._count, self._users = count, min(users, count)
        queue_up(self.lab, Material(), [b"\x01" * 256] * count, self._users)
        self._cloud = self.lab.cloud

    def close(self) -> None:
        """Close the lab."""
        self._cloud.close()
        self.lab._lock.release()

    def run(self, tenant: Tenant, capacity: Capacity, rng: random.Random, *, even: bool) -> "Simulated":
        """Simulate a morning: every device checks in once, the connectors work until the queue is empty."""
        self.lab.clock.set(_MONDAY)
        for state in (State.REQUESTED, State.READY):
            self._cloud.deliveries.step_many(state, Trigger.SOURCE_CHANGED, _MONDAY)
        self._cloud.journal.clear()
        moments = _check_ins(tenant, self._users, rng, even=even)
        return _Morning(self, moments, capacity).run()

    def check_in(self, device: int) -> list[str]:
        """Let a device check in; return the ids of the deliveries it requests."""
        cloud = self._cloud
        found = cloud.devices.get(f"ud{device}")
        if found is None:
            raise LookupError(f"expected the device {device}")
        with self._cloud.store.atomic():
            return [one.id for one in deliveries.ask(cloud, cloud.deliveries.of_device(found.id), found)]

    def lease(self, connector: int, limit: int) -> tuple[str, list[str]]:
        """Lease at most `limit` deliveries to a connector; return the lease's id and theirs."""
        tenant = self.lab.operator.credentials.tenant_id
        lease_id, rows = deliveries.lease(self._cloud, tenant, f"connector {connector}", limit)
        return lease_id, [row["id"] for row in rows]

    def complete(self, connector: int, lease_id: str, ids: list[str]) -> None:
        """Complete a connector's lease.

        Raises:
            RuntimeError: a result was not accepted.

        """
        results = [Recrypted(one, b"\x30") for one in ids]
        answers = deliveries.complete(self._cloud, f"connector {connector}", lease_id, results)
        stale = sum(answer["outcome"] != "accepted" for answer in answers)
        if stale:
            raise RuntimeError(f"expected every result to be accepted, {stale} were not")


def _check_ins(tenant: Tenant, devices: int, rng: random.Random, *, even: bool) -> list[float]:
    """Return the time of each device's check-in, in seconds since the window began."""
    ends = list(accumulate(spread(tenant.arrivals, _PIECES)))
    parts = [(number + rng.random()) / devices if even else rng.random() for number in range(devices)]
    rng.shuffle(parts)
    return [(bisect(ends, part) + rng.random()) / _PIECES * tenant.window for part in parts]


class _Morning:
    """One simulation, event by event in the order of the lab's clock."""

    def __init__(self, queue: Queue, moments: list[float], capacity: Capacity) -> None:
        self._queue, self._clock = queue, queue.lab.clock
        self._each = capacity.per_second
        self._batch = max(1, min(_BATCH, int(capacity.per_second * _LEASE * _LEASE_SHARE)))
        self._idle = list(range(capacity.connectors))
        self._done_at: dict[int, float] = {}
        self._requested_at: dict[str, float] = {}
        self._waits: list[float] = []
        self._longest_queue = self._finished = 0.0
        self._waiting = 0
        # (moment, kind, which): 0, a device checks in; 1, a connector completes a lease.
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
                requested = self._queue.check_in(which)
                self._requested_at.update(dict.fromkeys(requested, moment))
                self._waiting += len(requested)
                # Leased deliveries that a connector has not processed yet count as queued.
                leased = sum(end - moment for end in self._done_at.values()) * self._each
                self._longest_queue = max(self._longest_queue, self._waiting + leased)
            else:
                self._queue.complete(which, lease_id, ids)
                self._waits += [moment - self._requested_at[one] for one in ids]
                self._finished = moment
                self._idle.append(which)
                del self._done_at[which]
            self._hand_out(moment)
        capacity = self._each * self._connectors
        busy = len(self._requested_at) / capacity / max(self._finished, 1e-9)
        queue = Flow(self._longest_queue, self._longest_queue / capacity, self._finished, busy)
        return Simulated(queue, sum(self._waits) / len(self._waits), max(self._waits))

    def _hand_out(self, moment: float) -> None:
        """Let idle connectors lease waiting deliveries."""
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
    """Yield the queue of a tenant, scaled down if it is large, and the scale."""
    share = min(1.0, largest / max(1, tenant.deliveries))
    count = max(1, round(tenant.deliveries * share))
    # A device requests all certificates of its user in one check-in.
    devices = max(1, round(count / tenant.certificates_per_user))
    with tempfile.TemporaryDirectory(prefix="pfxlab-plan-") as folder:
        queue = Queue(Path(folder), count, devices)
        try:
            yield queue, share
        finally:
            queue.close()


def simulate(tenant: Tenant, exact: float, per_second: float, seed: int = 7, largest: int = LARGEST) -> Simulated:
    """Simulate a tenant's morning with `exact` connectors, each of `per_second` deliveries per second."""
    with queue_for(tenant, largest) as (queue, share):
        capacity = Capacity.of(exact, per_second * share)
        rng = random.Random(seed)  # noqa: S311 - the lab's seed
        found = queue.run(tenant, capacity, rng, even=share < 1)
    return replace(found, flow=replace(found.flow, longest_queue=found.flow.longest_queue / share))
