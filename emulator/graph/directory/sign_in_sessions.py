"""Revoking a user's sign-in sessions. Source: sources.md#revoke-sign-in-sessions."""

from pfxlab.emulator.entra.token_checks import revoke_sessions_of
from pfxlab.emulator.graph.directory.users import find_me, find_user
from pfxlab.emulator.graph.permissions import SESSIONS_REVOKE
from pfxlab.emulator.graph.request import Answer, GraphRequest
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.store.database import Row


def revoke_sessions_of_user(request: GraphRequest) -> Answer:
    """POST /users/{id}/revokeSignInSessions."""
    return _revoke(request, find_user(request))


def revoke_my_sessions(request: GraphRequest) -> Answer:
    """POST /me/revokeSignInSessions."""
    return _revoke(request, find_me(request))


def _revoke(request: GraphRequest, user: Row) -> Answer:
    """End refresh tokens at once, and access tokens of clients that take claims challenges."""
    cloud = request.cloud
    revoke_sessions_of(cloud, user["id"])
    cloud.journal.record("graph", "sign-in sessions revoked", user=user["id"], upn=user["user_principal_name"])
    return Answer(200, {"@odata.context": request.context("Edm.Boolean"), "value": True})


def add_routes(router: Router) -> None:
    """Register the actions."""
    router.add("POST", "me/revokeSignInSessions", Route(revoke_my_sessions, SESSIONS_REVOKE))
    router.add("POST", "users/{}/revokeSignInSessions", Route(revoke_sessions_of_user, SESSIONS_REVOKE))
