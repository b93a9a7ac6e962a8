"""What queries on the directory may do: operators, sorting, page sizes, names and $expand.

Expected values: sources.md#directory-filters, sources.md#directory-sorting, sources.md#directory-page-size,
sources.md#count-media-type, sources.md#unknown-names, sources.md#directory-expand.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import pytest

from pfxlab.scenarios.sources.facts import facts
from tests.emulator.graph.directory.in_process import EVENTUAL, Directory

CERTAIN, HIGH, MEDIUM = "certain", "high", "medium"
UNSUPPORTED: Final = "Request_UnsupportedQuery"
SORTING: Final = "Sorting not supported for current query."
SELECT: Final = "Parsing OData Select and Expand failed: "


def missing(operator: str) -> str:
    """Return the refusal of an operator without the advanced query parameters."""
    return (
        f"Operator '{operator}' is not supported because the required parameters might be missing. Try adding $count=true "
        "query parameter and ConsistencyLevel:eventual header. Refer to https://aka.ms/graph-docs/advanced-queries for "
        "more information"
    )  # fmt: skip


@pytest.fixture(scope="module")
def directory() -> Iterator[Directory]:
    """Return a directory that no test here changes."""
    made = Directory()
    yield made
    made.cloud.close()


ADVANCED: Final = [
    ("users", "$filter=endsWith(userPrincipalName,'@pfxlab.example')", missing("endsWith"), "directory-filters", CERTAIN),
    ("users", "$filter=not(displayName eq 'x')", missing("not"), "directory-filters", CERTAIN),
    ("users", "$filter=accountEnabled ne false", missing("ne"), "directory-filters", CERTAIN),
    ("groups", "$filter=displayName ne 'x'", missing("ne"), "directory-filters", CERTAIN),
    ("groups/{outer}/members/graph.user", "$filter=not(displayName eq 'x')", missing("not"), "directory-filters", HIGH),
    ("users", "$filter=displayName ne null and accountEnabled eq true", missing("ne"), "directory-filters", CERTAIN),
    ("users", "$filter=startswith(displayName,'T')&$orderby=displayName", SORTING, "directory-sorting", CERTAIN),
    ("groups", "$filter=startswith(displayName,'I')&$orderby=displayName", SORTING, "directory-sorting", CERTAIN),
    ("applications", "$filter=startswith(displayName,'C')&$orderby=displayName", SORTING, "directory-sorting", CERTAIN),
    ("users", "$orderby=createdDateTime", "Unsupported sort property 'createdDateTime' for 'User'.", "directory-sorting",
     CERTAIN),
    ("applications", "$orderby=displayName", "Unsupported sort property 'displayName' for 'Application'.",
     "directory-sorting", HIGH),
]  # fmt: skip
"""Path, query, the refusal without the advanced query parameters, where that is said, and how sure it is."""


@pytest.mark.parametrize(("path", "query", "text", "source", "confidence"), ADVANCED)
def test_advanced_queries(directory: Directory, path: str, query: str, text: str, source: str, confidence: str) -> None:
    """A query that needs the advanced parameters is refused without either of them, and found something with both."""
    assert (source in facts(), confidence in (CERTAIN, HIGH)) == (True, True)
    address = f"v1.0/{path}?{quote(query, safe='$=&')}"
    refused = (400, UNSUPPORTED, text)
    assert directory("GET", address).error == refused
    assert directory("GET", address, headers=EVENTUAL).error == refused
    assert directory("GET", f"{address}&$count=true").error == refused
    found = directory("GET", f"{address}&$count=true", headers=EVENTUAL)
    assert (found.status, len(found.body["value"])) == (200, found.body["@odata.count"])
    assert found.body["value"]


REFUSED: Final = [
    ("users", "$filter=endsWith(displayName,'x')&$count=true", UNSUPPORTED,
     "Unsupported or invalid query filter clause specified for property 'displayName' of resource 'User'.",
     "directory-filters", CERTAIN),
    ("users", "$orderby=jobTitle&$count=true", UNSUPPORTED, "An unsupported property was specified.", "directory-sorting",
     CERTAIN),
    ("users", "$top=1000", UNSUPPORTED, "Invalid page size specified: '1000'. Must be between 1 and 999 inclusive.",
     "directory-page-size", HIGH),
    ("groups/{outer}/transitiveMembers", "$top=1000", UNSUPPORTED,
     "Invalid page size specified: '1000'. Must be between 1 and 999 inclusive.", "directory-page-size", HIGH),
    ("users", "$top=0", UNSUPPORTED, "Invalid page size specified: '0'. Must be between 1 and 999 inclusive.",
     "directory-page-size", HIGH),
    ("users", "$select=id,shoeSize", "BadRequest",
     f"{SELECT}Could not find a property named 'shoeSize' on type 'microsoft.graph.user'.", "unknown-names", HIGH),
    ("users/{ann}", "$select=shoeSize", "BadRequest",
     f"{SELECT}Could not find a property named 'shoeSize' on type 'microsoft.graph.user'.", "unknown-names", HIGH),
    ("users", "$expand=passwordCredentials", "BadRequest",
     f"{SELECT}Could not find a property named 'passwordCredentials' on type 'microsoft.graph.user'.", "unknown-names",
     CERTAIN),
    ("groups/{outer}/members", "$expand=passwordCredentials2", "BadRequest",
     f"{SELECT}Could not find a property named 'passwordCredentials2' on type 'microsoft.graph.directoryObject'.",
     "unknown-names", CERTAIN),
    ("users", "$orderby=shoeSize", "BadRequest",
     "Could not find a property named 'shoeSize' on type 'microsoft.graph.user'.", "unknown-names", HIGH),
    ("users", "$filter=shoeSize eq '44'", UNSUPPORTED,
     "Unsupported or invalid query filter clause specified for property 'shoeSize' of resource 'User'.", "unknown-names",
     CERTAIN),
    ("deviceManagement/managedDevices", "$select=shoeSize", "BadRequest",
     f"{SELECT}Could not find a property named 'shoeSize' on type 'microsoft.graph.managedDevice'.", "unknown-names",
     CERTAIN),
    ("deviceManagement/managedDevices", "$filter=shoeSize eq 1", "BadRequest",
     "Invalid filter clause: Could not find a property named 'shoeSize' on type 'microsoft.graph.managedDevice'.",
     "unknown-names", CERTAIN),
    ("deviceManagement/deviceConfigurations", "$select=intendedPurpose", "BadRequest",
     f"{SELECT}Could not find a property named 'intendedPurpose' on type 'microsoft.graph.deviceConfiguration'.",
     "unknown-names", CERTAIN),
    ("deviceManagement/deviceConfigurations", "$expand=assignment", "BadRequest",
     f"{SELECT}Could not find a property named 'assignment' on type 'microsoft.graph.deviceConfiguration'.",
     "unknown-names", CERTAIN),
    ("deviceManagement/managedDevices", "$orderby=shoeSize desc", "BadRequest",
     "Could not find a property named 'shoeSize' on type 'microsoft.graph.managedDevice'.", "unknown-names", HIGH),
    ("users", "$expand=displayName", "BadRequest",
     f"{SELECT}Property 'displayName' on type 'microsoft.graph.user' is not a navigation property or complex property. "
     "Only navigation properties can be expanded.", "unknown-names", MEDIUM),
    ("groups", "$expand=members($select=id", "BadRequest",
     f"{SELECT}Term 'members($select=id' is not valid in a $select or $expand expression.", "unknown-names", CERTAIN),
]  # fmt: skip
"""Path, query, code and text of a refusal that no header changes, where it is said, and how sure it is."""


@pytest.mark.parametrize(("path", "query", "code", "text", "source", "confidence"), REFUSED)
def test_queries_that_cannot_be(
    directory: Directory, path: str, query: str, code: str, text: str, source: str, confidence: str
) -> None:
    """An unknown name, a $top beyond 999, and what no index serves are refused whatever the header says."""
    assert (source in facts(), confidence in (CERTAIN, HIGH, MEDIUM)) == (True, True)
    address = f"beta/{path}?{quote(query, safe='$=&')}"
    assert directory("GET", address, headers=EVENTUAL).error == (400, code, text)


@pytest.mark.parametrize(
    "query",
    ["$select=DISPLAYNAME", "$select=*", "$select=extension_0123_shoeSize", "$select=passwordProfile/password",
     "$select=signInActivity", "$filter=jobTitle eq 'x'", "$top=999"],
)  # fmt: skip
def test_queries_that_can_be(directory: Directory, query: str) -> None:
    """Names in any case, paths, extensions and every published property of the type are taken."""
    assert directory("GET", f"beta/users?{quote(query, safe='$=&')}").status == 200


@pytest.mark.parametrize(
    ("path", "select", "shown"),
    [("users/{bob}", "signInActivity,imAddresses", {"signInActivity": None, "imAddresses": []}),
     ("users/{bob}", "SKILLS", {"skills": []}),
     ("groups/{inner}", "classification", {"classification": None})],
)  # fmt: skip
def test_selected_properties_are_shown(directory: Directory, path: str, select: str, shown: dict[str, object]) -> None:
    """A property that $select names is in the answer, null or empty where nobody has set it."""
    one = directory("GET", f"beta/{path}?$select={select}").body
    assert {name: value for name, value in one.items() if "@" not in name} == shown
    collection = path.rpartition("/")[0]
    for item in directory("GET", f"beta/{collection}?$select={select}").body["value"]:
        assert {name: value for name, value in item.items() if "@" not in name} == shown


def test_members_show_the_properties_of_their_types(directory: Directory) -> None:
    """A collection of directory objects takes names of any of their types."""
    page = directory("GET", "v1.0/groups/{outer}/members?$select=id,userPrincipalName,deviceId,groupTypes")
    assert page.ids() == {directory.inner, directory.ann, directory.device}


@pytest.mark.parametrize(
    ("value", "status"), [("refuse", 400), ("ignore", 200)]
)  # fmt: skip
def test_names_of_open_types(value: str, status: int) -> None:
    """The switch open_type_names refuses an unknown name in $select on the directory, or passes over it."""
    directory = Directory(open_type_names=value)
    assert directory("GET", "v1.0/users?$select=id,shoeSize").status == status
    assert directory("GET", "v1.0/deviceManagement/managedDevices?$select=id,shoeSize").status == 400
    directory.cloud.close()


@pytest.mark.parametrize(("value", "status"), [("refuse", 400), ("advanced", 200)])
def test_contains(value: str, status: int) -> None:
    """The switch directory_contains refuses contains on directory objects, or serves it as an advanced query."""
    directory = Directory(directory_contains=value)
    address = "v1.0/users?$filter=contains(displayName,'ann')"
    assert directory("GET", address).error == (400, UNSUPPORTED, "Unsupported Query.")
    assert directory("GET", f"{address}&$count=true", headers=EVENTUAL).status == status
    directory.cloud.close()


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/json", 415), ("application/json;odata.metadata=none", 415), ("text/plain", 200), ("*/*", 200),
     ("application/json, text/plain, */*", 200), ("", 200)],
)  # fmt: skip
def test_counts_are_text(directory: Directory, accept: str, status: int) -> None:
    """A `$count` segment is refused with 415 when nothing but JSON is accepted."""
    assert directory("GET", "v1.0/users/$count", headers={**EVENTUAL, "accept": accept}).status == status


def test_counts_are_filtered(directory: Directory) -> None:
    """A `$count` segment with the header is an advanced query by itself."""
    address = "v1.0/users/$count?$filter=endsWith(userPrincipalName,'bob@pfxlab.example')"
    assert directory("GET", address, headers=EVENTUAL).text == "1"


def test_expand_puts_members_in_place(directory: Directory) -> None:
    """$expand shows a group's members in a list of groups and in one, and a $select in parentheses cuts them down."""
    one = directory("GET", "v1.0/groups/{outer}?$select=displayName&$expand=members($select=id,displayName)").body
    assert {name for name in one if "@" not in name} == {"displayName", "members"}
    assert {item["id"] for item in one["members"]} == {directory.inner, directory.ann, directory.device}
    assert all(set(item) <= {"@odata.type", "id", "displayName"} for item in one["members"])
    listed = directory("GET", "v1.0/groups?$expand=members").body["value"]
    assert {item["id"] for group in listed if group["id"] == directory.inner for item in group["members"]} == {
        directory.bob
    }


