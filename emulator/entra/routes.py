"""Entra ID over HTTP."""

from typing import Any, cast

from aiohttp import web

from emulator.cloud import Cloud
from emulator.edge import CLOUD, origin_of
from emulator.entra import discovery, errors, grants
from emulator.store.database import Row

_ANY_TENANT = ("common", "organizations")


def _tenant(cloud: Cloud, name: str) -> Row:
    found = cloud.directory.tenants()[0] if name.lower() in _ANY_TENANT else cloud.directory.tenant(name)
    if found is None:
        raise errors.unknown_tenant(name)
    return found


def _refusal(cloud: Cloud, request: web.Request, error: errors.EntraError) -> web.Response:
    correlation = request.headers.get("client-request-id") or cloud.chance.guid()
    body = error.body(cloud.clock.now(), cloud.chance.guid(), correlation)
    cloud.journal.record("entra", "sign-in refused", outcome="refused", reason=error.reason, code=error.number)
    return web.json_response(body, status=error.status, headers=_NO_STORE)


_NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}


async def openid_configuration(request: web.Request) -> web.Response:
    """GET /{tenant}/v2.0/.well-known/openid-configuration."""
    cloud, segment = request.app[CLOUD], request.match_info["tenant"]
    try:
        tenant = _tenant(cloud, segment)
    except errors.EntraError as error:
        return _refusal(cloud, request, error)
    return web.json_response(discovery.openid_configuration(origin_of(request), segment, tenant["id"]))


async def keys(request: web.Request) -> web.Response:
    """GET /{tenant}/discovery/v2.0/keys."""
    return web.json_response(request.app[CLOUD].signing_key.jwks())


async def instance(request: web.Request) -> web.Response:
    """GET /common/discovery/instance."""
    tenant = request.app[CLOUD].directory.tenants()[0]
    return web.json_response(discovery.instance_discovery(origin_of(request), tenant["id"]))


async def user_realm(request: web.Request) -> web.Response:
    """GET /common/userrealm/{upn}."""
    return web.json_response(discovery.user_realm(request.match_info["upn"]))


async def token(request: web.Request) -> web.Response:
    """POST /{tenant}/oauth2/v2.0/token."""
    cloud = request.app[CLOUD]
    form = cast(dict[str, Any], await request.post())
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        tenant = _tenant(cloud, request.match_info["tenant"])
        body = grants.token(cloud, grants.TokenRequest(tenant, fields, origin_of(request)))
    except errors.EntraError as error:
        return _refusal(cloud, request, error)
    cloud.journal.record("entra", "token issued", client=fields.get("client_id"), grant=fields["grant_type"])
    return web.json_response(body, headers=_NO_STORE)


def add_routes(app: web.Application) -> None:
    """Register every sign-in endpoint."""
    app.router.add_get("/common/discovery/instance", instance)
    app.router.add_get("/common/userrealm/{upn}", user_realm)
    app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", openid_configuration)
    app.router.add_get("/{tenant}/discovery/v2.0/keys", keys)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", token)
