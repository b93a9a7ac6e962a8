"""What injecting a fault needs anywhere: who sends a request, the mark in the journal, how to be asked to wait."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import jwt

from pfxlab.emulator.faults.plan import Planned
from pfxlab.emulator.journal.journal import Journal

_NAMES = ("appid", "upn", "oid", "preferred_username")


def actor_of(authorization: str, *names: str) -> str:
    """Return all names of who sends a request, in one text. The token is read, not verified."""
    found = list(names)
    token = authorization.rpartition(" ")[2]
    if token:
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
            found += [str(claims.get(name, "")) for name in _NAMES]
        except jwt.InvalidTokenError:
            pass  # a foreign token identifies no actor
    return " ".join(name for name in found if name)


def mark(journal: Journal, planned: Planned, **facts: str) -> None:
    """Write an injected fault into the journal."""
    journal.record("lab", "fault injected", fault=planned.id, kind=planned.fault.kind, **facts)


def retry_headers(now: datetime, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by which a fault asks a client to wait, in the planned form."""
    wait = float(settings["wait"])
    whole = str(max(1, -int(-wait // 1)))
    date = format_datetime(now.replace(microsecond=0) + timedelta(seconds=wait), usegmt=True)
    milliseconds = {"x-ms-retry-after-ms": str(int(wait * 1000))}
    forms: dict[str, dict[str, str]] = {
        "absent": {},
        "integer": {"Retry-After": whole},
        "fractional": {"Retry-After": f"{wait:.3f}"},
        "date": {"Retry-After": date},
        "ms": milliseconds,
        "both": {"Retry-After": whole, **milliseconds},
    }
    return forms[str(settings["retry_after"])]
