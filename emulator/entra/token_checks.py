"""What a cloud remembers of access tokens: callers of verified ones, and those that were ended before their time."""

import hashlib
from datetime import timedelta
from typing import Final

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.lru_cache import LruCache

_CACHED_CALLERS: Final = 1000


class TokenChecks:
    """Callers of verified tokens, digests of ended tokens, and by how much the lab's clock was set back.

    A bulk import sends the same token each time: it is verified once. A token that was issued before the clock was set
    back is not one of the future.
    """

    def __init__(self) -> None:
        self.callers: LruCache[tuple[str, str], Caller] = LruCache(_CACHED_CALLERS)
        self.ended: set[str] = set()
        self.set_back = timedelta()

    def note_set_back(self, step: timedelta) -> None:
        """Add up what the clock was set back by; zero where it was not."""
        self.set_back += abs(step)


def token_checks_of(cloud: Cloud) -> TokenChecks:
    """Return what a cloud remembers of tokens; callers are forgotten when its store is put back."""

    def make() -> TokenChecks:
        checks = TokenChecks()
        cloud.on_restore.append(checks.callers.clear)
        cloud.clock.on_change.append(checks.note_set_back)
        return checks

    return cloud.component(TokenChecks, make)


def digest_of(token: str) -> str:
    """Return by what a token is remembered: never by itself."""
    return hashlib.sha256(token.strip().encode()).hexdigest()
