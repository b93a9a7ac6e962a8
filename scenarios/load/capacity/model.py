"""How many connectors a tenant needs. Pure: a fluid queue, filled as devices check in, drained by the connectors.

All devices check in within a window and request every certificate of their user. Requests wait in a queue until they
are re-encrypted. The criterion is the queue's length in minutes of the connectors' work, not the wait of one request:
the service serves users in turn, so some requests wait longer and others not at all. simulation.py compares the answer
with the real queue.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pfxlab.scenarios.load.shapes import Shape

_STEPS: Final = 4000
_ROUNDS: Final = 60
_HOUR: Final = 3600
_SPARE: Final = 0.2
"""The share of a connector kept in reserve for retries, renewals and slow minutes."""

ARRIVALS: Final = ("morning", "constant")


@dataclass(frozen=True)
class Tenant:
    """The size of a tenant. `window`: seconds in which all devices check in; `arrivals`: their distribution over it."""

    users: int
    devices_per_user: float
    certificates_per_user: float
    window: float
    arrivals: str = "morning"

    @property
    def deliveries(self) -> int:
        """Return the number of re-encryptions: each certificate of a user for each of the user's devices."""
        return round(self.users * self.devices_per_user * self.certificates_per_user)


@dataclass(frozen=True)
class Rates:
    """The cost of a delivery to one connector, in core seconds: the private operation, and the rest.

    `hsm`: private operations per second of the connector's HSM, which replaces the processor for them.
    """

    private: float
    rest: float
    cores: int
    hsm: float | None = None

    @property
    def per_second(self) -> float:
        """Return deliveries per second of one connector that has its machine to itself."""
        if self.hsm is None:
            return self.cores / (self.private + self.rest)
        return min(self.hsm, self.cores / self.rest)


@dataclass(frozen=True)
class Flow:
    """The course of a tenant's morning at a given capacity. Times in seconds; `finished` since the window began.

    `queue_seconds`: the longest queue in seconds of all connectors' work; `busy`: their utilization until the end.
    """

    longest_queue: float
    queue_seconds: float
    finished: float
    busy: float


@dataclass(frozen=True)
class Answer:
    """What a tenant needs. `exact`: fully used connectors; `connectors`: whole ones, each with a fifth in reserve."""

    exact: float
    connectors: int
    peak_per_second: float


def spread(kind: str, pieces: int = _STEPS) -> list[float]:
    """Return the share of all devices that checks in during each of `pieces` equal parts of the window."""
    shape = Shape(kind, 1.0, 1.0)
    rates = [shape.at((number + 0.5) / pieces) or 0.0 for number in range(pieces)]
    total = sum(rates)
    return [rate / total for rate in rates]


def flow(deliveries: float, window: float, shares: Sequence[float], per_second: float) -> Flow:
    """Return how the queue develops when deliveries, spread over the window by `shares`, meet a capacity."""
    length = window / len(shares)
    queue = longest = 0.0
    finished = 0.0
    for number, share in enumerate(shares):
        arrived = deliveries * share
        served = per_second * length
        queue = max(0.0, queue + arrived - served)
        longest = max(longest, queue)
        if arrived:
            finished = (number + 1) * length
    finished += queue / per_second
    return Flow(longest, longest / per_second, finished, deliveries / per_second / max(finished, 1e-9))


def needed(tenant: Tenant, rates: Rates, patience: float) -> Answer:
    """Return how many connectors keep the queue within `patience` seconds of their work."""
    shares = spread(tenant.arrivals)
    low, high = 1e-9, max(1e-6, tenant.deliveries / tenant.window * max(shares) * len(shares))
    for _ in range(_ROUNDS):
        middle = math.sqrt(low * high)
        if flow(tenant.deliveries, tenant.window, shares, middle).queue_seconds > patience:
            low = middle
        else:
            high = middle
    exact = high / rates.per_second
    connectors = max(1, math.ceil(exact / (1 - _SPARE) - 1e-9))
    peak = tenant.deliveries / tenant.window * max(shares) * len(shares)
    return Answer(exact, connectors, peak)


def assumptions(tenant: Tenant, rates: Rates, patience: float) -> list[str]:
    """Return the assumptions of the answer, a sentence each."""
    spread_text = {
        "morning": "as on a Monday morning: most of them in the first half, the peak at a quarter of the window",
        "constant": "evenly",
    }[tenant.arrivals]
    window = f"{tenant.window / 3600:g} hours" if tenant.window > _HOUR else f"{tenant.window / 60:g} minutes"
    if rates.hsm is None:
        what = f"a private operation takes {1e6 * rates.private:,.0f} µs of a core, the rest {1e6 * rates.rest:,.0f} µs"
    else:
        what = (
            f"its HSM does {rates.hsm:g} private operations per second,"
            f" the rest takes {1e6 * rates.rest:,.0f} µs of a core"
        )
    return [
        f"All devices check in once within {window}, {spread_text}, and need every certificate.",
        f"Every device gets all certificates of its user: {tenant.deliveries:,} deliveries.",
        "No private operation serves two deliveries: a user's devices are rarely in the same batch.",
        f"The queue may grow to {patience / 60:g} minutes of the connectors' work.",
        f"Each connector has its own server with {rates.cores} cores; {what}.",
        "The real connector needs as much time as the lab's; for a slower one, lower --hsm-rate.",
        f"A fifth of each connector stays free ({_SPARE:.0%}), for retries, renewals and slow minutes.",
        "The service hands out work as fast as connectors request it; failed attempts are rare.",
    ]
