"""Who a token speaks for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Who holds the token, and until when: application roles or delegated scopes, and a user's directory roles.

    `expires`: seconds since 1970, as the token's `exp`.
    """

    tenant_id: str
    app_id: str
    scopes: frozenset[str]
    expires: float
    user_id: str | None = None
    directory_roles: frozenset[str] = frozenset()
