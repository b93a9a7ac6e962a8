"""/directoryRoles and /organization: who administers the tenant. Source: sources.md#directory-roles."""

import json
from typing import Final
from uuid import UUID, uuid5

from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.collection import ComputedListing, Listing, add_listing, computed
from pfxlab.emulator.graph.directory.directory_objects import computed_objects, referenced, typed
from pfxlab.emulator.graph.directory.users import user_json
from pfxlab.emulator.graph.permissions import ORGANIZATION_READ, ROLE_READ, ROLE_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.store.database import Row

_ROLES: Final = {
    GLOBAL_ADMINISTRATOR: ("Global Administrator", "Can manage all aspects of the tenant."),
    INTUNE_ADMINISTRATOR: ("Intune Administrator", "Can manage all aspects of Intune."),
}
_PAGE: Final = 100


def _role_id(tenant_id: str, template: str) -> str:
    return str(uuid5(UUID(tenant_id), template))


def role_json(request: GraphRequest, template: str) -> Json:
    """Return a directory role, by its template id."""
    name, description = _ROLES[template]
    return {
        "id": _role_id(request.caller.tenant_id, template),
        "deletedDateTime": None,
        "description": description,
        "displayName": name,
        "roleTemplateId": template,
    }


def _roles(request: GraphRequest) -> Listing:
    items = [role_json(request, template) for template in _ROLES]
    return ComputedListing("directoryRoles", "directoryRole", items)


def _template(request: GraphRequest) -> str:
    key = request.keys[0].lower()
    for template in _ROLES:
        if key in (_role_id(request.caller.tenant_id, template), f"roletemplateid='{template}'"):
            return template
    raise errors.directory_not_found(request.keys[0])


def get_role(request: GraphRequest) -> Answer:
    """GET /directoryRoles/{id}, also /directoryRoles(roleTemplateId='…')."""
    entity = {"@odata.context": request.context("directoryRoles/$entity"), **role_json(request, _template(request))}
    return Answer(200, request.query.project(entity))


def _members(request: GraphRequest) -> Listing:
    rows = request.cloud.directory.users_with_role(request.caller.tenant_id, _template(request))
    return computed_objects(request, [typed("user", user_json(row)) for row in rows])


def _set_roles(request: GraphRequest, user: Row, roles: set[str]) -> None:
    request.cloud.directory.change_user(user["id"], directory_roles=sorted(roles))
    request.cloud.journal.record("graph", "directory roles set", user=user["id"], roles=sorted(roles))


def add_member(request: GraphRequest) -> Answer:
    """POST /directoryRoles/{id}/members/$ref: a user's next token carries the role."""
    template, found = _template(request), referenced(request)
    user = request.cloud.directory.user(request.caller.tenant_id, found["id"])
    if user is None:
        raise errors.directory_invalid("members", "expected a user, got another directory object")
    roles = set(json.loads(user["directory_roles"]))
    if template in roles:
        raise errors.already_member()
    _set_roles(request, user, roles | {template})
    return Answer(204)


def remove_member(request: GraphRequest) -> Answer:
    """DELETE /directoryRoles/{id}/members/{id}/$ref."""
    template = _template(request)
    user = request.cloud.directory.user(request.caller.tenant_id, request.keys[1])
    roles = set(json.loads(user["directory_roles"])) if user is not None else set()
    if user is None or template not in roles:
        raise errors.directory_not_found(request.keys[1])
    _set_roles(request, user, roles - {template})
    return Answer(204)


def organization(request: GraphRequest) -> Answer:
    """GET /organization: the caller's tenant."""
    tenant = request.cloud.directory.tenant(request.caller.tenant_id) or {}
    domain = {
        "capabilities": "Email",
        "isDefault": True,
        "isInitial": True,
        "name": tenant["domain"],
        "type": "Managed",
    }
    entity = {
        "id": tenant["id"],
        "deletedDateTime": None,
        "displayName": tenant["display_name"],
        "tenantType": "AAD",
        "verifiedDomains": [domain],
    }
    return computed(request, "organization", [entity], "organization", _PAGE, directory=True)


def add_routes(router: Router) -> None:
    """Register roles and the tenant."""
    one = "directoryRoles/{}"
    router.add("GET", "organization", Route(organization, ORGANIZATION_READ))
    add_listing(router, "directoryRoles", ROLE_READ, _roles, "directoryRole")
    router.add("GET", one, Route(get_role, ROLE_READ))
    add_listing(router, f"{one}/members", ROLE_READ, _members)
    router.add("POST", f"{one}/members/$ref", Route(add_member, ROLE_WRITE))
    router.add("DELETE", f"{one}/members/{{}}/$ref", Route(remove_member, ROLE_WRITE))
