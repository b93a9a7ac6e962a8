"""From a bearer token to the caller it speaks for. Each component makes its own error of a refused token."""

from dataclasses import replace
from typing import Any, Final

import jwt

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.entra.grants import audiences
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.entra.token_checks import digest_of, token_checks_of

_SKEW: Final = 300
"""Seconds by which the clocks of two machines may differ."""

_NOT_WELL_FORMED: Final = (
    "IDX14100: JWT is not well formed, there are no dots (.).\n"
    "The token needs to be in JWS or JWE Compact Serialization Format."
)


class TokenRefused(Exception):
    """A token that is missing, not ours, for another audience, or expired.

    `text` is Microsoft's wording for the answer, `reason` the true one for the journal, `rule` its name there.
    """

    code: Final = "InvalidAuthenticationToken"

    def __init__(self, text: str, reason: str, rule: str = "TokenUnusable") -> None:
        super().__init__(reason)
        self.text, self.reason, self.rule = text, reason, rule


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
    checks = token_checks_of(cloud)
    caller = checks.callers.get((token, origin))
    if caller is None:
        caller = _caller(_claims(cloud, token.strip(), origin))
        checks.callers.put((token, origin), caller)
    ended = bool(checks.ended) and digest_of(token) in checks.ended
    if ended or caller.expires <= cloud.clock.now().timestamp():
        text = "Lifetime validation failed, the token is expired."
        reason = "a fault of the lab ended the token" if ended else f"the token expired at {caller.expires}"
        raise TokenRefused(text, reason, "TokenExpired")
    return caller


def end_token(cloud: Cloud, authorization: str) -> None:
    """Let the token of an Authorization header be expired from now on."""
    token_checks_of(cloud).ended.add(digest_of(authorization.partition(" ")[2]))


def _claims(cloud: Cloud, token: str, origin: str) -> dict[str, Any]:
    claims = _verified(cloud, token, origin)
    if claims["nbf"] > (cloud.clock.now() + token_checks_of(cloud).set_back).timestamp() + _SKEW:
        text = "Lifetime validation failed, the token is not yet valid."
        raise TokenRefused(text, f"the token is valid from {claims['nbf']}")
    return claims


def _verified(cloud: Cloud, token: str, origin: str) -> dict[str, Any]:
    try:
        return signing_key_of(cloud).verify(token, audiences(origin))
    except jwt.InvalidAudienceError as error:
        text = "Access token validation failure. Invalid audience."
        raise TokenRefused(text, f"the token's audience is not Graph ({error})") from None
    except jwt.InvalidIssuerError:
        text = "Access token validation failure. Invalid issuer."
        raise TokenRefused(text, "the token's issuer is not its tenant's") from None
    except jwt.InvalidSignatureError:
        text = "Access token validation failure. Invalid signature."
        raise TokenRefused(text, "another authority signed the token") from None
    except jwt.InvalidTokenError as error:
        raise TokenRefused(_NOT_WELL_FORMED, f"not a token of this lab ({type(error).__name__})") from None


def _caller(claims: dict[str, Any]) -> Caller:
    who = Caller(claims["tid"], claims["appid"], frozenset(claims.get("roles", ())), claims["exp"])
    if "scp" not in claims:
        return who
    scopes, roles = frozenset(claims["scp"].split()), frozenset(claims["wids"])
    return replace(who, scopes=scopes, user_id=claims["oid"], directory_roles=roles)
