"""/groups. Source: sources.md#groups."""

import json
from typing import Any, Final
from uuid import UUID

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import Collection, Listing, StoredListing, add_listing
from pfxlab.emulator.graph.directory.expansions import expanded
from pfxlab.emulator.graph.directory.visibility import visible
from pfxlab.emulator.graph.permissions import GROUP_ALL, GROUP_READ
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import profiles_changed
from pfxlab.emulator.store.database import Row, from_text, to_text
from pfxlab.emulator.store.lists.columns import constant
from pfxlab.emulator.store.lists.views import GROUPS as VIEW
from pfxlab.emulator.wire.edm import format_date_time

GROUP_FIELDS: Final = {
    "id": VIEW["id"],
    "displayName": VIEW["display_name"],
    "createdDateTime": VIEW["created"],
    "description": VIEW["description"],
    "mailNickname": VIEW["mail_nickname"],
    "mailEnabled": constant(0, "boolean"),
    "securityEnabled": constant(1, "boolean"),
    "groupTypes": constant("[]", "strings"),
}
_KEPT: Final = ("description", "mailNickname", "visibility")


def security_identifier(group_id: str) -> str:
    """Return the SID that Entra ID derives from an object id: S-1-12-1 and its four little-endian words."""
    raw = UUID(group_id).bytes_le
    return "S-1-12-1-" + "-".join(str(int.from_bytes(raw[i : i + 4], "little")) for i in range(0, 16, 4))


def group_json(row: Row) -> Json:
    """Return a security group."""
    held = json.loads(row["properties"])
    return {
        "id": row["id"],
        "createdDateTime": format_date_time(from_text(row["created"])),
        "displayName": row["display_name"],
        "description": held.get("description"),
        "groupTypes": [],
        "mailEnabled": False,
        "mailNickname": held.get("mailNickname", row["display_name"].replace(" ", "")),
        "membershipRule": None,
        "securityEnabled": True,
        "securityIdentifier": security_identifier(row["id"]),
        "visibility": held.get("visibility"),
    }


_SEARCHED: Final = ("displayName", "description")


def _shown(request: GraphRequest, item: Json) -> Json:
    return expanded(request, "group", visible(request, "group", item))


GROUPS: Final = StoredListing(
    "group",
    Collection("groups", VIEW, GROUP_FIELDS, "group", group_json, counts=False, searched=_SEARCHED),
    _shown,
)


def _groups(_: GraphRequest) -> Listing:
    return GROUPS


def find_group(request: GraphRequest) -> Row:
    """Return the group a path names.

    Raises:
        GraphError: there is none in the caller's tenant.

    """
    row = request.cloud.directory.group(request.caller.tenant_id, request.keys[0])
    if row is None:
        raise errors.directory_not_found(request.keys[0])
    return row


def get_group(request: GraphRequest) -> Answer:
    """GET /groups/{id}."""
    shown = _shown(request, group_json(find_group(request)))
    return Answer(200, request.query.project({"@odata.context": request.context("groups/$entity"), **shown}))


def create_group(request: GraphRequest) -> Answer:
    """POST /groups: a security group, with the members its body binds."""
    cloud, body = request.cloud, read_json(request)
    check("group", "group", body, None)
    if body["mailEnabled"] or not body["securityEnabled"] or body.get("groupTypes"):
        reason = "expected a security group with assigned members, got another kind"
        raise errors.directory_invalid("groupTypes", reason)
    group_id, now = cloud.chance.guid(), to_text(cloud.clock.now())
    members = [_member_id(request, reference) for reference in body.get("members@odata.bind") or ()]
    properties = {name: body[name] for name in _KEPT if body.get(name) is not None}
    with cloud.store.atomic():
        cloud.directory.add_group(group_id, request.caller.tenant_id, body["displayName"], now, properties)
        for member in members:
            cloud.directory.add_member(group_id, member)
        cloud.journal.record("graph", "group created", group=group_id, members=len(members))
    row = cloud.directory.group(request.caller.tenant_id, group_id) or {}
    entity = {"@odata.context": request.context("groups/$entity"), **group_json(row)}
    return Answer(201, entity, {"Location": f"{request.root}/groups('{group_id}')"})


def _member_id(request: GraphRequest, reference: str) -> str:
    name = reference.rstrip("/").rpartition("/")[2]
    user = request.cloud.directory.user(request.caller.tenant_id, name)
    if user is None:
        raise errors.directory_not_found(name)
    return str(user["id"])


def update_group(request: GraphRequest) -> Answer:
    """PATCH /groups/{id}."""
    cloud, body, group = request.cloud, read_json(request), find_group(request)
    check("group", "group", body, None, partial=True)
    held: dict[str, Any] = json.loads(group["properties"]) | {name: body[name] for name in _KEPT if name in body}
    name = str(body.get("displayName", group["display_name"]))
    cloud.directory.add_group(group["id"], request.caller.tenant_id, name, str(group["created"]), held)
    cloud.journal.record("graph", "group changed", group=group["id"])
    return Answer(204)


def delete_group(request: GraphRequest) -> Answer:
    """DELETE /groups/{id}: profiles assigned to it reach nobody through it any more."""
    cloud, group = request.cloud, find_group(request)
    with cloud.store.atomic():
        cloud.directory.remove_group(group["id"])
        cloud.journal.record("graph", "group deleted", group=group["id"])
        profiles_changed(cloud, request.caller.tenant_id)
    return Answer(204)


def add_routes(router: Router) -> None:
    """Register groups; their members are in group_members."""
    one = "groups/{}"
    add_listing(router, "groups", GROUP_READ, _groups, "group")
    router.add("POST", "groups", Route(create_group, GROUP_ALL))
    router.add("GET", one, Route(get_group, GROUP_READ))
    router.add("PATCH", one, Route(update_group, GROUP_ALL))
    router.add("DELETE", one, Route(delete_group, GROUP_ALL))
