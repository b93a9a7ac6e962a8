"""/applications: registrations with their secrets and certificates, changed while the lab runs.

Source: sources.md#applications. Import tools that set themselves up use it (sources.md#pfximport-3). A secret's text is
in the answer of addPassword and nowhere else: the store keeps its hash.
"""

import base64
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.emulator.entra.grants import GRAPH_APP_ID
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import ComputedListing, Listing, add_listing
from pfxlab.emulator.graph.directory.graph_permissions import BY_ROLE, BY_SCOPE, PERMISSIONS
from pfxlab.emulator.graph.permissions import APPLICATION_READ, APPLICATION_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.secret_words import secret_word
from pfxlab.emulator.store.database import from_text, to_text
from pfxlab.emulator.store.directory import App, AppPassword, hash_secret
from pfxlab.emulator.wire.edm import format_binary, format_date_time, parse_binary, parse_date_time
from pfxlab.emulator.wire.ids import application_object_id
from pfxlab.emulator.wire.text import quoted

_SHOWN: Final[Json] = {
    "api": {
        "acceptMappedClaims": None,
        "knownClientApplications": [],
        "oauth2PermissionScopes": [],
        "preAuthorizedApplications": [],
        "requestedAccessTokenVersion": None,
    },
    "appRoles": [],
    "defaultRedirectUri": None,
    "description": None,
    "groupMembershipClaims": None,
    "identifierUris": [],
    "notes": None,
    "optionalClaims": None,
    "publicClient": {"redirectUris": []},
    "serviceManagementReference": None,
    "signInAudience": "AzureADMyOrg",
    "spa": {"redirectUris": []},
    "tags": [],
    "web": {"redirectUris": []},
}
"""Properties that are kept as they come → what they show before anybody sets them."""

_ACCESS: Final = "requiredResourceAccess"
_SECRET_DAYS: Final = 730


def _password_json(password: AppPassword) -> Json:
    return {
        "customKeyIdentifier": None,
        "displayName": password.display_name,
        "endDateTime": format_date_time(from_text(password.end)),
        "hint": password.hint,
        "keyId": password.key_id,
        "secretText": None,
        "startDateTime": format_date_time(from_text(password.start)),
    }


def _key_json(pem: str) -> Json:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    digest = certificate.fingerprint(hashes.SHA1())  # noqa: S303 - the identifier's definition
    return {
        "customKeyIdentifier": format_binary(digest),
        "displayName": certificate.subject.rfc4514_string(),
        "endDateTime": format_date_time(certificate.not_valid_after_utc),
        "key": None,
        "keyId": application_object_id(digest.hex()),
        "startDateTime": format_date_time(certificate.not_valid_before_utc),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    }


def _access_json(app: App) -> list[Json]:
    wanted = [{"id": PERMISSIONS[name].role, "type": "Role"} for name in app.requested_app_roles if name in PERMISSIONS]
    wanted += [{"id": PERMISSIONS[name].scope, "type": "Scope"} for name in app.requested_scopes if name in PERMISSIONS]
    return [{"resourceAppId": GRAPH_APP_ID, "resourceAccess": wanted}] if wanted else []


def application_json(request: GraphRequest, app: App) -> Json:
    """Return an application registration; of its secrets only the hints."""
    held = app.properties
    return {
        "id": application_object_id(app.id),
        "deletedDateTime": None,
        "appId": app.id,
        "createdDateTime": format_date_time(from_text(app.created)),
        "displayName": app.display_name,
        "isFallbackPublicClient": app.is_public,
        **{name: held.get(name, value) for name, value in _SHOWN.items()},
        _ACCESS: held.get(_ACCESS, _access_json(app)),
        "passwordCredentials": [_password_json(p) for p in request.cloud.directory.passwords(app.id)],
        "keyCredentials": [_key_json(pem) for pem in app.certificates],
    }


