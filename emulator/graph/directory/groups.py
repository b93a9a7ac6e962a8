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
from pfxlab.emulator.store.lists.views import DIRECTORY_OBJECTS
from pfxlab.emulator.store.lists.views import GROUPS as VIEW
from pfxlab.emulator.wire.edm import format_date_time

GROUP_FIELDS: Final = {
    "id": VIEW["id"],
    "displayName": VIEW["display_name"],
    "createdDateTime": VIEW["created"],
    "description": VIEW["description"],
    "mailNickname": VIEW["mail_nickname"],
    "mail": VIEW["mail"],
    "mailEnabled": VIEW["mail_enabled"],
    "securityEnabled": VIEW["security_enabled"],
    "groupTypes": VIEW["group_types"],
    "visibility": VIEW["visibility"],
    "membershipRule": VIEW["membership_rule"],
}
_KEPT: Final = (
    "description", "mailNickname", "visibility", "mailEnabled", "securityEnabled", "groupTypes", "membershipRule",
    "membershipRuleProcessingState",
)  # fmt: skip
_OWNERS: Final = "labOwners"
"""Name among a group's properties of the ids of its owners, which Graph shows as a relationship."""


def security_identifier(group_id: str) -> str:
    """Return the SID that Entra ID derives from an object id: S-1-12-1 and its four little-endian words."""
    raw = UUID(group_id).bytes_le
    return "S-1-12-1-" + "-".join(str(int.from_bytes(raw[i : i + 4], "little")) for i in range(0, 16, 4))


def group_json(row: Row) -> Json:
    """Return a group: a security group, a Microsoft 365 group, or one with dynamic members."""
    held = json.loads(row["properties"])
    nickname = held.get("mailNickname", row["display_name"].replace(" ", ""))
    return {
        "id": row["id"],
        "createdDateTime": format_date_time(from_text(row["created"])),
        "displayName": row["display_name"],
        "description": held.get("description"),
        "groupTypes": held.get("groupTypes", []),
        "mail": held.get("mail"),
        "mailEnabled": held.get("mailEnabled", False),
        "mailNickname": nickname,
        "membershipRule": held.get("membershipRule"),
        "membershipRuleProcessingState": held.get("membershipRuleProcessingState"),
        "proxyAddresses": [f"SMTP:{held['mail']}"] if held.get("mail") else [],
        "securityEnabled": held.get("securityEnabled", True),
        "securityIdentifier": security_identifier(row["id"]),
        "visibility": held.get("visibility"),
    }


def owners_of(row: Row) -> tuple[str, ...]:
    """Return the ids of a group's owners."""
    return tuple(json.loads(row["properties"]).get(_OWNERS, ()))


def is_dynamic(row: Row) -> bool:
    """Return whether a group's members follow from its rule."""
    return _DYNAMIC in json.loads(row["properties"]).get("groupTypes", ())


_DYNAMIC: Final = "DynamicMembership"
_UNIFIED: Final = "Unified"
_MOST_BOUND: Final = 20


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


def _check_kind(body: Json) -> None:
    """Refuse a kind of group that Graph does not make: sources.md#kinds-of-groups.

    Raises:
        GraphError: a group that is neither, mail without Unified, a rule without DynamicMembership or the reverse.

    """
    kinds = set(body.get("groupTypes") or ())
    if not kinds <= {_DYNAMIC, _UNIFIED}:
        raise errors.directory_invalid("groupTypes", f"expected {_DYNAMIC} or {_UNIFIED}, got another kind")
    if body["mailEnabled"] != (_UNIFIED in kinds) or not (body["mailEnabled"] or body["securityEnabled"]):
        reason = "expected a security group, or a Microsoft 365 group with mailEnabled and Unified"
        raise errors.directory_invalid("mailEnabled", reason)
    if (_DYNAMIC in kinds) != bool(body.get("membershipRule")):
        raise errors.directory_invalid("membershipRule", f"expected a rule with {_DYNAMIC}, and none without")


