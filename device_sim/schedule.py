"""When a device checks in and renews by itself. Pure.

Sources: sources.md#check-in-times, sources.md#mdm-certificate-renewal.
"""

from datetime import datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509

Poll: TypeAlias = tuple[tuple[int, int], ...]

APPLE: Final[Poll] = ((15, 4), (480, 0))
"""Pushes to Apple devices: every 15 minutes for an hour, then every 8 hours; they poll nothing by themselves."""


def next_check_in(poll: Poll, enrolled: datetime, after: datetime) -> datetime:
    """Return the first moment later than `after` at which a device that enrolled at `enrolled` checks in.

    `poll`: (minutes, times), one set after the other; the first set with 0 times goes on for ever. Without one the
    device makes a schedule of 24 hours. Before `enrolled`, as after a clock was set back, only the last set counts.
    """
    if after < enrolled:
        poll = tuple((minutes, times) for minutes, times in poll if times == 0)
    moment = enrolled
    for minutes, times in poll:
        step = timedelta(minutes=minutes)
        if minutes <= 0:
            continue
        if times == 0:
            return _forever(moment, step, after)
        for _ in range(times):
            moment += step
            if moment > after:
                return moment
    return _forever(moment, timedelta(hours=24), after)


def _forever(begin: datetime, step: timedelta, after: datetime) -> datetime:
    rounds = (after - begin) // step
    return begin + step * (rounds + 1)


def is_due_for_renewal(certificate: x509.Certificate, days: int, now: datetime) -> bool:
    """Return whether a device asks for its next identity: in the last `days` of the present one, 0 never."""
    return days > 0 and certificate.not_valid_after_utc - now <= timedelta(days=days)
