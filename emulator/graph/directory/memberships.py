"""…/memberOf and transitiveMemberOf of users, groups and devices: groups and directory roles.

Source: sources.md#memberships.
"""

import json
from collections.abc import Callable, Iterable
from typing import Final

from pfxlab.emulator.graph.collection import Listing, add_listing
from pfxlab.emulator.graph.directory.devices import find_device
from pfxlab.emulator.graph.directory.directory_objects import computed_objects, typed
from pfxlab.emulator.graph.directory.directory_roles import role_json
from pfxlab.emulator.graph.directory.expansions import expandable
from pfxlab.emulator.graph.directory.groups import find_group, group_json
from pfxlab.emulator.graph.directory.users import find_me, find_user
from pfxlab.emulator.graph.permissions import (
    DEVICE_MEMBERSHIP_READ,
    GROUP_MEMBERSHIP_READ,
    MY_MEMBERSHIP_READ,
    USER_MEMBERSHIP_READ,
    Permissions,
)
from pfxlab.emulator.graph.request import GraphRequest, Json
from pfxlab.emulator.graph.router import Router
from pfxlab.emulator.store.database import Row

_OWNERS: Final[dict[str, tuple[Callable[[GraphRequest], Row], Permissions]]] = {
    "me": (find_me, MY_MEMBERSHIP_READ),
    "users/{}": (find_user, USER_MEMBERSHIP_READ),
    "groups/{}": (find_group, GROUP_MEMBERSHIP_READ),
    "devices/{}": (find_device, DEVICE_MEMBERSHIP_READ),
}
"""Whose memberships there are → who that is, and who may ask."""


def _held_roles(request: GraphRequest, member: Row) -> Iterable[Json]:
    for template in json.loads(member.get("directory_roles", "[]")):
        yield typed("directoryRole", role_json(request, template))


def _groups(request: GraphRequest, member: Row, *, transitive: bool) -> Iterable[Json]:
    directory = request.cloud.directory
    ids = directory.groups_of(member["id"]) if transitive else directory.direct_groups_of(member["id"])
    for name in sorted(ids):
        group = directory.group(request.caller.tenant_id, name)
        if group is not None:
            yield typed("group", group_json(group))


def _memberships(find: Callable[[GraphRequest], Row], *, transitive: bool) -> Callable[[GraphRequest], Listing]:
    return lambda request: _of(request, find(request), transitive=transitive)


def _of(request: GraphRequest, member: Row, *, transitive: bool) -> Listing:
    items = [*_groups(request, member, transitive=transitive), *_held_roles(request, member)]
    return computed_objects(request, items)


def _related(*, transitive: bool) -> Callable[[GraphRequest, str], Listing]:
    def related(request: GraphRequest, name: str) -> Listing:
        user = request.cloud.directory.user(request.caller.tenant_id, name)
        return _of(request, user or {"id": name}, transitive=transitive)

    return related


for _kind in ("user", "group"):
    expandable(_kind, "memberOf", _related(transitive=False))
    expandable(_kind, "transitiveMemberOf", _related(transitive=True))


def add_routes(router: Router) -> None:
    """Register memberships."""
    for path, (find, permissions) in _OWNERS.items():
        add_listing(router, f"{path}/memberOf", permissions, _memberships(find, transitive=False))
        add_listing(router, f"{path}/transitiveMemberOf", permissions, _memberships(find, transitive=True))
