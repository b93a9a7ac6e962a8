"""/groups/{id}/members, transitiveMembers and owners. Source: sources.md#groups."""

from collections.abc import Callable

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.collection import Listing, add_listing
from pfxlab.emulator.graph.directory.directory_objects import objects, referenced
from pfxlab.emulator.graph.directory.expansions import expandable
from pfxlab.emulator.graph.directory.groups import find_group, is_dynamic, owners_of
from pfxlab.emulator.graph.permissions import GROUP_READ, GROUP_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import profiles_changed
from pfxlab.emulator.store.lists.conditions import OneOf
from pfxlab.emulator.store.lists.memberships import IsMember
from pfxlab.emulator.store.lists.views import DIRECTORY_OBJECTS as VIEW


def _members(*, transitive: bool) -> Callable[[GraphRequest], Listing]:
    def members(request: GraphRequest) -> Listing:
        return _of(find_group(request)["id"], transitive=transitive)

    return members


def _of(group_id: str, *, transitive: bool) -> Listing:
    return objects(IsMember(VIEW["id"], group_id, transitive))


expandable("group", "members", lambda _, group_id: _of(group_id, transitive=False))
expandable("group", "transitiveMembers", lambda _, group_id: _of(group_id, transitive=True))


def _owners(request: GraphRequest) -> Listing:
    return _owned_by(owners_of(find_group(request)))


def _owned_by(owners: tuple[str, ...]) -> Listing:
    return objects(OneOf(VIEW["id"], owners))


def _owners_of(request: GraphRequest, group_id: str) -> Listing:
    group = request.cloud.directory.group(request.caller.tenant_id, group_id)
    return _owned_by(() if group is None else owners_of(group))


expandable("group", "owners", _owners_of)


def add_member(request: GraphRequest) -> Answer:
    """POST /groups/{id}/members/$ref: one more member; it is re-evaluated at its next check-in."""
    cloud, group = request.cloud, find_group(request)
    if is_dynamic(group):
        raise errors.dynamic_members()
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
    add_listing(router, f"{group}/members", GROUP_READ, _members(transitive=False))
    add_listing(router, f"{group}/owners", GROUP_READ, _owners)
    add_listing(router, f"{group}/transitiveMembers", GROUP_READ, _members(transitive=True))
    router.add("POST", f"{group}/members/$ref", Route(add_member, GROUP_WRITE))
    router.add("DELETE", f"{group}/members/{{}}/$ref", Route(remove_member, GROUP_WRITE))
