"""/users and /groups. Source: reference graph-intune 4.4 and 4.5."""

from emulator.graph import errors
from emulator.graph.bodies import read_json
from emulator.graph.collection import Collection
from emulator.graph.odata import Field
from emulator.graph.permissions import GROUP_READ, GROUP_WRITE, USER_READ
from emulator.graph.request import Answer, GraphRequest, Handler, Json
from emulator.graph.router import Route, Router
from emulator.intune.deliveries import profiles_changed
from emulator.store.database import Row, from_text
from emulator.wire.edm import format_date_time

_USER_FIELDS = {
    "id": Field("id", "name"),
    "userPrincipalName": Field("user_principal_name", "name"),
    "displayName": Field("display_name", "name"),
    "mail": Field("mail", "name"),
}
_GROUP_FIELDS = {"id": Field("id", "name"), "displayName": Field("display_name", "name")}
_PAGE = 100


def user_json(row: Row) -> Json:
    """Return a user with the properties beta shows without $select, as far as the lab knows them."""
    return {
        "businessPhones": [],
        "displayName": row["display_name"],
        "givenName": None,
        "jobTitle": None,
        "mail": row["mail"],
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": None,
        "userPrincipalName": row["user_principal_name"],
        "id": row["id"],
        "accountEnabled": True,
        "createdDateTime": format_date_time(from_text(row["created"])),
        "userType": "Member",
        "mailNickname": row["user_principal_name"].partition("@")[0],
    }


def group_json(row: Row) -> Json:
    """Return a security group."""
    return {
        "id": row["id"],
        "createdDateTime": format_date_time(from_text(row["created"])),
        "displayName": row["display_name"],
        "description": None,
        "groupTypes": [],
        "mailEnabled": False,
        "mailNickname": row["display_name"].replace(" ", ""),
        "membershipRule": None,
        "securityEnabled": True,
        "visibility": None,
    }


_USERS = Collection("users", "users", _USER_FIELDS, "User", user_json, counts=False)
_GROUPS = Collection("groups", "groups", _GROUP_FIELDS, "Group", group_json, counts=False)


def list_users(request: GraphRequest) -> Answer:
    """GET /users."""
    return _USERS.page(request, "tenant_id = ?", (request.caller.tenant_id,), _PAGE)


def _count(collection: Collection) -> Handler:
    def count(request: GraphRequest) -> Answer:
        """GET /$count: digits as plain text, with ConsistencyLevel: eventual only."""
        if not request.eventual:
            raise errors.count_unsupported()
        return Answer(200, str(collection.count(request, "tenant_id = ?", (request.caller.tenant_id,))))

    return count


def get_user(request: GraphRequest) -> Answer:
    """GET /users/{id or userPrincipalName}."""
    row = request.cloud.directory.user(request.caller.tenant_id, request.keys[0])
    if row is None:
        raise errors.directory_not_found(request.keys[0])
    fragment = f"users{request.query.select_fragment()}/$entity"
    return Answer(200, request.query.project({"@odata.context": request.context(fragment), **user_json(row)}))


def list_groups(request: GraphRequest) -> Answer:
    """GET /groups."""
    return _GROUPS.page(request, "tenant_id = ?", (request.caller.tenant_id,), _PAGE)


def _group(request: GraphRequest) -> Row:
    row = request.cloud.directory.group(request.caller.tenant_id, request.keys[0])
    if row is None:
        raise errors.directory_not_found(request.keys[0])
    return row


def get_group(request: GraphRequest) -> Answer:
    """GET /groups/{id}."""
    entity = {"@odata.context": request.context("groups/$entity"), **group_json(_group(request))}
    return Answer(200, request.query.project(entity))


def _member_json(request: GraphRequest, member_id: str) -> Json | None:
    cloud, tenant_id = request.cloud, request.caller.tenant_id
    user = cloud.directory.user(tenant_id, member_id)
    if user is not None:
        return {"@odata.type": "#microsoft.graph.user", **user_json(user)}
    group = cloud.directory.group(tenant_id, member_id)
    if group is not None:
        return {"@odata.type": "#microsoft.graph.group", **group_json(group)}
    device = cloud.devices.get(member_id)
    if device is not None and device.tenant_id == tenant_id:
        return {"@odata.type": "#microsoft.graph.device", "id": device.id, "displayName": device.device_name}
    return None


