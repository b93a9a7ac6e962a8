"""/servicePrincipals, their role assignments, and delegated grants: what applications are allowed, changed live.

Source: sources.md#service-principals. Graph itself is one of them and lists its permissions, as set-up commands of
import tools read them (sources.md#pfximport-3).
"""

from typing import Final
from uuid import UUID, uuid5

from pfxlab.emulator.entra.grants import GRAPH_APP_ID
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import ComputedListing, Listing, add_listing, computed
from pfxlab.emulator.graph.directory.graph_permissions import BY_ROLE, PERMISSIONS
from pfxlab.emulator.graph.permissions import (
    APPLICATION_READ,
    APPLICATION_WRITE,
    GRANT_READ,
    GRANT_WRITE,
    ROLE_ASSIGNMENT_WRITE,
)
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.store.database import from_text
from pfxlab.emulator.store.directory import App
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.ids import service_principal_id

GRAPH_PRINCIPAL: Final = service_principal_id(GRAPH_APP_ID)
_MICROSOFT: Final = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
_PAGE: Final = 100


def _app_role(name: str, role_id: str) -> Json:
    return {
        "allowedMemberTypes": ["Application"],
        "description": name,
        "displayName": name,
        "id": role_id,
        "isEnabled": True,
        "origin": "Application",
        "value": name,
    }


def _scope(name: str, scope_id: str) -> Json:
    return {
        "adminConsentDescription": name,
        "adminConsentDisplayName": name,
        "id": scope_id,
        "isEnabled": True,
        "type": "User" if name == "User.Read" else "Admin",
        "userConsentDescription": None,
        "userConsentDisplayName": None,
        "value": name,
    }


def _scopes(scopes: list[Json]) -> Json:
    """Return the permissions that users consent to, under the name of v1.0 and that of beta."""
    return {"oauth2PermissionScopes": scopes, "publishedPermissionScopes": scopes}


def _graph_json() -> Json:
    return {
        "id": GRAPH_PRINCIPAL,
        "deletedDateTime": None,
        "accountEnabled": True,
        "appDisplayName": "Microsoft Graph",
        "appId": GRAPH_APP_ID,
        "appOwnerOrganizationId": _MICROSOFT,
        "displayName": "Microsoft Graph",
        "servicePrincipalType": "Application",
        "appRoles": [_app_role(name, ids.role) for name, ids in PERMISSIONS.items() if ids.role is not None],
        **_scopes([_scope(name, ids.scope) for name, ids in PERMISSIONS.items() if ids.scope is not None]),
    }


def _principal_json(app: App) -> Json:
    return {
        "id": service_principal_id(app.id),
        "deletedDateTime": None,
        "accountEnabled": True,
        "appDisplayName": app.display_name,
        "appId": app.id,
        "appOwnerOrganizationId": app.tenant_id,
        "displayName": app.display_name,
        "servicePrincipalType": "Application",
        "appRoles": app.properties.get("appRoles", []),
        **_scopes([]),
    }


def _apps(request: GraphRequest) -> list[App]:
    return [app for app in request.cloud.directory.apps(request.caller.tenant_id) if app.has_principal]


def _principals(request: GraphRequest) -> Listing:
    """Return Graph's own principal, then those of the tenant's applications."""
    items = [_graph_json(), *(_principal_json(app) for app in _apps(request))]
    return ComputedListing("servicePrincipals", "servicePrincipal", items)


def _app_of(request: GraphRequest, key: str) -> App:
    for app in _apps(request):
        if key.lower() in (service_principal_id(app.id), f"appid='{app.id}'"):
            return app
    raise errors.directory_not_found(key)


def _is_graph(key: str) -> bool:
    return key.lower() in (GRAPH_PRINCIPAL, f"appid='{GRAPH_APP_ID}'")


def get_principal(request: GraphRequest) -> Answer:
    """GET /servicePrincipals/{id}, also /servicePrincipals(appId='…')."""
    key = request.keys[0]
    shown = _graph_json() if _is_graph(key) else _principal_json(_app_of(request, key))
    entity = {"@odata.context": request.context("servicePrincipals/$entity"), **shown}
    return Answer(200, request.query.project(entity))


def create_principal(request: GraphRequest) -> Answer:
    """POST /servicePrincipals {"appId": …}: the application may now sign in."""
    cloud, body = request.cloud, read_json(request)
    check("servicePrincipal", "servicePrincipal", body, None)
    app = cloud.directory.app(body["appId"])
    if app is None or app.tenant_id != request.caller.tenant_id:
        raise errors.directory_invalid("appId", f"expected an application of this tenant, got {body['appId'][:60]!r}")
    if app.has_principal:
        raise errors.directory_conflict(f"the application {app.id} has its service principal already")
    cloud.directory.change_app(app.id, has_principal=True)
    cloud.journal.record("graph", "service principal created", client=app.id)
    entity = {"@odata.context": request.context("servicePrincipals/$entity"), **_principal_json(app)}
    return Answer(201, entity, {"Location": f"{request.root}/servicePrincipals/{entity['id']}"})


