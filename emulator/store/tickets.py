"""Short-lived tickets: authorization codes, device codes, refresh tokens, enrolments. Stored as hashes only."""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pfxlab.emulator.store.database import Store, from_text, to_text

AUTHORIZATION_CODE = "code"
DEVICE_CODE = "device"
SPENT_CODE = "spent code"
REFRESH_TOKEN = "refresh"  # noqa: S105 - the name of a kind
SECOND_FACTOR = "second factor"


_TOLD_EXPIRED: Final = timedelta(days=1)


@dataclass(frozen=True)
class Ticket:
    """What a code or refresh token stands for. `user_id` None: nobody has approved it yet."""

    hash: str
    kind: str
    tenant_id: str
    app_id: str
    scope: str
    expires: datetime
    user_id: str | None = None
    facts: dict[str, Any] | None = None


def _hash(value: str) -> str:
    # The values are random and long, so that a plain hash cannot be turned back.
    return hashlib.sha256(value.encode()).hexdigest()


class Tickets:
    """The tickets of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def issue(self, kind: str, now: datetime, seconds: int, **fields: Any) -> str:
        """Return a fresh random value that stands for these fields for so long."""
        self._purge(now)
        value = secrets.token_urlsafe(48)
        self.remember(kind, value, now, seconds, **fields)
        return value

    def remember(self, kind: str, value: str, now: datetime, seconds: int, **fields: Any) -> None:
        """Let a value of the client's own stand for these fields for so long."""
        self._save(Ticket(hash=_hash(value), kind=kind, expires=now + timedelta(seconds=seconds), **fields))

    def _purge(self, now: datetime) -> None:
        # A client that comes a little late is still told that its code has expired.
        self._store.run("delete from tickets where expires <= ?", (to_text(now - _TOLD_EXPIRED),))

    def _save(self, ticket: Ticket) -> None:
        stored = {"expires": to_text(ticket.expires), "facts": json.dumps(ticket.facts or {})}
        self._store.put("tickets", {**vars(ticket), **stored})

    def find(self, kind: str, value: str) -> Ticket | None:
        """Return what a value stands for, expired or not."""
        row = self._store.row("select * from tickets where hash = ? and kind = ?", (_hash(value), kind))
        if row is None:
            return None
        return Ticket(**{**row, "expires": from_text(row["expires"]), "facts": json.loads(row["facts"])})

    def with_user_code(self, user_code: str) -> Ticket | None:
        """Return the device code that a user code belongs to."""
        rows = self._store.rows("select * from tickets where kind = ?", (DEVICE_CODE,))
        for row in rows:
            if json.loads(row["facts"])["user_code"] == user_code.strip().upper():
                return Ticket(**{**row, "expires": from_text(row["expires"]), "facts": json.loads(row["facts"])})
        return None

    def approve(self, ticket: Ticket, user_id: str, *, second_factor: bool = False) -> None:
        """Let a user stand behind a ticket, who has shown a second factor or not."""
        self._store.run(
            "update tickets set user_id = ?, facts = json_set(facts, '$.second_factor', ?) where hash = ?",
            (user_id, int(second_factor), ticket.hash),
        )

    def revoke(self, user_id: str) -> None:
        """Make everything worthless that was given for a user."""
        self._store.run("delete from tickets where user_id = ?", (user_id,))

    def redeem(self, code: Ticket) -> None:
        """Make an authorization code worthless, and remember it: who sends it again may have stolen it."""
        self._store.run(
            "update tickets set kind = ?, facts = json_set(facts, '$.tokens', json('[]')) where hash = ?",
            (SPENT_CODE, code.hash),
        )

    def note_token(self, code_hash: str, digest: str) -> None:
        """Remember the digest of an access token that was given for a code or a refresh token of its."""
        self._store.run(
            "update tickets set facts = json_insert(facts, '$.tokens[#]', ?) where hash = ?", (digest, code_hash)
        )

    def revoke_code(self, code: Ticket) -> list[str]:
        """Make worthless what was given for a code; return the digests of its access tokens."""
        self._store.run("delete from tickets where json_extract(facts, '$.code') = ?", (code.hash,))
        return list((code.facts or {}).get("tokens", ()))

    def spend(self, ticket: Ticket) -> None:
        """Make a ticket worthless."""
        self._store.run("delete from tickets where hash = ?", (ticket.hash,))
