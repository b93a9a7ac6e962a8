"""Entra ID over HTTP."""

from typing import Final

from aiohttp import web

from pfxlab.emulator.boundary import OWN_HOSTS, Component, Problem
from pfxlab.emulator.edge import CLOUD, origin_of, read_form
from pfxlab.emulator.entra import authorize, discovery, errors, grants
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.entra.tenants import NO_STORE, error_answer, refusal, tenant_of
from pfxlab.emulator.hosts.microsoft import HostsOf, Service


async def openid_configuration(request: web.Request) -> web.Response:
    """GET /{tenant}/v2.0/.well-known/openid-configuration."""
    cloud, segment = request.app[CLOUD], request.match_info["tenant"]
    try:
        tenant = tenant_of(cloud, segment)
    except errors.EntraError as error:
        return refusal(cloud, request, error)
    return web.json_response(discovery.openid_configuration(origin_of(request), segment, tenant["id"]))


async def keys(request: web.Request) -> web.Response:
    """GET /{tenant}/discovery/v2.0/keys."""
    return web.json_response(signing_key_of(request.app[CLOUD]).jwks())


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
    fields = await read_form(request)
    try:
        segment = request.match_info["tenant"]
        tenant = tenant_of(cloud, segment, fields.get("username", ""), fields.get("client_id", ""))
        body = grants.token(cloud, grants.TokenRequest(tenant, fields, origin_of(request), segment))
    except errors.EntraError as error:
        return refusal(cloud, request, error)
    cloud.journal.record("entra", "token issued", client=fields.get("client_id"), grant=fields.get("grant_type"))
    return web.json_response(body, headers=NO_STORE)


def _problem(request: web.Request, problem: Problem) -> web.Response:
    """Return what no endpoint answered: a page where a person looks, Entra ID's JSON elsewhere."""
    make = errors.unavailable if problem.status >= 500 else errors.invalid_input
    error = make(problem.text, problem.status)
    if request.path.endswith(authorize.PAGES):
        return authorize.problem_page(error)
    return error_answer(request, error)


COMPONENT: Final = Component("entra", _problem, HostsOf(Service.LOGIN, OWN_HOSTS))


def add_routes(app: web.Application) -> None:
    """Register every sign-in endpoint."""
    app.router.add_get("/common/discovery/instance", instance)
    app.router.add_get("/common/userrealm/{upn}", user_realm)
    app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", openid_configuration)
    app.router.add_get("/{tenant}/discovery/v2.0/keys", keys)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", token)
    authorize.add_routes(app)