def _applications(request: GraphRequest) -> Listing:
    items = [application_json(request, app) for app in request.cloud.directory.apps(request.caller.tenant_id)]
    return ComputedListing("applications", "application", items)


def _find(request: GraphRequest) -> App:
    key = request.keys[0].lower()
    for app in request.cloud.directory.apps(request.caller.tenant_id):
        if key in (application_object_id(app.id), f"appid='{app.id}'"):
            return app
    raise errors.directory_not_found(request.keys[0])


def _one(request: GraphRequest, app: App) -> Json:
    return {"@odata.context": request.context("applications/$entity"), **application_json(request, app)}


def get_application(request: GraphRequest) -> Answer:
    """GET /applications/{id}, also /applications(appId='…')."""
    return Answer(200, request.query.project(_one(request, _find(request))))


def _requested(body: dict[str, Any]) -> dict[str, list[str]]:
    """Return the permissions a body asks for, by name, of those that the lab's Graph knows; others mean nothing here.

    Raises:
        GraphError: an id that is no GUID.

    """
    roles: list[str] = []
    scopes: list[str] = []
    for resource in body.get(_ACCESS) or ():
        _check_guid(resource["resourceAppId"])
        for access in resource.get("resourceAccess", ()):
            _check_guid(access["id"])
            table, names = (BY_ROLE, roles) if access["type"] == "Role" else (BY_SCOPE, scopes)
            name = table.get(access["id"].lower()) if resource["resourceAppId"].lower() == GRAPH_APP_ID else None
            if name is not None:
                names.append(name)
    return {"requested_app_roles": sorted(set(roles)), "requested_scopes": sorted(set(scopes))}


def _check_guid(text: str) -> None:
    try:
        UUID(text)
    except ValueError:
        raise errors.directory_invalid(_ACCESS, f"expected a GUID, got {quoted(text)}") from None


def _kept(body: dict[str, Any]) -> Json:
    return {name: body[name] for name in (*_SHOWN, _ACCESS) if name in body}


def _certificates(body: dict[str, Any], present: tuple[str, ...] = ()) -> list[str]:
    """Return the certificates of keyCredentials as PEM; an entry read back without its key keeps what it names.

    Raises:
        GraphError: a key that is no certificate, or an entry that names none of those present.

    """
    pems = []
    known = {_key_json(pem)["keyId"]: pem for pem in present}
    for credential in body.get("keyCredentials") or ():
        if credential.get("key") is None:
            pem = known.get(credential.get("keyId"))
            if pem is None:
                raise errors.directory_invalid("keyCredentials", "expected a key, or the keyId of one already there")
            pems.append(pem)
            continue
        raw = parse_binary(credential["key"])
        # Tools send DER, some of them the base64 of DER once more.
        for data in (raw, _unwrapped(raw)):
            try:
                pems.append(x509.load_der_x509_certificate(data).public_bytes(Encoding.PEM).decode())
                break
            except ValueError:
                continue
        else:
            raise errors.directory_invalid("keyCredentials", "expected the base64 of a DER certificate as key")
    return pems