def delete_principal(request: GraphRequest) -> Answer:
    """DELETE /servicePrincipals/{id}: the application cannot sign in any more, and what it was granted is gone."""
    cloud, app = request.cloud, _app_of(request, request.keys[0])
    cloud.directory.change_app(app.id, has_principal=False, app_roles=[], delegated_scopes=[])
    cloud.journal.record("graph", "service principal deleted", client=app.id)
    return Answer(204)


def _assignment_json(app: App, role: str) -> Json:
    principal = service_principal_id(app.id)
    role_id = PERMISSIONS[role].role or ""
    return {
        "id": str(uuid5(UUID(principal), role_id)),
        "deletedDateTime": None,
        "appRoleId": role_id,
        # The one in v1.0, the other in beta.
        "createdDateTime": format_date_time(from_text(app.created)),
        "creationTimestamp": format_date_time(from_text(app.created)),
        "principalDisplayName": app.display_name,
        "principalId": principal,
        "principalType": "ServicePrincipal",
        "resourceDisplayName": "Microsoft Graph",
        "resourceId": GRAPH_PRINCIPAL,
    }


def _assignments(app: App) -> list[Json]:
    return [_assignment_json(app, role) for role in app.app_roles if role in PERMISSIONS]


def list_assignments(request: GraphRequest) -> Answer:
    """GET /servicePrincipals/{id}/appRoleAssignments: what the application may do by itself."""
    key = request.keys[0]
    app = None if _is_graph(key) else _app_of(request, key)
    items = [] if app is None else _assignments(app)
    own = GRAPH_PRINCIPAL if app is None else service_principal_id(app.id)
    return computed(
        request, f"servicePrincipals('{own}')/appRoleAssignments", items, "appRoleAssignment", _PAGE, directory=True
    )


def list_assigned_to(request: GraphRequest) -> Answer:
    """GET /servicePrincipals/{Graph}/appRoleAssignedTo: who may do what on Graph."""
    key = request.keys[0]
    own = GRAPH_PRINCIPAL if _is_graph(key) else service_principal_id(_app_of(request, key).id)
    items = [item for app in _apps(request) for item in _assignments(app)] if _is_graph(key) else []
    return computed(
        request, f"servicePrincipals('{own}')/appRoleAssignedTo", items, "appRoleAssignment", _PAGE, directory=True
    )


def assign_role(request: GraphRequest) -> Answer:
    """POST …/appRoleAssignments or …/appRoleAssignedTo: an application permission of Graph; new tokens carry it."""
    cloud, body = request.cloud, read_json(request)
    check("appRoleAssignment", "appRoleAssignment", body, None)
    app = _app_of(request, body["principalId"])
    _check_place(request, app)
    role = BY_ROLE.get(body["appRoleId"].lower())
    if role is None or body["resourceId"].lower() != GRAPH_PRINCIPAL:
        reason = "expected an application role of Microsoft Graph's service principal"
        raise errors.directory_invalid("appRoleId", reason)
    if role in app.app_roles:
        raise errors.directory_taken("Permission being assigned already exists on the object")
    cloud.directory.change_app(app.id, app_roles=sorted({*app.app_roles, role}))
    cloud.journal.record("graph", "application permission granted", client=app.id, permission=role)
    fragment = f"servicePrincipals('{request.keys[0]}')/appRoleAssignments/$entity"
    return Answer(201, {"@odata.context": request.context(fragment), **_assignment_json(app, role)})


def _check_place(request: GraphRequest, app: App) -> None:
    """Let a grant pass that is made below its own principal, or below Graph, which it is assigned to."""
    key, to_graph = request.keys[0], request.path.lower().endswith("approleassignedto")
    if not _is_graph(key) and (to_graph or _app_of(request, key).id != app.id):
        raise errors.directory_invalid("principalId", "expected the service principal of the path")


def unassign_role(request: GraphRequest) -> Answer:
    """DELETE …/appRoleAssignments/{id}."""
    cloud, wanted = request.cloud, request.keys[1].lower()
    apps = _apps(request) if _is_graph(request.keys[0]) else [_app_of(request, request.keys[0])]
    for app in apps:
        for role in app.app_roles:
            if role in PERMISSIONS and _assignment_json(app, role)["id"] == wanted:
                cloud.directory.change_app(app.id, app_roles=[name for name in app.app_roles if name != role])
                cloud.journal.record("graph", "application permission taken back", client=app.id, permission=role)
                return Answer(204)
    raise errors.directory_not_found(request.keys[1])


