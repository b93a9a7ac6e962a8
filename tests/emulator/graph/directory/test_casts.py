"""Casts, qualified names and `$count` segments, and who sees what of members.

Expected values: sources.md#qualified-names, sources.md#limited-information, sources.md#basic-profile,
sources.md#memberships.
"""

from collections.abc import Iterator
from typing import Final

import pytest

from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR
from pfxlab.emulator.graph.dispatch import build_router
from pfxlab.scenarios.sources.facts import facts
from tests.emulator.graph.directory.in_process import EVENTUAL, Directory

CAST, CERTAIN, HIGH = "qualified-names", "certain", "high"
MEMBERS: Final = [
    ("groups/{outer}/members", {"inner", "ann", "device"}, CAST, CERTAIN),
    ("groups/{outer}/transitiveMembers", {"inner", "ann", "device", "bob"}, CAST, CERTAIN),
    ("groups/{outer}/members/microsoft.graph.user", {"ann"}, CAST, CERTAIN),
    ("groups/{outer}/members/graph.user", {"ann"}, CAST, CERTAIN),
    ("groups/{outer}/transitiveMembers/microsoft.graph.user", {"ann", "bob"}, CAST, CERTAIN),
    ("groups/{outer}/transitiveMembers/graph.group", {"inner"}, CAST, CERTAIN),
    ("groups/{outer}/transitiveMembers/microsoft.graph.device", {"device"}, CAST, CERTAIN),
    ("groups/{outer}/members/graph.servicePrincipal", set(), CAST, CERTAIN),
    ("groups/{outer}/members/graph.orgContact", set(), CAST, CERTAIN),
    ("users/{bob}/memberOf", {"inner"}, "memberships", CERTAIN),
    ("users/{bob}/transitiveMemberOf", {"inner", "outer"}, "memberships", CERTAIN),
    ("users/{bob}/transitiveMemberOf/graph.group", {"inner", "outer"}, CAST, CERTAIN),
    ("users/{ann}/memberOf/microsoft.graph.group", {"outer"}, CAST, CERTAIN),
    ("groups/{inner}/memberOf", {"outer"}, "memberships", CERTAIN),
    ("devices/{device}/memberOf/microsoft.graph.group", {"outer"}, "memberships", CERTAIN),
]
"""Path, what it lists, where that is said, and how sure it is."""


@pytest.fixture(scope="module")
def directory() -> Iterator[Directory]:
    """Return a directory that no test here changes."""
    made = Directory()
    yield made
    made.cloud.close()


@pytest.mark.parametrize(("path", "names", "source", "confidence"), MEMBERS)
@pytest.mark.parametrize("version", ["beta", "v1.0"])
def test_collections_are_cast(
    directory: Directory, version: str, path: str, names: set[str], source: str, confidence: str
) -> None:
    """A collection of directory objects, or a cast of it under either spelling, lists the objects of that type."""
    assert (source in facts(), confidence) == (True, CERTAIN)
    listed = directory("GET", f"{version}/{path}?$top=999")
    assert listed.status == 200, listed.text
    assert listed.ids() == {getattr(directory, name) for name in names}
    counted = directory("GET", f"{version}/{path}/$count", headers=EVENTUAL)
    assert (counted.status, counted.text) == (200, str(len(names)))
    assert directory("GET", f"{version}/{path}/$count").error == (
        400, "Request_BadRequest", "$count is not currently supported."
    )  # fmt: skip


def test_roles_are_memberships(directory: Directory) -> None:
    """A user's memberships hold the directory roles, and a cast returns them alone."""
    (role,) = directory("GET", "v1.0/users/{ann}/memberOf/microsoft.graph.directoryRole").body["value"]
    assert role["roleTemplateId"] == GLOBAL_ADMINISTRATOR
    assert directory("GET", "v1.0/users/{ann}/memberOf").ids() == {directory.outer, role["id"]}
    assert directory("GET", "v1.0/directoryRoles/" + role["id"] + "/members/graph.user").ids() == {directory.ann}


def test_my_memberships(directory: Directory) -> None:
    """A signed-in user lists their own memberships with User.Read; groups they may not read bear only their id."""
    reply = directory("GET", "v1.0/me/memberOf", permissions=["User.Read"], user=directory.bob)
    (group,) = reply.body["value"]
    assert (group["@odata.type"], group["id"]) == ("#microsoft.graph.group", directory.inner)
    assert {value for name, value in group.items() if name not in ("@odata.type", "id")} == {None}


def test_a_cast_filters_by_the_properties_of_its_type(directory: Directory) -> None:
    """Behind a cast $filter and $select know the type, entities do not name it, and the context is that of its set."""
    path = "beta/groups/{outer}/transitiveMembers/microsoft.graph.user"
    page = directory("GET", f"{path}?$filter=userPrincipalName%20eq%20'BOB@pfxlab.example'&$select=userPrincipalName")
    assert page.body["value"] == [{"userPrincipalName": "bob@pfxlab.example"}]
    assert page.body["@odata.context"] == "https://localhost/beta/$metadata#users(userPrincipalName)"


