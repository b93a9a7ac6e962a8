"""Members and owners that a body binds, Microsoft 365 groups, and groups with dynamic members.

Expected values: sources.md#group-binds, sources.md#kinds-of-groups.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.graph.directory.in_process import Directory

GROUP = {"displayName": "Made", "mailEnabled": False, "mailNickname": "made", "securityEnabled": True}
ROOT = "https://localhost/v1.0"


@pytest.fixture
def directory() -> Iterator[Directory]:
    """Return a directory of one test's own."""
    made = Directory()
    yield made
    made.cloud.close()


def reference(object_id: str, place: str = "directoryObjects/{}") -> str:
    """Return an object's address."""
    return f"{ROOT}/{place.format(object_id)}"


def test_bodies_bind_members_and_owners(directory: Directory) -> None:
    """POST binds members of every type and owners, by each spelling of their address."""
    members = [reference(directory.bob), reference(directory.inner), reference(directory.device),
               reference("ann@pfxlab.example", "users('{}')")]  # fmt: skip
    owners = [reference(directory.ann, "users/{}")]
    made = directory("POST", "v1.0/groups", {**GROUP, "members@odata.bind": members, "owners@odata.bind": owners})
    assert made.status == 201, made.text
    one = f"v1.0/groups/{made.body['id']}"
    assert directory("GET", f"{one}/members").ids() == {directory.bob, directory.inner, directory.device, directory.ann}
    assert directory("GET", f"{one}/owners/microsoft.graph.user").ids() == {directory.ann}
    assert [owner["id"] for owner in directory("GET", f"{one}?$expand=owners").body["owners"]] == [directory.ann]


def test_patch_adds_members(directory: Directory) -> None:
    """PATCH with members@odata.bind adds them to those there are, and profiles of the group are looked at again."""
    bind = {"members@odata.bind": [reference(directory.ann), reference(directory.device)]}
    assert directory("PATCH", "v1.0/groups/{inner}", bind).status == 204
    assert directory("GET", "v1.0/groups/{inner}/members").ids() == {directory.bob, directory.ann, directory.device}
    assert directory("PATCH", "v1.0/groups/{inner}", bind).error == (
        400,
        "Request_BadRequest",
        "One or more added object references already exist for the following modified properties: 'members'.",
    )
    unknown = {"members@odata.bind": [reference(directory.tenant)]}
    assert directory("PATCH", "v1.0/groups/{inner}", unknown).status == 404


@pytest.mark.parametrize(("count", "status"), [(20, 204), (21, 400)])
def test_twenty_are_bound_at_a_time(directory: Directory, count: int, status: int) -> None:
    """A PATCH binds up to 20 members; of more it adds none."""
    ids = []
    for number in range(count):
        name, user_id = f"many{number}@pfxlab.example", directory.cloud.chance.guid()
        row = {"id": user_id, "tenant_id": directory.tenant, "user_principal_name": name, "display_name": name,
               "mail": name, "created": "2026-01-01T00:00:00.000000Z"}  # fmt: skip
        directory.cloud.directory.add_user(row)
        ids.append(user_id)
    bind = {"members@odata.bind": [reference(one) for one in ids]}
    assert directory("PATCH", "v1.0/groups/{inner}", bind).status == status
    assert len(directory("GET", "v1.0/groups/{inner}/members").ids()) == (1 + count if status == 204 else 1)


def test_microsoft_365_groups(directory: Directory) -> None:
    """A Microsoft 365 group has mail and is found by its type."""
    body = {**GROUP, "groupTypes": ["Unified"], "mailEnabled": True, "securityEnabled": False}
    made = directory("POST", "v1.0/groups", body).body
    assert (made["mail"], made["groupTypes"], made["mailEnabled"], made["securityEnabled"], made["visibility"]) == (
        "made@pfxlab.example", ["Unified"], True, False, "Public"
    )  # fmt: skip
    found = directory("GET", "v1.0/groups?$filter=groupTypes/any(c:c%20eq%20'Unified')")
    assert found.ids() == {made["id"]}
    assert made["id"] not in directory("GET", "v1.0/groups?$filter=securityEnabled%20eq%20true").ids()


def test_dynamic_groups(directory: Directory) -> None:
    """A group with dynamic members keeps its rule, and nobody adds a member by hand."""
    rule = '(user.department -eq "Sales")'
    body = {**GROUP, "groupTypes": ["DynamicMembership"], "membershipRule": rule}
    made = directory("POST", "v1.0/groups", body).body
    assert (made["membershipRule"], made["membershipRuleProcessingState"]) == (rule, "On")
    one = f"v1.0/groups/{made['id']}"
    assert directory("POST", f"{one}/members/$ref", {"@odata.id": reference(directory.bob)}).status == 400
    assert directory("PATCH", one, {"members@odata.bind": [reference(directory.bob)]}).status == 400
    assert directory("GET", f"{one}/members").ids() == set()


@pytest.mark.parametrize(
    "changes",
    [{"mailEnabled": True}, {"groupTypes": ["Unified"]}, {"securityEnabled": False}, {"groupTypes": ["Other"]},
     {"groupTypes": ["DynamicMembership"]}, {"membershipRule": "user.city -eq 1"}],
)  # fmt: skip
def test_kinds_that_graph_does_not_make(directory: Directory, changes: dict[str, Any]) -> None:
    """A group with mail and no type, without purpose, or with a rule and no type for it is refused."""
    assert directory("POST", "v1.0/groups", {**GROUP, **changes}).status == 400
