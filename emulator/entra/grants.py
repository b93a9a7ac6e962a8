"""Token grants: what a token request gets, decided from the directory. No HTTP here.

Sources: reference auth-clients 3; claims as in Graph access tokens (application: `roles`, delegated: `scp`).
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from emulator.cloud import Cloud
from emulator.entra import errors
from emulator.store.database import Row
from emulator.store.directory import App, secret_matches

GRAPH_APP_ID: Final = "00000003-0000-0000-c000-000000000000"
GRAPH_RESOURCE: Final = "https://graph.microsoft.com"
INTUNE_ADMINISTRATOR: Final = "3a2c62db-5318-420d-8d74-23affee5d9d5"
GLOBAL_ADMINISTRATOR: Final = "62e90394-69f5-4237-9190-012177145e10"
_SIGN_IN_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})


@dataclass(frozen=True)
class TokenRequest:
    """A token request: the tenant asked for, the form's fields, this server's own origin (`https://host:port`)."""

    tenant: Row
    form: Mapping[str, str]
    origin: str

    def need(self, name: str) -> str:
        """Return a field of the form.

        Raises:
            EntraError: it is missing or empty.

        """
        value = self.form.get(name, "")
        if not value:
            raise errors.missing_parameter(name)
        return value


def audiences(origin: str) -> list[str]:
    """Return every audience under which this Graph accepts tokens."""
    host, _, _port = origin.removeprefix("https://").partition(":")
    return [GRAPH_RESOURCE, GRAPH_APP_ID, origin, f"https://{host}"]


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
    app = cloud.directory.app(client_id)
    if app is None or app.tenant_id != request.tenant["id"]:
        raise errors.unknown_application(client_id, request.tenant["domain"])
    secret = request.form.get("client_secret")
    if secret is None and not must_authenticate:
        return app
    if secret is None:
        raise errors.missing_secret()
    if not secret_matches(secret, app.secret_hash):
        raise errors.wrong_secret(client_id)
    return app


def _resource_scopes(scope: str, origin: str) -> list[str]:
    """Return the scopes of a request without those of sign-in, Graph's prefix taken off."""
    known = sorted(audiences(origin), key=len, reverse=True)
    names = []
    for part in scope.split():
        if part in _SIGN_IN_SCOPES:
            continue
        resource, slash, name = part.rpartition("/")
        if slash and resource not in known:
            raise errors.unknown_resource(resource)
        names.append(name)
    return names


def _client_credentials(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    app = _app(cloud, request, must_authenticate=True)
    scope = request.need("scope")
    if _resource_scopes(scope, request.origin) != [".default"]:
        raise errors.invalid_scope(scope)
    claims = {"idtyp": "app", "oid": app.id, "sub": app.id, "roles": list(app.app_roles), "wids": []}
    return _answer(cloud, request, _access_token(cloud, request, app, claims))


def _password(cloud: Cloud, request: TokenRequest) -> dict[str, Any]:
    app = _app(cloud, request, must_authenticate=False)
    upn, password = request.need("username"), request.need("password")
    user = cloud.directory.user(request.tenant["id"], upn)
    if user is None or not secret_matches(password, user["password_hash"]):
        raise errors.wrong_password(upn)
    return delegated(cloud, request, app, user)


def delegated(cloud: Cloud, request: TokenRequest, app: App, user: Row) -> dict[str, Any]:
    """Return the answer for a signed-in user: access token, id token, client_info."""
    asked = _resource_scopes(request.need("scope"), request.origin)
    granted = app.delegated_scopes if ".default" in asked else [s for s in app.delegated_scopes if s in asked]
    claims = {
        "idtyp": "user",
        "oid": user["id"],
        "sub": user["id"],
        "scp": " ".join(granted),
        "upn": user["user_principal_name"],
        "unique_name": user["user_principal_name"],
        "name": user["display_name"],
        "wids": json.loads(user["directory_roles"]),
    }
    body = _answer(cloud, request, _access_token(cloud, request, app, claims))
    body["scope"] = " ".join(granted)
    if "openid" in request.form.get("scope", "").split():
        body["id_token"] = _id_token(cloud, request, app, user)
    info = json.dumps({"uid": user["id"], "utid": request.tenant["id"]}).encode()
    body["client_info"] = base64.urlsafe_b64encode(info).rstrip(b"=").decode("ascii")
    return body


def _times(cloud: Cloud) -> dict[str, int]:
    now = int(cloud.clock.now().timestamp())
    return {"iat": now, "nbf": now, "exp": now + cloud.config.switches.token_lifetime_seconds}


def _access_token(cloud: Cloud, request: TokenRequest, app: App, claims: dict[str, Any]) -> str:
    tenant_id = request.tenant["id"]
    common = {
        "aud": GRAPH_RESOURCE,
        "iss": f"https://sts.windows.net/{tenant_id}/",
        "tid": tenant_id,
        "appid": app.id,
        "azp": app.id,
        "app_displayname": app.display_name,
        "appidacr": "0" if app.is_public else "1",
        "uti": cloud.chance.guid(),
        "ver": "1.0",
    }
    return cloud.signing_key.sign({**common, **_times(cloud), **claims})


def _id_token(cloud: Cloud, request: TokenRequest, app: App, user: Row) -> str:
    claims = {
        "aud": app.id,
        "iss": f"{request.origin}/{request.tenant['id']}/v2.0",
        "tid": request.tenant["id"],
        "oid": user["id"],
        "sub": user["id"],
        "name": user["display_name"],
        "preferred_username": user["user_principal_name"],
        "ver": "2.0",
    }
    return cloud.signing_key.sign({**claims, **_times(cloud)})


def _answer(cloud: Cloud, request: TokenRequest, access_token: str) -> dict[str, Any]:
    seconds = cloud.config.switches.token_lifetime_seconds
    return {
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": access_token,
    }


_GRANTS: Final[dict[str, Callable[[Cloud, TokenRequest], dict[str, Any]]]] = {
    "client_credentials": _client_credentials,
    "password": _password,
}
