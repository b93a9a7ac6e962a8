"""From a bearer token to the caller it speaks for. Each component makes its own error of a refused token."""

import base64
import json
from dataclasses import replace
from typing import Any, Final

import jwt

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.entra.grants import audiences
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.entra.token_checks import (
    TAKES_CHALLENGES,
    Ending,
    VerifiedToken,
    digest_of,
    token_checks_of,
)

_SKEW: Final = 300
"""Seconds by which the clocks of two machines may differ."""

_NOT_WELL_FORMED: Final = (
    "IDX14100: JWT is not well formed, there are no dots (.).\n"
    "The token needs to be in JWS or JWE Compact Serialization Format."
)


_EXPIRED: Final = "Lifetime validation failed, the token is expired."
_REVOKED: Final = (
    "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: "
    "TokenIssuedBeforeRevocationTimestamp"
)
_CACHED: Final = "MSAL goes by its own clock, and hands the same token out of its cache until it expires"


class TokenRefused(Exception):
    """A token that is missing, not ours, for another audience, or expired.

    `text` is Microsoft's wording for the answer, `reason` the true one for the journal, `rule` its name there.
    `claims`: the claims that a new token must have, base64 as in a challenge, or empty.
    """

    code: Final = "InvalidAuthenticationToken"

    def __init__(self, text: str, reason: str, rule: str = "TokenUnusable", claims: str = "") -> None:
        super().__init__(reason)
        self.text, self.reason, self.rule, self.claims = text, reason, rule, claims


def caller_of(cloud: Cloud, authorization: str | None, origin: str) -> Caller:
    """Return who a bearer token speaks for; `origin` is the address at which the client asks.

    Raises:
        TokenRefused: no token, not ours, another audience, or expired.

    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenRefused("Access token is empty.", "expected 'Authorization: Bearer …'", "TokenMissing")
    if not token.isascii():
        raise TokenRefused(_NOT_WELL_FORMED, "expected a JWT, got characters outside ASCII")
    checks, now = token_checks_of(cloud), cloud.wall.now().timestamp()
    verified = checks.verified.get((token, origin))
    if verified is None:
        verified = _verified(_claims(cloud, token.strip(), origin))
        checks.verified.put((token, origin), verified)
    if verified.caller.expires <= now:
        raise TokenRefused(_EXPIRED, "the token's lifetime is over by the wall clock", "TokenExpired")
    ending = checks.ending_of(verified, token)
    if ending is not None:
        raise _ended(ending, verified, now)
    return verified.caller


def _ended(ending: Ending, verified: VerifiedToken, now: float) -> TokenRefused:
    """Return the refusal of a token that ended before its time."""
    if ending == "expired":
        reason = "the lab ended the token before its time, as a fault or --expire-tokens asked"
        return TokenRefused(_EXPIRED, f"{reason}; {_CACHED}", "TokenExpired")
    if not verified.takes_challenges:
        reason = "the token was revoked, and its client did not declare the capability cp1"
        return TokenRefused(_EXPIRED, f"{reason}; {_CACHED}", "TokenRevoked")
    # A token that is issued from now on will do: sources.md#claims-challenge.
    claims = {"access_token": {"nbf": {"essential": True, "value": str(int(now))}}}
    reason = "the token was revoked; its client declared the capability cp1, so it got a claims challenge"
    return TokenRefused(_REVOKED, reason, "TokenRevoked", base64.b64encode(json.dumps(claims).encode()).decode())


def end_token(cloud: Cloud, authorization: str, ending: Ending = "expired") -> None:
    """Let the token of an Authorization header be expired, or revoked, from now on."""
    checks, digest = token_checks_of(cloud), digest_of(authorization.partition(" ")[2])
    if ending == "revoked":
        checks.revoke(digest)
    else:
        checks.expire(digest)


def _claims(cloud: Cloud, token: str, origin: str) -> dict[str, Any]:
    claims = _checked(cloud, token, origin)
    if claims["nbf"] > cloud.wall.now().timestamp() + _SKEW:
        text = "Lifetime validation failed, the token is not yet valid."
        raise TokenRefused(text, f"the token is valid from {claims['nbf']}")
    return claims


def _checked(cloud: Cloud, token: str, origin: str) -> dict[str, Any]:
    try:
        return signing_key_of(cloud).verify(token, audiences(origin))
    except jwt.InvalidAudienceError as error:
        text = "Access token validation failure. Invalid audience."
        reason = f"expected a token for {audiences(origin)[0]}, got one for another resource or cloud ({error})"
        raise TokenRefused(text, reason, "AudienceWrong") from None
    except jwt.InvalidIssuerError:
        text = "Access token validation failure. Invalid issuer."
        raise TokenRefused(text, "the token's issuer is not its tenant's") from None
    except jwt.InvalidSignatureError:
        text = "Access token validation failure. Invalid signature."
        raise TokenRefused(text, "another authority signed the token") from None
    except jwt.InvalidTokenError as error:
        raise TokenRefused(_NOT_WELL_FORMED, f"not a token of this lab ({type(error).__name__})") from None


def _verified(claims: dict[str, Any]) -> VerifiedToken:
    return VerifiedToken(_caller(claims), int(claims["iat"]), TAKES_CHALLENGES in claims.get("xms_cc", ()))


def _caller(claims: dict[str, Any]) -> Caller:
    who = Caller(claims["tid"], claims["appid"], frozenset(claims.get("roles", ())), claims["exp"])
    if "scp" not in claims:
        return who
    scopes, roles = frozenset(claims["scp"].split()), frozenset(claims["wids"])
    return replace(who, scopes=scopes, user_id=claims["oid"], directory_roles=roles)
