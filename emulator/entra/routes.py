"""Entra ID over HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from pfxlab.emulator.boundary import OWN_HOSTS, Component, Problem
from pfxlab.emulator.edge import CLOUD, origin_of, read_form
from pfxlab.emulator.entra import authorize, discovery, errors, grants, v1
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.entra.tenants import ANY_TENANT, NO_STORE, error_answer, refusal, tenant_of
from pfxlab.emulator.hosts.microsoft import HostsOf, Service
from pfxlab.emulator.journal.tips import tip
from pfxlab.emulator.wire.text import shown

_Document = Callable[[str, str, str], dict[str, Any]]


def _configuration(document: _Document) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler of an OIDC document. Its endpoints have the tenant's id, or `common` and the like as asked."""

    async def answer(request: web.Request) -> web.Response:
        cloud, segment = request.app[CLOUD], request.match_info["tenant"]
        try:
            tenant = tenant_of(cloud, segment)
        except errors.EntraError as error:
            return refusal(cloud, request, error)
        named = segment if segment.lower() in ANY_TENANT else tenant["id"]
        return web.json_response(document(origin_of(request), named, tenant["id"]))

    return answer


async def keys(request: web.Request) -> web.Response:
    """GET /{tenant}/discovery/v2.0/keys, and /discovery/keys."""
    return web.json_response(signing_key_of(request.app[CLOUD]).jwks())


async def instance(request: web.Request) -> web.Response:
    """GET /common/discovery/instance."""
    cloud = request.app[CLOUD]
    authority = request.query.get("authorization_endpoint", "")
    try:
        body = discovery.instance_discovery(origin_of(request), authority, cloud.directory.tenants()[0]["id"])
    except errors.EntraError as error:
        return refusal(cloud, request, error)
    return web.json_response(body)


async def user_realm(request: web.Request) -> web.Response:
    """GET /{tenant}/userrealm/{upn}, or ?user=, whatever the case."""
    upn = request.match_info.get("upn") or request.query.get("user", "")
    managed = request.app[CLOUD].directory.tenant(upn.rpartition("@")[2]) is not None
    return web.json_response(discovery.user_realm(upn, request.query.get("api-version", "1.0"), managed=managed))


async def token(request: web.Request) -> web.Response:
    """POST /{tenant}/oauth2/v2.0/token."""
    fields = await read_form(request)
    return _token(request, fields, "2.0")


async def token_v1(request: web.Request) -> web.Response:
    """POST /{tenant}/oauth2/token."""
    fields = await read_form(request)
    try:
        answer = _token(request, v1.as_v2(fields), "1.0")
    except errors.EntraError as error:
        return refusal(request.app[CLOUD], request, error)
    return answer


def _token(request: web.Request, fields: Mapping[str, str], version: str) -> web.Response:
    cloud, first = request.app[CLOUD], version == "1.0"
    try:
        segment = request.match_info["tenant"]
        tenant = tenant_of(cloud, segment, fields.get("username", ""), fields.get("client_id", ""))
        body = grants.token(cloud, grants.TokenRequest(tenant, fields, origin_of(request), segment, version))
    except errors.EntraError as error:
        return refusal(cloud, request, errors.as_interaction_required(error) if first else error)
    if first:
        body = v1.token_answer(body, fields.get("resource", grants.GRAPH_RESOURCE), cloud.wall.now().timestamp())
    cloud.journal.record("entra", "token issued", client=fields.get("client_id"), grant=fields.get("grant_type"))
    return web.json_response(body, headers=NO_STORE)


async def instance_metadata(request: web.Request) -> web.Response:
    """GET /metadata/…: the instance metadata service, which answers on virtual machines of Azure alone."""
    rule = "MetadataServiceMissing"
    text = (
        "PFX Lab does not emulate the instance metadata service (IMDS) and managed identities: they exist on "
        "machines of Azure only. Sign in with a client secret, a certificate or a user."
    )
    client = shown(request.headers.get("User-Agent", ""))
    request.app[CLOUD].journal.record(
        "entra", "request", outcome="refused", reason=text, rule=rule, tip=tip(rule), path=request.path, client=client
    )
    return web.json_response({"error": "invalid_request", "error_description": text}, status=400)


def _problem(request: web.Request, problem: Problem) -> web.Response:
    """Return what no endpoint answered: a page where a person looks, Entra ID's JSON elsewhere."""
    make = errors.unavailable if problem.status >= 500 else errors.invalid_input
    error = make(problem.text, problem.status)
    if request.path.endswith(authorize.PAGES):
        return authorize.problem_page(error)
    return error_answer(request, error)


def _elsewhere(_request: web.Request, _found: Problem) -> web.Response:
    return web.Response(status=404, headers=NO_STORE)


COMPONENT: Final = Component(
    "entra", _problem, HostsOf(Service.LOGIN, OWN_HOSTS), service=Service.LOGIN, elsewhere=_elsewhere
)


_USER_REALM: Final = "{realm:[Uu][Ss][Ee][Rr][Rr][Ee][Aa][Ll][Mm]}"


def add_routes(app: web.Application) -> None:
    """Register every sign-in endpoint."""
    app.router.add_get("/common/discovery/instance", instance)
    app.router.add_get(f"/{{tenant}}/{_USER_REALM}/{{upn}}", user_realm)
    app.router.add_get(f"/{{tenant}}/{_USER_REALM}", user_realm)
    app.router.add_get(f"/{{tenant}}/{_USER_REALM}/", user_realm)
    v2_document, v1_document = discovery.openid_configuration, discovery.openid_configuration_v1
    app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", _configuration(v2_document))
    app.router.add_get("/{tenant}/.well-known/openid-configuration", _configuration(v1_document))
    app.router.add_get("/{tenant}/discovery/v2.0/keys", keys)
    app.router.add_get("/{tenant}/discovery/keys", keys)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", token)
    app.router.add_post("/{tenant}/oauth2/token", token_v1)
    app.router.add_get("/metadata/{path:(identity|instance).*}", instance_metadata)
    authorize.add_routes(app)
