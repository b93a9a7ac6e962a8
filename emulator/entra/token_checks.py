"""What a cloud remembers of access tokens: verified ones, and those that ended before their time."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.lru_cache import LruCache

Ending: TypeAlias = Literal["expired", "revoked"]
TAKES_CHALLENGES: Final = "CP1"
"""The client capability, as a token names it: sources.md#claims-challenge."""

_CACHED_TOKENS: Final = 1000
_KEPT: Final = "tokens_ended"


@dataclass(frozen=True)
class VerifiedToken:
    """A token whose signature was checked.

    `issued`: seconds since 1970, as its `iat`. `takes_challenges`: its client declared the capability cp1
    (sources.md#claims-challenge).
    """

    caller: Caller
    issued: int
    takes_challenges: bool


class TokenChecks:
    """Verified tokens, and which tokens ended before their time. Moments are the wall clock's, seconds since 1970.

    A bulk import sends the same token each time: it is verified once.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.verified: LruCache[tuple[str, str], VerifiedToken] = LruCache(_CACHED_TOKENS)
        self._store = cloud.store
        self._expired: set[str] = set()
        self._revoked: set[str] = set()
        self._users_revoked: dict[str, int] = {}
        self._all_until = 0
        self.read()

    def read(self) -> None:
        """Take what the store says: at a start, and after it was put back to another state."""
        kept: dict[str, Any] = json.loads(self._store.meta(_KEPT) or "{}")
        self._expired, self._revoked = set(kept.get("expired", ())), set(kept.get("revoked", ()))
        self._users_revoked, self._all_until = dict(kept.get("users", {})), int(kept.get("all", 0))
        self.verified.clear()

    def _write(self) -> None:
        kept = {
            "expired": sorted(self._expired),
            "revoked": sorted(self._revoked),
            "users": self._users_revoked,
            "all": self._all_until,
        }
        self._store.set_meta(_KEPT, json.dumps(kept))

    def expire(self, digest: str) -> None:
        """Let a token be expired from now on."""
        if digest not in self._expired:
            self._expired.add(digest)
            self._write()

    def expire_all(self, now: int) -> None:
        """Let every token that was issued until now be expired; refresh tokens stay."""
        self._all_until = max(self._all_until, now)
        self._write()

    @property
    def expired_until(self) -> int:
        """Return the moment until which every issued token was let expire; 0 if none was."""
        return self._all_until

    def revoke(self, *digests: str) -> None:
        """Let tokens be revoked from now on."""
        if not self._revoked.issuperset(digests):
            self._revoked.update(digests)
            self._write()

    def revoke_user(self, user_id: str, now: int) -> None:
        """Let every token be revoked that a user was issued until now."""
        self._users_revoked[user_id] = now
        self._write()

    def first_issue(self, now: int, user_id: str | None) -> int:
        """Return the `iat` of a new token: now, or the second after the last one in which tokens were ended."""
        return max(now, self._all_until + 1, self._users_revoked.get(user_id or "", -1) + 1)

    def ending_of(self, verified: VerifiedToken, token: str) -> Ending | None:
        """Return how a token was ended before its time; None if it was not."""
        digest = digest_of(token) if self._expired or self._revoked else ""
        # Access is evaluated continuously for clients that can take a challenge: sources.md#continuous-access.
        until = self._users_revoked.get(verified.caller.user_id or "", -1)
        if digest in self._revoked or (verified.takes_challenges and verified.issued <= until):
            return "revoked"
        return "expired" if verified.issued <= self._all_until or digest in self._expired else None


def token_checks_of(cloud: Cloud) -> TokenChecks:
    """Return what a cloud remembers of tokens."""

    def make() -> TokenChecks:
        checks = TokenChecks(cloud)
        cloud.on_restore.append(checks.read)
        return checks

    return cloud.component(TokenChecks, make)


def revoke_sessions_of(cloud: Cloud, user_id: str) -> None:
    """End a user's refresh tokens at once, and access tokens of clients that take claims challenges."""
    cloud.tickets.revoke(user_id)
    token_checks_of(cloud).revoke_user(user_id, int(cloud.wall.now().timestamp()))


def expire_tokens_of(cloud: Cloud) -> None:
    """Let every access token that a cloud has issued so far be expired."""
    token_checks_of(cloud).expire_all(int(cloud.wall.now().timestamp()))
    cloud.journal.record("lab", "tokens expired")


def digest_of(token: str) -> str:
    """Return by what a token is remembered: never by itself."""
    return hashlib.sha256(token.strip().encode()).hexdigest()
