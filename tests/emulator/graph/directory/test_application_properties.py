"""What an application registration keeps: permissions of any resource, and the properties that tools set.

Expected values: sources.md#requested-permissions, sources.md#permission-ids.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.graph.directory.in_process import Directory

GRAPH = "00000003-0000-0000-c000-000000000000"
ACCESS = [
    {
        "resourceAppId": GRAPH,
        "resourceAccess": [
            {"id": "37f7f235-527c-4136-accd-4a02d197296e", "type": "Scope"},
            {"id": "7427e0e9-2fba-42fe-b0c0-848c9e6a8182", "type": "Scope"},
            {"id": "18a4783c-866b-4cc7-a460-3d5e5662c884", "type": "Role"},
            {"id": "9241abd9-d0e6-425a-bd4f-47ba86e767a4", "type": "Role"},
        ],
    },
    {
        "resourceAppId": "797f4846-ba00-4fd7-ba43-dac1f8f63013",
        "resourceAccess": [{"id": "41094075-9dad-400e-a0bd-54e686782033", "type": "Scope"}],
    },
]
"""openid, offline_access, Application.ReadWrite.OwnedBy, one that the lab serves; Azure's user_impersonation."""

KEPT: dict[str, Any] = {
    "tags": ["import"],
    "notes": "made by a test",
    "spa": {"redirectUris": ["https://localhost/spa"]},
    "api": {"requestedAccessTokenVersion": 2},
    "appRoles": [{"id": "11111111-2222-4333-8444-555555555555", "displayName": "Reader", "value": "Read",
                  "description": "reads", "isEnabled": True, "allowedMemberTypes": ["User"]}],
}  # fmt: skip


@pytest.fixture
def directory() -> Iterator[Directory]:
    """Return a directory of one test's own."""
    made = Directory()
    yield made
    made.cloud.close()


@pytest.mark.parametrize("verb", ["POST", "PATCH"])
def test_registrations_keep_what_they_are_given(directory: Directory, verb: str) -> None:
    """Permissions of any GUID and resource, tags, notes, roles and endpoints are shown as they were set."""
    body = {"displayName": "Tool", "requiredResourceAccess": ACCESS, **KEPT}
    made = directory("POST", "v1.0/applications", body if verb == "POST" else {"displayName": "Tool"})
    assert made.status == 201, made.text
    one = f"v1.0/applications/{made.body['id']}"
    if verb == "PATCH":
        assert directory("PATCH", one, {"requiredResourceAccess": ACCESS, **KEPT}).status == 204
    shown = directory("GET", one).body
    assert {name: shown[name] for name in KEPT} == KEPT
    assert shown["requiredResourceAccess"] == ACCESS
    principal = directory("POST", "v1.0/servicePrincipals", {"appId": shown["appId"]}).body
    assert principal["appRoles"] == KEPT["appRoles"]
    app = directory.cloud.directory.app(shown["appId"])
    assert app is not None
    assert app.requested_app_roles == ("DeviceManagementConfiguration.ReadWrite.All",)


def test_permissions_are_guids(directory: Directory) -> None:
    """A permission or resource that is no GUID is refused."""
    for resource, permission in (("x", ACCESS[1]["resourceAppId"]), (GRAPH, "User.Read.All")):
        access = [{"resourceAppId": resource, "resourceAccess": [{"id": permission, "type": "Role"}]}]
        reply = directory("POST", "v1.0/applications", {"displayName": "Tool", "requiredResourceAccess": access})
        assert (reply.status, reply.body["error"]["code"]) == (400, "Request_BadRequest")


def test_null_takes_away(directory: Directory) -> None:
    """A PATCH with null returns a property to what it was at first."""
    one = f"v1.0/applications/{directory('POST', 'v1.0/applications', {'displayName': 'T', **KEPT}).body['id']}"
    assert directory("PATCH", one, {"notes": None, "spa": None}).status == 204
    shown = directory("GET", one).body
    assert (shown["notes"], shown["spa"], shown["tags"]) == (None, {"redirectUris": []}, ["import"])