@pytest.mark.parametrize("name", ["microsoft.graph.nothing", "graph.managedDevice", "microsoft.graph.members"])
def test_a_cast_to_no_directory_object_is_unknown(directory: Directory, name: str) -> None:
    """A cast to a type that is not derived from the collection's is a segment that Graph does not know."""
    status, code, _ = directory("GET", f"v1.0/groups/{{outer}}/members/{name}").error
    assert (status, code) == (400, "BadRequest")


@pytest.mark.parametrize("name", ["syncDevice", "microsoft.graph.syncDevice", "graph.syncDevice"])
def test_actions_may_bear_their_namespace(directory: Directory, name: str) -> None:
    """An action is found with its namespace, with the alias of that, and without either."""
    path = f"beta/deviceManagement/managedDevices/{{device}}/{name}"
    assert directory("POST", path).status == 204


def test_a_collection_is_no_action() -> None:
    """A namespace before the name of a collection makes an unknown segment of it."""
    assert build_router().has("beta", ["groups", "x", "members"])
    assert not build_router().has("beta", ["groups", "x", "microsoft.graph.members"])


def test_states_of_certificates_under_the_alias(directory: Directory) -> None:
    """What stands below one type of profile is reached with the namespace's alias too."""
    made = directory("POST", "beta/deviceManagement/deviceConfigurations", {
        "@odata.type": "#microsoft.graph.iosImportedPFXCertificateProfile", "displayName": "x",
        "intendedPurpose": "smimeEncryption"})  # fmt: skip
    below = "iosImportedPFXCertificateProfile/managedDeviceCertificateStates"
    for namespace in ("microsoft.graph", "graph"):
        path = f"beta/deviceManagement/deviceConfigurations/{made.body['id']}/{namespace}.{below}"
        assert directory("GET", path).status == 200


SEEN: Final = [
    (["GroupMember.Read.All"], {"@odata.type", "id"}, "limited-information", CERTAIN),
    (["GroupMember.Read.All", "User.ReadBasic.All"],
     {"@odata.type", "id", "displayName", "mail", "userPrincipalName"}, "basic-profile", HIGH),
    (["GroupMember.Read.All", "User.Read.All"], None, "limited-information", CERTAIN),
    (["Directory.Read.All"], None, "limited-information", CERTAIN),
]  # fmt: skip
"""Permissions, the properties of a member that are not null (None: all of a user's), source and confidence."""


@pytest.mark.parametrize(("permissions", "shown", "source", "confidence"), SEEN)
def test_members_show_what_the_caller_may_read(
    directory: Directory, permissions: list[str], shown: set[str] | None, source: str, confidence: str
) -> None:
    """A member of a type that the caller may not read bears id and type, and null for everything else."""
    assert (source in facts(), confidence in (CERTAIN, HIGH)) == (True, True)
    for path in ("groups/{inner}/members", "groups/{inner}/members?$select=id,displayName,accountEnabled"):
        (member,) = directory("GET", f"beta/{path}", permissions=permissions).body["value"]
        assert {"@odata.type", "id", "displayName", "accountEnabled"} <= set(member)
        seen = {name for name, value in member.items() if value not in (None, [])}
        if shown is None:
            assert {"displayName", "accountEnabled"} <= seen
        else:
            assert seen == shown & set(member)


def test_basic_profiles(directory: Directory) -> None:
    """With User.ReadBasic.All users show their basic profile, and neither type, creation nor whether they may sign in."""
    user = directory("GET", "beta/users/{ann}", permissions=["User.ReadBasic.All"]).body
    assert (user["displayName"], user["userPrincipalName"]) == ("Test user ann", "ann@pfxlab.example")
    assert [user[name] for name in ("accountEnabled", "userType", "createdDateTime")] == [None, None, None]
    (listed,) = directory(
        "GET", "beta/users?$filter=id%20eq%20'{ann}'", permissions=["User.ReadBasic.All"]
    ).body["value"]  # fmt: skip
    assert listed == {name: value for name, value in user.items() if not name.startswith("@")}


ALLOWED: Final = [
    (None, ["User.ReadBasic.All"], 403), (None, ["GroupMember.Read.All"], 403), (None, ["User.Read.All"], 403),
    (None, ["Directory.Read.All"], 200), ("ann", ["User.ReadBasic.All"], 403), ("ann", ["User.Read.All"], 200),
    ("ann", ["GroupMember.Read.All"], 200), ("ann", ["User.Read"], 403),
]  # fmt: skip
"""Who asks (None: an application), with what, and the status: sources.md#memberships."""


@pytest.mark.parametrize(("user", "permissions", "status"), ALLOWED)
def test_memberships_of_others(directory: Directory, user: str | None, permissions: list[str], status: int) -> None:
    """Another user's memberships need Directory.Read.All of an application, and less of a signed-in user."""
    caller = None if user is None else str(getattr(directory, user))
    assert directory("GET", "v1.0/users/{bob}/memberOf", permissions=permissions, user=caller).status == status


def test_pages_of_members_are_disjoint_and_complete(directory: Directory) -> None:
    """The nextLinks of members of several types meet each of them once."""
    seen: list[str] = []
    address = "v1.0/groups/{outer}/transitiveMembers?$top=1"
    while address:
        page = directory("GET", address).body
        seen += [item["id"] for item in page["value"]]
        address = page.get("@odata.nextLink", "").removeprefix("https://localhost/")
    assert sorted(seen) == sorted([directory.inner, directory.ann, directory.device, directory.bob])
