"""Token grants: what a token request gets, decided from the directory. No HTTP here.

Sources: sources.md#token-endpoint, sources.md#access-tokens (claims), sources.md#token-lifetime.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra import errors
from pfxlab.emulator.entra.assertions import ASSERTION_TYPE, verify
from pfxlab.emulator.entra.keys import issuer, signing_key_of
from pfxlab.emulator.entra.principals.applications import application, granted_scopes, resource_of
from pfxlab.emulator.entra.principals.users import check_sign_in
from pfxlab.emulator.entra.tenants import ANY_TENANT
from pfxlab.emulator.entra.token_checks import TAKES_CHALLENGES, digest_of, token_checks_of
from pfxlab.emulator.hosts.microsoft import GRAPH_HOSTS, microsoft_host
from pfxlab.emulator.store.database import Row, to_text
from pfxlab.emulator.store.directory import App
from pfxlab.emulator.store.tickets import AUTHORIZATION_CODE, DEVICE_CODE, REFRESH_TOKEN, SPENT_CODE, Ticket
from pfxlab.emulator.wire.ids import service_principal_id

GRAPH_APP_ID: Final = "00000003-0000-0000-c000-000000000000"
GRAPH_RESOURCE: Final = "https://graph.microsoft.com"
_GRAPHS: Final = tuple(f"https://{name}" for name in GRAPH_HOSTS)
INTUNE_ADMINISTRATOR: Final = "3a2c62db-5318-420d-8d74-23affee5d9d5"
GLOBAL_ADMINISTRATOR: Final = "62e90394-69f5-4237-9190-012177145e10"
_REFRESH_SECONDS: Final = 90 * 86400
_SIGN_IN_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})


@dataclass(frozen=True)
class TokenRequest:
    """A token request: the tenant asked for and as it was spelled, the form's fields, this server's origin.

    `version`: that of the endpoint.
    """

    tenant: Row
    form: Mapping[str, str]
    origin: str
    segment: str = "common"
    version: str = "2.0"

    def need(self, name: str) -> str:
        """Return a field of the form.

        Raises:
            EntraError: it is missing or empty.

        """
        value = self.form.get(name, "")
        if not value:
            raise errors.missing_parameter(name)
        return value


def _name_of(origin: str) -> str:
    return origin.removeprefix("https://").partition(":")[0]


def audiences(origin: str) -> list[str]:
    """Return the audiences under which Graph takes tokens where it is called at `origin`.

    Each of Microsoft's names takes its own alone; the lab's own address takes those of every cloud, and itself.
    """
    name = _name_of(origin)
    host = microsoft_host(name)
    if host is not None:
        return [f"https://{host.name}", GRAPH_APP_ID]
    return [*_GRAPHS, GRAPH_APP_ID, origin, f"https://{name}"]


def graph_audience(origin: str, resource: str = "") -> str | None:
    """Return the audience of a token for Graph, asked for where sign-in is called at `origin`.

    `resource`: as the client names it, empty if it names none. None: it is not Graph's, or not in this cloud.
    """
    host = microsoft_host(_name_of(origin))
    graphs = _GRAPHS if host is None else tuple(f"https://{name}" for name in host.cloud.graph)
    own = () if host is not None else (origin, f"https://{_name_of(origin)}")
    if resource in ("", GRAPH_APP_ID, *own):
        return graphs[0]
    return resource if resource in graphs else None


def token(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    """Return the body of a token answer.

    Raises:
        EntraError: the request is refused.

    """
    grant_type = request.need("grant_type")
    grant = _GRANTS.get(grant_type)
    if grant is None:
        raise errors.unsupported_grant(grant_type)
    return grant(cloud, request)


def _app(cloud: Cloud, request: TokenRequest, *, must_authenticate: bool) -> App:
    client_id = request.need("client_id")
    app = application(cloud, client_id, request.tenant)
    if not app.has_principal:
        raise errors.no_principal(client_id, request.tenant["id"])
    secret, assertion = request.form.get("client_secret"), request.form.get("client_assertion")
    if assertion is not None:
        if request.form.get("client_assertion_type") != ASSERTION_TYPE:
            raise errors.bad_assertion(f"expected client_assertion_type {ASSERTION_TYPE}, got another or none")
        verify(assertion, app, _own_addresses(request), cloud.wall.now().timestamp())
    elif secret is not None:
        _check_secret(cloud, app, secret)
    elif must_authenticate or not app.is_public:
        raise errors.missing_secret()
    return app


def _check_secret(cloud: Cloud, app: App, secret: str) -> None:
    if cloud.secrets.matches(secret, app.secret_hash):
        return
    known = next((p for p in cloud.directory.passwords(app.id) if cloud.secrets.matches(secret, p.hash)), None)
    if known is None:
        raise errors.wrong_secret(app.id)
    if not known.start <= to_text(cloud.clock.now()) < known.end:
        raise errors.expired_secret(app.id)


def _own_addresses(request: TokenRequest) -> list[str]:
    """Return the audiences of a client assertion: the token endpoint or issuer, under each name of the tenant."""
    names = (request.segment, request.tenant["id"], request.tenant["domain"])
    host = microsoft_host(_name_of(request.origin))
    # A library that asks a region's host signs for the cloud's usual one.
    aliases = [] if host is None else [f"https://{name}" for name in host.cloud.login]
    ends = ("oauth2/v2.0/token", "v2.0", "oauth2/token")
    return [f"{origin}/{name}/{end}" for origin in (request.origin, *aliases) for name in names for end in ends]


def _asked(cloud: Cloud, scope: str, request: TokenRequest) -> tuple[str, list[str]]:
    """Return the audience and the scope names a request asks for; those of sign-in are left out."""
    audience, names = graph_audience(request.origin) or GRAPH_RESOURCE, []
    for part in scope.split():
        if part in _SIGN_IN_SCOPES:
            continue
        resource, slash, name = part.rpartition("/")
        if slash:
            graph = graph_audience(request.origin, resource.rstrip("/"))
            audience = graph or _other_resource(cloud, resource, request)
        names.append(name)
    return audience, names


def _other_resource(cloud: Cloud, resource: str, request: TokenRequest) -> str:
    """Return the audience of a resource other than Graph: Microsoft's, or an application of the tenant."""
    if resource_of(resource) is not None:
        return resource
    app = cloud.directory.app(resource.removeprefix("api://"))
    if app is None or app.tenant_id != request.tenant["id"]:
        raise errors.unknown_resource(resource)
    return app.id