def test_expand_shows_twenty(directory: Directory) -> None:
    """$expand shows no more than 20 objects."""
    cloud, made = directory.cloud, directory.made
    big = "55555555-2222-4333-8444-555555555555"
    cloud.directory.add_group(big, made.tenant_id, "Big", "2026-03-01T08:00:00.000000Z")
    for number in range(25):
        name = f"many{number}@pfxlab.example"
        row = {"id": cloud.chance.guid(), "tenant_id": made.tenant_id, "user_principal_name": name, "display_name": name,
               "mail": name, "created": "2026-01-01T00:00:00.000000Z"}  # fmt: skip
        cloud.directory.add_user(row)
        cloud.directory.add_member(big, row["id"])
    assert len(directory("GET", f"v1.0/groups/{big}?$expand=members").body["members"]) == 20
    assert len(directory("GET", f"v1.0/groups/{big}/members").body["value"]) == 25


def test_expand_memberships(directory: Directory) -> None:
    """$expand=memberOf shows a user's groups and roles; what the caller may not read bears its id alone."""
    user = directory("GET", "v1.0/users/{bob}?$expand=memberOf").body
    assert [group["id"] for group in user["memberOf"]] == [directory.inner]
    user = directory("GET", "v1.0/users/{bob}?$expand=memberOf", permissions=["User.Read.All"]).body
    assert [group["displayName"] for group in user["memberOf"]] == [None]
