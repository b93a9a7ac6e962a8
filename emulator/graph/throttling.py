"""Throttling by the documented limits, off by default: some tools loop for ever on a 429. Pure but for its counters.

Source: sources.md#throttling-limits. Intune counts requests in any 20 seconds, for an application in a tenant and for
the tenant as a whole, apart for device configurations (imported certificates are in no documented group and are counted
there) and for devices. The directory counts resource units in any 10 seconds: each request has its cost.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.cloud import Cloud

CONFIGURATION: Final = "configuration"
DEVICES: Final = "devices"
DIRECTORY: Final = "directory"
_WARNING: Final = 0.8


@dataclass(frozen=True)
class Limits:
    """What may come in a window of `seconds`: any and writes, of one application and of the tenant; None: no limit."""

    seconds: float
    app_any: int
    tenant_any: int | None = None
    app_writes: int | None = None
    tenant_writes: int | None = None


DOCUMENTED: Final = {
    CONFIGURATION: Limits(20.0, app_any=1000, tenant_any=2000, app_writes=100, tenant_writes=200),
    DEVICES: Limits(20.0, app_any=2000, tenant_any=4000, app_writes=200, tenant_writes=400),
    DIRECTORY: Limits(10.0, app_any=3500),  # the smallest size of tenant
}


@dataclass(frozen=True)
class Request:
    """A request as throttling sees it: the group it is counted in, who sends it, and its cost in resource units."""

    group: str
    tenant_id: str
    app_id: str
    write: bool
    cost: int = 1


@dataclass(frozen=True)
class ThrottleDecision:
    """`wait`: seconds until a refused request may be repeated, or None; `used`: the fullest share, 0 to 1."""

    wait: float | None
    used: float


def resource_units(path: str, *, select: bool, expand: bool, top: int | None) -> int:
    """Return what a directory request costs: 2 for users, 3 for members, 5 for transitive ones, with reductions."""
    name = path.lower().rpartition("/")[2]
    base = {"users": 2, "members": 3, "transitivemembers": 5, "memberof": 3, "transitivememberof": 4}.get(name, 1)
    few = top is not None and top < 20
    return max(1, base - select + expand - few)


class Throttle:
    """Counts requests by the wall clock, as clients wait by it."""

    def __init__(self, limits: dict[str, Limits]) -> None:
        self._limits = limits
        self._seen: dict[tuple[str, ...], deque[tuple[float, int]]] = {}
        self._sums: dict[tuple[str, ...], int] = {}

    def clear(self) -> None:
        """Forget every request."""
        self._seen.clear()
        self._sums.clear()

    def judge(self, now: float, request: Request) -> ThrottleDecision:
        """Count a request and say whether it passes; a refused one is not counted."""
        limits = self._limits[request.group]
        who = (request.group, request.tenant_id)
        app = (*who, request.app_id)
        possible = {("any", *who): limits.tenant_any, ("any", *app): limits.app_any}
        if request.write:
            possible |= {("write", *who): limits.tenant_writes, ("write", *app): limits.app_writes}
        buckets = {name: limit for name, limit in possible.items() if limit is not None}
        for name in buckets:
            self._forget(name, now - limits.seconds, now)
        used = max(self._sums.get(name, 0) / limit for name, limit in buckets.items())
        excess = {name: self._sums.get(name, 0) + request.cost - limit for name, limit in buckets.items()}
        waits = [self._wait(name, units, limits.seconds, now) for name, units in excess.items() if units > 0]
        if waits:
            return ThrottleDecision(max(waits), used)
        for name in buckets:
            self._seen.setdefault(name, deque()).append((now, request.cost))
            self._sums[name] = self._sums.get(name, 0) + request.cost
        return ThrottleDecision(None, used)

    def _wait(self, name: tuple[str, ...], units: int, seconds: float, now: float) -> float:
        """Return when so many units will have left a bucket."""
        for at, cost in self._seen[name]:
            units -= cost
            if units <= 0:
                return at + seconds - now
        return seconds

    def _forget(self, name: tuple[str, ...], before: float, now: float) -> None:
        """Forget what left the window, and what a clock that was set back says is still to come."""
        seen = self._seen.get(name, deque())
        while seen and seen[0][0] <= before:
            self._sums[name] -= seen.popleft()[1]
        while seen and seen[-1][0] > now:
            self._sums[name] -= seen.pop()[1]


def retry_headers(variant: str, seconds: float) -> dict[str, str]:
    """Return the retry header of a 429: whole seconds, a fraction, milliseconds, or none."""
    whole = max(1, -int(-seconds // 1))
    variants = {
        "integer": {"Retry-After": str(whole)},
        "fractional": {"Retry-After": f"{seconds:.3f}"},
        "ms": {"x-ms-retry-after-ms": str(whole * 1000)},
        "absent": {},
    }
    return variants[variant]


def directory_headers(request: Request, verdict: ThrottleDecision) -> dict[str, str]:
    """Return what the directory tells of its limits: scope and kind of a refusal, or the share once it is high."""
    if verdict.wait is not None:
        kind = "ResourceUnitLimitExceeded"
        scope = f"Tenant_Application/ReadWrite/{request.app_id}/{request.tenant_id}"
        return {"x-ms-throttle-scope": scope, "x-ms-throttle-information": kind}
    headers = {"x-ms-resource-unit": str(request.cost)}
    if verdict.used >= _WARNING:
        headers["x-ms-throttle-limit-percentage"] = f"{verdict.used:.1f}"
    return headers


def throttle_of(cloud: Cloud) -> Throttle:
    """Return what counts a cloud's requests; it begins anew when the store is put back."""

    def make() -> Throttle:
        throttle = Throttle(DOCUMENTED)
        cloud.on_restore.append(throttle.clear)
        return throttle

    return cloud.component(Throttle, make)