def _client_credentials(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    if request.segment.lower() in ANY_TENANT:
        raise errors.no_tenant(request.segment)
    app = _app(cloud, request, must_authenticate=True)
    scope = request.need("scope")
    audience, names = _asked(cloud, scope, request)
    if names != [".default"]:
        raise errors.invalid_scope(scope)
    # Permissions are Graph's: a token for another resource carries none of them.
    roles = list(app.app_roles) if audience in _GRAPHS else []
    principal = service_principal_id(app.id)
    claims = {"idtyp": "app", "oid": principal, "sub": principal, "roles": roles, "wids": [], "aud": audience}
    return _answer(cloud, request, _access_token(cloud, request, app, claims))


def _password(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    app = _app(cloud, request, must_authenticate=False)
    upn, password = request.need("username"), request.need("password")
    user = cloud.directory.user(request.tenant["id"], upn)
    if user is None or not cloud.secrets.matches(password, user["password_hash"]):
        raise errors.wrong_password(upn)
    return delegated(cloud, request, app, user)


def delegated(
    cloud: Cloud,
    request: TokenRequest,
    app: App,
    user: Row,
    scope: str | None = None,
    nonce: str | None = None,
    code_hash: str | None = None,
    *,
    second_factor: bool = False,
) -> dict[str, Any]:
    """Return the answer for a signed-in user: access token, id token, refresh token, client_info.

    `scope` is what a code or refresh token was issued for, when the request names none itself; `code_hash` the code
    that all began with, `second_factor` whether the user has shown one.
    """
    with_password = request.form.get("grant_type") == "password"
    check_sign_in(user, GRAPH_APP_ID, password=with_password, second_factor=second_factor)
    scope = request.form.get("scope") or scope or request.need("scope")
    audience, asked = _asked(cloud, scope, request)
    granted = granted_scopes(cloud, app, audience, asked)
    if asked and not granted:
        raise errors.consent_required(app.display_name, scope)
    claims = {
        "aud": audience,
        "idtyp": "user",
        "oid": user["id"],
        "sub": user["id"],
        "scp": " ".join(granted),
        "upn": user["user_principal_name"],
        "unique_name": user["user_principal_name"],
        "name": user["display_name"],
        "wids": json.loads(user["directory_roles"]),
        "amr": ["pwd", "mfa"] if second_factor else ["pwd"],
    }
    body = _answer(cloud, request, _access_token(cloud, request, app, claims))
    body["scope"] = " ".join(granted)
    if code_hash is not None:
        cloud.tickets.note_token(code_hash, digest_of(body["access_token"]))
    if "openid" in scope.split():
        body["id_token"] = _id_token(cloud, request, app, user, nonce)
    if "offline_access" in scope.split():
        body["refresh_token"] = cloud.tickets.issue(
            REFRESH_TOKEN, cloud.wall.now(), _REFRESH_SECONDS, tenant_id=request.tenant["id"], app_id=app.id,
            user_id=user["id"], scope=scope,
            facts={"second_factor": second_factor} | ({} if code_hash is None else {"code": code_hash}),
        )  # fmt: skip
    info = json.dumps({"uid": user["id"], "utid": request.tenant["id"]}).encode()
    body["client_info"] = base64.urlsafe_b64encode(info).rstrip(b"=").decode("ascii")
    return body


def _times(cloud: Cloud, user_id: str | None = None) -> dict[str, int]:
    """Return a token's dates, for clients that check them by their own clock."""
    now = int(cloud.wall.now().timestamp())
    issued = token_checks_of(cloud).first_issue(now, user_id)
    return {"iat": issued, "nbf": now, "exp": now + cloud.config.switches.token_lifetime_seconds}


def _capabilities(request: TokenRequest) -> dict[str, list[str]]:
    """Return the claim of a client that declares, in whatever case, that it takes claims challenges.

    Source: sources.md#claims-challenge.
    """
    try:
        values = json.loads(request.form.get("claims", "{}"))["access_token"]["xms_cc"]["values"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return {}
    declared = [values] if isinstance(values, str) else values
    takes = isinstance(declared, list) and TAKES_CHALLENGES in (str(value).upper() for value in declared)
    return {"xms_cc": [TAKES_CHALLENGES]} if takes else {}


def _access_token(cloud: Cloud, request: TokenRequest, app: App, claims: dict[str, Any]) -> str:
    tenant_id = request.tenant["id"]
    common = {
        "iss": issuer(tenant_id),
        "tid": tenant_id,
        "appid": app.id,
        "azp": app.id,
        "app_displayname": app.display_name,
        "appidacr": "0" if app.is_public else "1",
        "uti": cloud.traces.guid(),
        "ver": "1.0",
    }
    dates = _times(cloud, None if claims["idtyp"] == "app" else claims["oid"])
    return signing_key_of(cloud).sign({**common, **_capabilities(request), **dates, **claims})


def _id_token(cloud: Cloud, request: TokenRequest, app: App, user: Row, nonce: str | None) -> str:
    first = {"iss": issuer(request.tenant["id"]), "upn": user["user_principal_name"], "ver": "1.0"}
    second = {
        "iss": f"{request.origin}/{request.tenant['id']}/v2.0",
        "preferred_username": user["user_principal_name"],
        "ver": "2.0",
    }
    claims = {
        "aud": app.id,
        "tid": request.tenant["id"],
        "oid": user["id"],
        "sub": user["id"],
        "name": user["display_name"],
        **(first if request.version == "1.0" else second),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    return signing_key_of(cloud).sign({**claims, **_times(cloud)})


def _answer(cloud: Cloud, request: TokenRequest, access_token: str) -> dict[str, Any]:
    seconds = cloud.config.switches.token_lifetime_seconds
    return {
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": access_token,
    }


def _user(cloud: Cloud, tenant_id: str, user_id: str | None) -> Row:
    user = None if user_id is None else cloud.directory.user(tenant_id, user_id)
    if user is None:
        raise errors.bad_code("the user of this code or token is gone")
    return user


def _device_code(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    app = _app(cloud, request, must_authenticate=False)
    ticket = cloud.tickets.find(DEVICE_CODE, request.form.get("device_code") or request.need("code"))
    if ticket is None or ticket.app_id != app.id:
        raise errors.bad_verification_code()
    if ticket.expires <= cloud.wall.now():
        raise errors.expired_device_code()
    if ticket.user_id is None:
        raise errors.authorization_pending()
    cloud.tickets.spend(ticket)
    user, shown = _user(cloud, ticket.tenant_id, ticket.user_id), _second_factor(ticket)
    return delegated(cloud, request, app, user, ticket.scope, second_factor=shown)


def _authorization_code(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    app = _app(cloud, request, must_authenticate=False)
    _end_replayed(cloud, request.need("code"))
    ticket = cloud.tickets.find(AUTHORIZATION_CODE, request.need("code"))
    if ticket is None or ticket.app_id != app.id or ticket.expires <= cloud.wall.now():
        raise errors.bad_code("no such authorization code for this application, or it is too old")
    # A code is worth one attempt, right or wrong.
    cloud.tickets.redeem(ticket)
    facts = ticket.facts or {}
    if facts["redirect_uri"] != request.form.get("redirect_uri"):
        raise errors.bad_code("redirect_uri is not the one of the authorization request")
    if facts["code_challenge"] is not None and _challenge(request.need("code_verifier")) != facts["code_challenge"]:
        raise errors.bad_verifier()
    user = _user(cloud, ticket.tenant_id, ticket.user_id)
    shown = _second_factor(ticket)
    return delegated(cloud, request, app, user, ticket.scope, facts["nonce"], ticket.hash, second_factor=shown)


def _second_factor(ticket: Ticket) -> bool:
    """Return whether the user who stands behind a ticket has shown a second factor."""
    return bool((ticket.facts or {}).get("second_factor"))


def _end_replayed(cloud: Cloud, code: str) -> None:
    """End what was given for a code that comes a second time (RFC 6749, section 4.1.2)."""
    spent = cloud.tickets.find(SPENT_CODE, code)
    if spent is not None:
        token_checks_of(cloud).revoke(*cloud.tickets.revoke_code(spent))
        raise errors.bad_code("the code was redeemed before; the tokens given for it are revoked")


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _refresh_token(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    app = _app(cloud, request, must_authenticate=False)
    ticket = cloud.tickets.find(REFRESH_TOKEN, request.need("refresh_token"))
    if ticket is None or ticket.app_id != app.id or ticket.expires <= cloud.wall.now():
        raise errors.bad_code("no such refresh token for this application, or it is too old")
    user, code = _user(cloud, ticket.tenant_id, ticket.user_id), (ticket.facts or {}).get("code")
    return delegated(cloud, request, app, user, ticket.scope, code_hash=code, second_factor=_second_factor(ticket))


def _on_behalf_of(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    app = _app(cloud, request, must_authenticate=True)
    if request.need("requested_token_use") != "on_behalf_of":
        raise errors.unsupported_grant("jwt-bearer without requested_token_use=on_behalf_of")
    try:
        claims = signing_key_of(cloud).verify(request.need("assertion"), [app.id, f"api://{app.id}"])
    except jwt.InvalidTokenError as error:
        raise errors.bad_user_assertion(f"the assertion is no token for this application ({error})") from None
    if "scp" not in claims:
        raise errors.bad_user_assertion("expected a user's access token, got an id token or an application's token")
    if claims["exp"] <= cloud.wall.now().timestamp():
        raise errors.bad_user_assertion("the assertion has expired")
    user, shown = _user(cloud, claims["tid"], claims.get("oid")), "mfa" in claims.get("amr", ())
    try:
        return delegated(cloud, request, app, user, second_factor=shown)
    except errors.EntraError as error:
        raise errors.as_interaction_required(error) from None


_GRANTS: Final[dict[str, Callable[[Cloud, TokenRequest], dict[str, Any]]]] = {
    "client_credentials": _client_credentials,
    "password": _password,
    "urn:ietf:params:oauth:grant-type:device_code": _device_code,
    "device_code": _device_code,  # the short spelling of msal-node
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    "urn:ietf:params:oauth:grant-type:jwt-bearer": _on_behalf_of,
}