def _grant_json(app: App) -> Json:
    principal = service_principal_id(app.id)
    return {
        "clientId": principal,
        "consentType": "AllPrincipals",
        "id": str(uuid5(UUID(principal), "oauth2PermissionGrant")),
        "principalId": None,
        "resourceId": GRAPH_PRINCIPAL,
        "scope": " ".join(app.delegated_scopes),
    }


def _granted(request: GraphRequest) -> dict[str, App]:
    return {str(_grant_json(app)["id"]): app for app in _apps(request) if app.delegated_scopes}


def list_grants(request: GraphRequest) -> Answer:
    """GET /oauth2PermissionGrants: what applications may do for their users."""
    items = [_grant_json(app) for app in _granted(request).values()]
    return computed(request, "oauth2PermissionGrants", items, "oAuth2PermissionGrant", _PAGE, directory=True)


def _grant_of(request: GraphRequest) -> App:
    app = _granted(request).get(request.keys[0].lower())
    if app is None:
        raise errors.directory_not_found(request.keys[0])
    return app


def get_grant(request: GraphRequest) -> Answer:
    """GET /oauth2PermissionGrants/{id}."""
    entity = {"@odata.context": request.context("oauth2PermissionGrants/$entity"), **_grant_json(_grant_of(request))}
    return Answer(200, request.query.project(entity))


def _set_scopes(request: GraphRequest, app: App, text: str) -> App:
    scopes = sorted(set(text.split()))
    request.cloud.directory.change_app(app.id, delegated_scopes=scopes)
    request.cloud.journal.record("graph", "delegated permissions set", client=app.id, scopes=scopes)
    return request.cloud.directory.app(app.id) or app


def create_grant(request: GraphRequest) -> Answer:
    """POST /oauth2PermissionGrants: consent for all users; the lab knows no consent of single users."""
    body = read_json(request)
    check("oAuth2PermissionGrant", "oAuth2PermissionGrant", body, None)
    app = _app_of(request, body["clientId"])
    if body["resourceId"].lower() != GRAPH_PRINCIPAL:
        raise errors.directory_invalid("resourceId", "expected Microsoft Graph's service principal")
    if app.delegated_scopes:
        raise errors.directory_conflict("the application has its grant already, PATCH changes it")
    if not body["scope"].split():
        raise errors.directory_invalid("scope", "expected names of permissions, got none")
    entity = _grant_json(_set_scopes(request, app, body["scope"]))
    return Answer(201, {"@odata.context": request.context("oauth2PermissionGrants/$entity"), **entity})


def update_grant(request: GraphRequest) -> Answer:
    """PATCH /oauth2PermissionGrants/{id} {"scope": …}."""
    body, app = read_json(request), _grant_of(request)
    check("oAuth2PermissionGrant", "oAuth2PermissionGrant", body, None, partial=True)
    scope = body.get("scope", " ".join(app.delegated_scopes))
    if not scope.split():
        raise errors.directory_invalid("scope", "expected names of permissions, got none; DELETE takes them all back")
    _set_scopes(request, app, scope)
    return Answer(204)


def delete_grant(request: GraphRequest) -> Answer:
    """DELETE /oauth2PermissionGrants/{id}."""
    _set_scopes(request, _grant_of(request), "")
    return Answer(204)


def add_routes(router: Router) -> None:
    """Register service principals and what they are granted."""
    one, grant = "servicePrincipals/{}", "oauth2PermissionGrants/{}"
    add_listing(router, "servicePrincipals", APPLICATION_READ, _principals, "servicePrincipal")
    router.add("POST", "servicePrincipals", Route(create_principal, APPLICATION_WRITE))
    router.add("GET", one, Route(get_principal, APPLICATION_READ))
    router.add("DELETE", one, Route(delete_principal, APPLICATION_WRITE))
    router.add("GET", f"{one}/appRoleAssignments", Route(list_assignments, APPLICATION_READ))
    router.add("GET", f"{one}/appRoleAssignedTo", Route(list_assigned_to, APPLICATION_READ))
    for name in ("appRoleAssignments", "appRoleAssignedTo"):
        router.add("POST", f"{one}/{name}", Route(assign_role, ROLE_ASSIGNMENT_WRITE))
        router.add("DELETE", f"{one}/{name}/{{}}", Route(unassign_role, ROLE_ASSIGNMENT_WRITE))
    router.add("GET", "oauth2PermissionGrants", Route(list_grants, GRANT_READ))
    router.add("POST", "oauth2PermissionGrants", Route(create_grant, GRANT_WRITE))
    router.add("GET", grant, Route(get_grant, GRANT_READ))
    router.add("PATCH", grant, Route(update_grant, GRANT_WRITE))
    router.add("DELETE", grant, Route(delete_grant, GRANT_WRITE))