def _unwrapped(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        return b""


def create_application(request: GraphRequest) -> Answer:
    """POST /applications: registered, not yet present as a service principal, without any permission."""
    cloud, body = request.cloud, read_json(request)
    check("application", "application", body, None)
    app_id = cloud.chance.guid()
    requested, pems = _requested(body), _certificates(body)
    with cloud.store.atomic():
        cloud.directory.add_app(
            app_id,
            request.caller.tenant_id,
            body["displayName"],
            certificates=pems,
            is_public=bool(body.get("isFallbackPublicClient")),
            requested_app_roles=requested["requested_app_roles"],
            requested_scopes=requested["requested_scopes"],
        )
        kept = {name: value for name, value in _kept(body).items() if value is not None}
        cloud.directory.change_app(app_id, properties=kept, has_principal=False, created=to_text(cloud.clock.now()))
        cloud.journal.record("graph", "application registered", client=app_id, name=body["displayName"])
    app = cloud.directory.app(app_id)
    location = f"{request.root}/applications/{application_object_id(app_id)}"
    return Answer(201, None if app is None else _one(request, app), {"Location": location})


def update_application(request: GraphRequest) -> Answer:
    """PATCH /applications/{id}: what the body names; a list of certificates replaces the one before."""
    cloud, body, app = request.cloud, read_json(request), _find(request)
    check("application", "application", body, None, partial=True)
    changes: dict[str, Any] = {"display_name": body.get("displayName", app.display_name)}
    if "requiredResourceAccess" in body:
        changes |= _requested(body)
    if "keyCredentials" in body:
        changes["certificates"] = _certificates(body, app.certificates)
    if body.get("isFallbackPublicClient") is not None:
        changes["is_public"] = body["isFallbackPublicClient"]
    kept = app.properties | _kept(body)
    changes["properties"] = {name: value for name, value in kept.items() if value is not None}
    cloud.directory.change_app(app.id, **changes)
    cloud.journal.record(
        "graph", "application changed", client=app.id, properties=sorted(n for n in body if "@" not in n)
    )
    return Answer(204)


def delete_application(request: GraphRequest) -> Answer:
    """DELETE /applications/{id}: nobody signs in with it any more; tokens already given stay valid to their end."""
    cloud, app = request.cloud, _find(request)
    cloud.directory.remove_app(app.id)
    cloud.journal.record("graph", "application deleted", client=app.id)
    return Answer(204)


def add_password(request: GraphRequest) -> Answer:
    """POST …/addPassword: a new client secret, shown this once."""
    cloud, app = request.cloud, _find(request)
    body = read_json(request) if request.body else {}
    check("addPassword", "application", body, None)
    wanted = body.get("passwordCredential") or {}
    now = cloud.clock.now()
    start = parse_date_time(wanted["startDateTime"]) if wanted.get("startDateTime") else now
    end = parse_date_time(wanted["endDateTime"]) if wanted.get("endDateTime") else now + timedelta(days=_SECRET_DAYS)
    if end <= start:
        raise errors.directory_invalid("endDateTime", "expected an end after the start")
    secret = secret_word(30)
    made = AppPassword(
        cloud.chance.guid(),
        app.id,
        hash_secret(secret),
        secret[:3],
        wanted.get("displayName"),
        to_text(start),
        to_text(end),
    )
    cloud.directory.add_password(made)
    cloud.journal.record("graph", "client secret added", client=app.id, key=made.key_id)
    context = request.context("microsoft.graph.passwordCredential")
    return Answer(200, {"@odata.context": context, **_password_json(made), "secretText": secret})


def remove_password(request: GraphRequest) -> Answer:
    """POST …/removePassword {"keyId": …}."""
    cloud, app, body = request.cloud, _find(request), read_json(request)
    check("removePassword", "application", body, None)
    if not cloud.directory.remove_password(app.id, body["keyId"]):
        raise errors.directory_invalid("keyId", f"no client secret of the application has the id {body['keyId']}")
    cloud.journal.record("graph", "client secret removed", client=app.id, key=body["keyId"])
    return Answer(204)


def add_routes(router: Router) -> None:
    """Register applications."""
    one = "applications/{}"
    add_listing(router, "applications", APPLICATION_READ, _applications, "application")
    router.add("POST", "applications", Route(create_application, APPLICATION_WRITE))
    router.add("GET", one, Route(get_application, APPLICATION_READ))
    router.add("PATCH", one, Route(update_application, APPLICATION_WRITE))
    router.add("DELETE", one, Route(delete_application, APPLICATION_WRITE))
    router.add("POST", f"{one}/addPassword", Route(add_password, APPLICATION_WRITE))
    router.add("POST", f"{one}/removePassword", Route(remove_password, APPLICATION_WRITE))
