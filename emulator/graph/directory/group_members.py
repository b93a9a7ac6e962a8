"""/groups/{id}/members and transitiveMembers. Source: sources.md#groups."""

from typing import Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.collection import computed
from pfxlab.emulator.graph.directory.directory_objects import object_json, referenced
from pfxlab.emulator.graph.directory.groups import find_group
from pfxlab.emulator.graph.directory.users import USER_TYPE
from pfxlab.emulator.graph.permissions import GROUP_READ, GROUP_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import profiles_changed

_PAGE: Final = 100


def _members(request: GraphRequest, *, transitive: bool = False) -> list[Json]:
    ids = request.cloud.directory.members_of(find_group(request)["id"], transitive=transitive)
    found = (object_json(request, member_id) for member_id in ids)
    return [member for member in found if member is not None]


def _page(request: GraphRequest, items: list[Json], fragment: str = "directoryObjects") -> Answer:
    # Members are of several types: they are filtered by the properties of users, which groups share in part.
    return computed(request, fragment, items, "user", _PAGE, directory=True)


def members(request: GraphRequest) -> Answer:
    """GET /groups/{id}/members: direct members, each with its type."""
    return _page(request, _members(request))


def transitive_members(request: GraphRequest) -> Answer:
    """GET /groups/{id}/transitiveMembers: members of member groups too."""
    return _page(request, _members(request, transitive=True))


def member_users(request: GraphRequest) -> Answer:
    """GET /groups/{id}/members/microsoft.graph.user: users only, without their type."""
    users = [member for member in _members(request) if member["@odata.type"] == USER_TYPE]
    return _page(request, [{n: v for n, v in user.items() if n != "@odata.type"} for user in users], "users")


def count_members(request: GraphRequest) -> Answer:
    """GET /groups/{id}/members/$count, with ConsistencyLevel: eventual only."""
    if not request.eventual:
        raise errors.count_unsupported()
    return Answer(200, str(len(request.cloud.directory.members_of(find_group(request)["id"]))))


def add_member(request: GraphRequest) -> Answer:
    """POST /groups/{id}/members/$ref: one more member; it is re-evaluated at its next check-in."""
    cloud, group = request.cloud, find_group(request)
    member = referenced(request)
    if member["id"] in cloud.directory.members_of(group["id"]):
        raise errors.already_member()
    with cloud.store.atomic():
        cloud.directory.add_member(group["id"], member["id"])
        profiles_changed(cloud, request.caller.tenant_id)
    return Answer(204)


def remove_member(request: GraphRequest) -> Answer:
    """DELETE /groups/{id}/members/{id}/$ref."""
    cloud, group = request.cloud, find_group(request)
    if not cloud.directory.remove_member(group["id"], request.keys[1].lower()):
        raise errors.directory_not_found(request.keys[1])
    profiles_changed(cloud, request.caller.tenant_id)
    return Answer(204)


def add_routes(router: Router) -> None:
    """Register members of groups."""
    group = "groups/{}"
    router.add("GET", f"{group}/members", Route(members, GROUP_READ))
    router.add("GET", f"{group}/transitiveMembers", Route(transitive_members, GROUP_READ))
    router.add("GET", f"{group}/members/microsoft.graph.user", Route(member_users, GROUP_READ))
    router.add("GET", f"{group}/members/$count", Route(count_members, GROUP_READ))
    router.add("POST", f"{group}/members/$ref", Route(add_member, GROUP_WRITE))
    router.add("DELETE", f"{group}/members/{{}}/$ref", Route(remove_member, GROUP_WRITE))
