"""Throttling by the documented limits, off by default: some tools loop for ever on a 429. Pure but for its counters.

Source: reference graph-intune 5.9. Limits are requests in any 20 seconds, for an application in a tenant and for the
tenant as a whole; imported certificates are in no documented group and are counted with device configurations.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

_WINDOW: Final = 20.0


@dataclass(frozen=True)
class Limits:
    """How many requests in 20 seconds: writes and any, of one application and of the whole tenant."""

    app_writes: int = 100
    app_any: int = 1000
    tenant_writes: int = 200
    tenant_any: int = 2000


DOCUMENTED: Final = Limits()


class Throttle:
    """Counts requests by the lab's clock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: dict[tuple[str, ...], deque[float]] = {}

    def wait_seconds(self, now: float, tenant_id: str, app_id: str, *, write: bool) -> float | None:
        """Count a request; return after how many seconds it may be repeated, or None when it may pass.

        A refused request is not counted.
        """
        limits = self._limits
        buckets = [(("any", tenant_id), limits.tenant_any), (("any", tenant_id, app_id), limits.app_any)]
        if write:
            buckets += [(("write", tenant_id), limits.tenant_writes), (("write", tenant_id, app_id), limits.app_writes)]
        waits = [wait for name, limit in buckets if (wait := self._wait(name, limit, now)) > 0]
        if waits:
            return max(waits)
        for name, _ in buckets:
            self._seen[name].append(now)
        return None

    def _wait(self, name: tuple[str, ...], limit: int, now: float) -> float:
        seen = self._seen.setdefault(name, deque())
        while seen and seen[0] <= now - _WINDOW:
            seen.popleft()
        return seen[0] + _WINDOW - now if len(seen) >= limit else 0.0


def retry_headers(variant: str, seconds: float) -> dict[str, str]:
    """Return how a 429 says when to come again: whole seconds, a fraction, milliseconds, or not at all."""
    whole = max(1, -int(-seconds // 1))
    variants = {
        "integer": {"Retry-After": str(whole)},
        "fractional": {"Retry-After": f"{seconds:.3f}"},
        "ms": {"x-ms-retry-after-ms": str(whole * 1000)},
        "absent": {},
    }
    return variants[variant]
