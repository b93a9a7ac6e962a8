"""/users and /groups. Source: reference graph-intune 4.4 and 4.5."""

from emulator.graph import errors
from emulator.graph.collection import Collection
from emulator.graph.odata import Field
from emulator.graph.permissions import GROUP_READ, USER_READ
from emulator.graph.request import Answer, GraphRequest, Json
from emulator.graph.router import Route, Router
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


def no_count(request: GraphRequest) -> Answer:
    """GET /users/$count without ConsistencyLevel is refused."""
    raise errors.count_unsupported()


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


def members(request: GraphRequest) -> Answer:
    """GET /groups/{id}/members: users, each with its type."""
    group = _group(request)
    rows = request.cloud.store.rows(
        "select users.* from users join group_members on member_id = users.id where group_id = ? order by users.rowid",
        (group["id"],),
    )
    items = [{"@odata.type": "#microsoft.graph.user", **user_json(row)} for row in rows]
    context = request.context("directoryObjects")
    return Answer(200, {"@odata.context": context, "value": [request.query.project(item) for item in items]})


def add_routes(router: Router) -> None:
    """Register users and groups."""
    router.add("GET", "users", Route(list_users, USER_READ))
    router.add("GET", "users/$count", Route(no_count, USER_READ))
    router.add("GET", "groups/$count", Route(no_count, GROUP_READ))
    router.add("GET", "users/{}", Route(get_user, USER_READ))
    router.add("GET", "groups", Route(list_groups, GROUP_READ))
    router.add("GET", "groups/{}", Route(get_group, GROUP_READ))
    router.add("GET", "groups/{}/members", Route(members, GROUP_READ))
