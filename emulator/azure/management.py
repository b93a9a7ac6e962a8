"""Azure Resource Manager for `az login`: who has a token sees the tenant, and no subscription.

Source: sources.md#azure-management.
"""

from typing import Any, Final

import jwt
from aiohttp import web

from pfxlab.emulator.boundary import OWN_HOSTS, Component, Problem
from pfxlab.emulator.edge import CLOUD
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.entra.principals.applications import AZURE_MANAGEMENT, names_of
from pfxlab.emulator.hosts.microsoft import HostsOf, Service
from pfxlab.emulator.store.database import Row

_AUDIENCES: Final = [spelling for name in names_of(AZURE_MANAGEMENT) for spelling in (name, f"{name}/")]


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


def _problem(_: web.Request, problem: Problem) -> web.Response:
    return _error(problem.status, problem.code, problem.text)


def _elsewhere(_: web.Request, __: Problem) -> web.Response:
    return _error(404, "ResourceNotFound", "The requested resource does not exist.")


COMPONENT: Final = Component(
    "azure", _problem, HostsOf(Service.MANAGEMENT, OWN_HOSTS), service=Service.MANAGEMENT, elsewhere=_elsewhere
)


def _tenant(request: web.Request) -> Row | None:
    """Return the tenant of a token for Azure management, None without such a token."""
    cloud = request.app[CLOUD]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.isascii():
        return None
    try:
        claims = signing_key_of(cloud).verify(token.strip(), _AUDIENCES)
    except jwt.InvalidTokenError:
        return None
    return cloud.directory.tenant(claims["tid"]) if claims["exp"] > cloud.wall.now().timestamp() else None


def _refused(request: web.Request) -> web.Response:
    reason = "expected a token for Azure management that has not expired, got none or another"
    request.app[CLOUD].journal.record(
        "azure", "request", outcome="refused", reason=reason, rule="TokenUnusable", path=request.path[:500]
    )
    return _error(401, "AuthenticationFailed", "Authentication failed.")


async def subscriptions(request: web.Request) -> web.Response:
    """GET /subscriptions: none, as for a service principal without a role on any."""
    if _tenant(request) is None:
        return _refused(request)
    return web.json_response({"value": [], "count": {"type": "Total", "value": 0}})


async def tenants(request: web.Request) -> web.Response:
    """GET /tenants: the token's own."""
    tenant = _tenant(request)
    if tenant is None:
        return _refused(request)
    one: dict[str, Any] = {
        "id": f"/tenants/{tenant['id']}",
        "tenantId": tenant["id"],
        "displayName": tenant["display_name"],
        "defaultDomain": tenant["domain"],
        "tenantCategory": "Home",
    }
    return web.json_response({"value": [one]})


def add_routes(app: web.Application) -> None:
    """Register what a sign-in of Azure CLI asks for."""
    app.router.add_get("/subscriptions", subscriptions)
    app.router.add_get("/tenants", tenants)
