"""A user's state as sign-in and Intune meet it: blocked, behind a second factor or a policy, without licence.

Sources: sources.md#sign-in-states, sources.md#unlicensed-users.
"""

import json
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pfxlab.emulator.entra import errors

if TYPE_CHECKING:
    from pfxlab.emulator.cloud import Cloud
    from pfxlab.emulator.store.database import Row

SignInState = Literal["allowed", "mfa", "blocked", "password_expired", "policy"]
SIGN_IN_STATES: Final[tuple[SignInState, ...]] = get_args(SignInState)

_ENABLED: Final = "accountEnabled"
_STATE: Final = "labSignIn"
_LICENCE: Final = "labLicence"
"""Names among a user's properties. Graph shows the first alone."""


def state_of(user: "Row") -> SignInState:
    """Return what sign-in makes of a user; Graph's accountEnabled false is `blocked`."""
    held = json.loads(user["properties"])
    if not held.get(_ENABLED, True):
        return "blocked"
    state: SignInState = held.get(_STATE, "allowed")
    return state


def is_enabled(user: "Row") -> bool:
    """Return whether a user's account may sign in at all."""
    return state_of(user) != "blocked"


def is_licensed(user: "Row") -> bool:
    """Return whether a user has a licence for Intune; everybody has who was not made without."""
    return bool(json.loads(user["properties"]).get(_LICENCE, True))


def set_state(cloud: "Cloud", user: "Row", sign_in: SignInState | None = None, *, licence: bool | None = None) -> None:
    """Put a user into another state; what is None stays as it is."""
    held: dict[str, Any] = json.loads(user["properties"])
    if sign_in is not None:
        held = {**held, _ENABLED: sign_in != "blocked", _STATE: "allowed" if sign_in == "blocked" else sign_in}
    if licence is not None:
        held[_LICENCE] = licence
    cloud.directory.change_user(user["id"], properties=held)


def renew_password(cloud: "Cloud", user_id: str, tenant_id: str) -> None:
    """Note that a user has a new password: it has not expired."""
    user = cloud.directory.user(tenant_id, user_id)
    if user is not None and state_of(user) == "password_expired":
        set_state(cloud, user, "allowed")


def check_sign_in(user: "Row", resource: str, *, password: bool, second_factor: bool) -> None:
    """Let a user pass who may have a token.

    `password`: the password itself was sent; a token given earlier outlives it. `second_factor`: it was shown.

    Raises:
        EntraError: AADSTS50057, 50055, 50076 or 53003.

    """
    state, upn = state_of(user), str(user["user_principal_name"])
    if state == "blocked":
        raise errors.disabled_user(upn)
    if state == "password_expired" and password:
        raise errors.expired_password(upn)
    if state == "mfa" and not second_factor:
        raise errors.second_factor_required(upn, resource)
    if state == "policy":
        raise errors.blocked_by_policy(upn)
