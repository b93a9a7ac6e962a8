"""The first version of the sign-in endpoints: a `resource` in place of scopes, and texts for numbers.

Older scripts, ADAL and tools that look up a tenant still use them. Source: sources.md#v1-endpoints.
"""

from collections.abc import Mapping
from typing import Any, Final

from pfxlab.emulator.entra import errors

_SIGN_IN: Final = "openid profile offline_access"
_WITH_TICKET: Final = frozenset({"authorization_code", "refresh_token", "device_code"})
"""Grants whose code or token says what it is for."""

_NUMBERS: Final = ("expires_in", "ext_expires_in")


def as_v2(fields: Mapping[str, str]) -> dict[str, str]:
    """Return a form or query of version 1 as version 2 has it.

    Raises:
        EntraError: a token request without `resource` whose grant does not say it either.

    """
    rest = {name: value for name, value in fields.items() if name != "scope"}
    grant, resource = fields.get("grant_type", ""), fields.get("resource", "")
    if resource:
        default = f"{resource}/.default"
        return {**rest, "scope": default if grant == "client_credentials" else f"{default} {_SIGN_IN}"}
    if grant and grant not in _WITH_TICKET:
        raise errors.missing_parameter("resource")
    return rest


def token_answer(body: Mapping[str, Any], resource: str, now: float) -> dict[str, Any]:
    """Return the body of a token answer of version 1; `now` in seconds since 1970."""
    texts = {name: str(body[name]) for name in _NUMBERS}
    on = {"expires_on": str(int(now) + int(body["expires_in"])), "not_before": str(int(now))}
    return {**body, **texts, **on, "resource": resource}


def device_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a device code answer of version 1."""
    rest = {name: value for name, value in body.items() if name != "verification_uri"}
    texts = {name: str(body[name]) for name in ("expires_in", "interval")}
    return {**rest, **texts, "verification_url": body["verification_uri"]}