def create_group(request: GraphRequest) -> Answer:
    """POST /groups: with the members and owners its body binds; a membership rule is kept and not evaluated."""
    cloud, body = request.cloud, read_json(request)
    check("group", "group", body, None)
    _check_kind(body)
    group_id, now = cloud.chance.guid(), to_text(cloud.clock.now())
    members, owners = _bound(request, body, "members"), _bound(request, body, "owners")
    properties = {name: body[name] for name in _KEPT if body.get(name) is not None}
    if body["mailEnabled"]:
        domain = (cloud.directory.tenant(request.caller.tenant_id) or {})["domain"]
        properties = {"visibility": "Public", **properties, "mail": f"{body['mailNickname']}@{domain}"}
    if body.get("membershipRule"):
        properties = {"membershipRuleProcessingState": "On", **properties}
    with cloud.store.atomic():
        cloud.directory.add_group(
            group_id, request.caller.tenant_id, body["displayName"], now, {**properties, _OWNERS: owners}
        )
        for member in members:
            cloud.directory.add_member(group_id, member)
        cloud.journal.record("graph", "group created", group=group_id, members=len(members), owners=len(owners))
    row = cloud.directory.group(request.caller.tenant_id, group_id) or {}
    entity = {"@odata.context": request.context("groups/$entity"), **group_json(row)}
    notes = ("the membership rule is kept and not evaluated",) if body.get("membershipRule") else ()
    return Answer(201, entity, {"Location": f"{request.root}/groups('{group_id}')"}, notes=notes)


def _bound(request: GraphRequest, body: Json, name: str) -> list[str]:
    """Return the ids of the objects that a body binds to a relationship, at most 20.

    Raises:
        GraphError: more, an object twice, or one that does not exist.

    """
    references = body.get(f"{name}@odata.bind") or ()
    if len(references) > _MOST_BOUND:
        raise errors.directory_invalid(name, f"expected at most {_MOST_BOUND} references, got {len(references)}")
    found = []
    for reference in references:
        key = reference.rstrip("/").rpartition("/")[2].removesuffix("')").rpartition("('")[2]
        user = request.cloud.directory.user(request.caller.tenant_id, key)
        row = request.cloud.lists.row(DIRECTORY_OBJECTS, key.lower()) if user is None else user
        if row is None or row["tenant_id"] != request.caller.tenant_id:
            raise errors.directory_not_found(key)
        found.append(str(row["id"]))
    if len(set(found)) < len(found):
        raise errors.directory_invalid(name, "expected each object once, got one twice")
    return found


def update_group(request: GraphRequest) -> Answer:
    """PATCH /groups/{id}: what the body names; members that it binds are added to those there are."""
    cloud, body, group = request.cloud, read_json(request), find_group(request)
    check("group", "group", body, None, partial=True)
    held: dict[str, Any] = json.loads(group["properties"]) | {name: body[name] for name in _KEPT if name in body}
    _check_kind({"mailEnabled": False, "securityEnabled": True, **held})
    members, owners = _bound(request, body, "members"), _bound(request, body, "owners")
    if members and is_dynamic(group):
        raise errors.dynamic_members()
    if set(members) & set(cloud.directory.members_of(group["id"])):
        raise errors.already_member()
    held[_OWNERS] = [*owners_of(group), *(one for one in owners if one not in owners_of(group))]
    name = str(body.get("displayName", group["display_name"]))
    with cloud.store.atomic():
        cloud.directory.add_group(group["id"], request.caller.tenant_id, name, str(group["created"]), held)
        for member in members:
            cloud.directory.add_member(group["id"], member)
        cloud.journal.record("graph", "group changed", group=group["id"], members=len(members), owners=len(owners))
        if members:
            profiles_changed(cloud, request.caller.tenant_id)
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