def _members(request: GraphRequest, ids: list[str]) -> list[Json]:
    found = (_member_json(request, member_id) for member_id in ids)
    return [member for member in found if member is not None]


def _listed(request: GraphRequest, items: list[Json], fragment: str = "directoryObjects") -> Answer:
    shown = [request.query.project(item) for item in items]
    return Answer(200, {"@odata.context": request.context(fragment), "value": shown})


def members(request: GraphRequest) -> Answer:
    """GET /groups/{id}/members: direct members, each with its type."""
    return _listed(request, _members(request, request.cloud.directory.members_of(_group(request)["id"])))


def transitive_members(request: GraphRequest) -> Answer:
    """GET /groups/{id}/transitiveMembers: members of member groups too."""
    ids = request.cloud.directory.members_of(_group(request)["id"], transitive=True)
    return _listed(request, _members(request, ids))


def member_users(request: GraphRequest) -> Answer:
    """GET /groups/{id}/members/microsoft.graph.user: users only, without their type."""
    found = _members(request, request.cloud.directory.members_of(_group(request)["id"]))
    users = [member for member in found if member["@odata.type"] == "#microsoft.graph.user"]
    return _listed(request, [{n: v for n, v in user.items() if n != "@odata.type"} for user in users], "users")


def count_members(request: GraphRequest) -> Answer:
    """GET /groups/{id}/members/$count, with ConsistencyLevel: eventual only."""
    if not request.eventual:
        raise errors.count_unsupported()
    return Answer(200, str(len(request.cloud.directory.members_of(_group(request)["id"]))))


def add_member(request: GraphRequest) -> Answer:
    """POST /groups/{id}/members/$ref: one more member; it is re-evaluated at its next check-in."""
    cloud, group = request.cloud, _group(request)
    reference = str(read_json(request).get("@odata.id", ""))
    name = reference.rstrip("/").rpartition("/")[2]
    member = _member_json(request, name)
    if member is None:
        raise errors.directory_not_found(name)
    if member["id"] in cloud.directory.members_of(group["id"]):
        raise errors.already_member()
    cloud.directory.add_member(group["id"], member["id"])
    profiles_changed(cloud, request.caller.tenant_id)
    return Answer(204)


def remove_member(request: GraphRequest) -> Answer:
    """DELETE /groups/{id}/members/{id}/$ref."""
    cloud, group = request.cloud, _group(request)
    if not cloud.directory.remove_member(group["id"], request.keys[1].lower()):
        raise errors.directory_not_found(request.keys[1])
    profiles_changed(cloud, request.caller.tenant_id)
    return Answer(204)


def add_routes(router: Router) -> None:
    """Register users and groups."""
    router.add("GET", "users", Route(list_users, USER_READ))
    router.add("GET", "users/$count", Route(_count(_USERS), USER_READ))
    router.add("GET", "groups/$count", Route(_count(_GROUPS), GROUP_READ))
    router.add("GET", "users/{}", Route(get_user, USER_READ))
    router.add("GET", "groups", Route(list_groups, GROUP_READ))
    router.add("GET", "groups/{}", Route(get_group, GROUP_READ))
    group = "groups/{}"
    router.add("GET", f"{group}/members", Route(members, GROUP_READ))
    router.add("GET", f"{group}/transitiveMembers", Route(transitive_members, GROUP_READ))
    router.add("GET", f"{group}/members/microsoft.graph.user", Route(member_users, GROUP_READ))
    router.add("GET", f"{group}/members/$count", Route(count_members, GROUP_READ))
    router.add("POST", f"{group}/members/$ref", Route(add_member, GROUP_WRITE))
    router.add("DELETE", f"{group}/members/{{}}/$ref", Route(remove_member, GROUP_WRITE))
