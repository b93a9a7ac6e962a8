"""users, groups, managedDevices and ndesConnectors over HTTP.

Expected values: sources.md#users, sources.md#groups, sources.md#managed-devices, sources.md#ndes-connectors.
"""

import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import admin


async def test_user_is_found_by_name_in_any_case(lab: Lab) -> None:
    """A user is found by filter, by id and by UPN in any case; a miss is an empty list, or 404 by key."""
    graph, upn = await admin(lab), lab.operator.credentials.user_upn
    (user,) = (await graph("GET", f"/beta/users?$filter=userPrincipalName%20eq%20'{upn.upper()}'")).json["value"]
    for key in (user["id"], upn, upn.upper()):
        assert (await graph("GET", f"/v1.0/users/{key}")).json["id"] == user["id"]
    assert (await graph("GET", "/beta/users?$filter=userPrincipalName%20eq%20'x'")).json["value"] == []
    missing = await graph("GET", "/beta/users/nobody")
    assert (missing.status, missing.code) == (404, "Request_ResourceNotFound")


async def test_select_cuts_down(lab: Lab) -> None:
    """$select returns only the named properties, and the context lists them."""
    graph = await admin(lab)
    shown = (await graph("GET", "/v1.0/users?$select=id,userPrincipalName&$top=1")).json
    assert [sorted(user) for user in shown["value"]] == [["id", "userPrincipalName"]]
    assert shown["@odata.context"].endswith("$metadata#users(id,userPrincipalName)")


async def test_group_shows_its_members(lab: Lab) -> None:
    """A group's members are listed with their type, as directory objects."""
    graph, made = await admin(lab), lab.operator.credentials
    assert (await graph("GET", f"/beta/groups/{made.group_id}")).json["displayName"] == "Mail users"
    shown = (await graph("GET", f"/beta/groups/{made.group_id}/members")).json
    assert [(m["@odata.type"], m["userPrincipalName"]) for m in shown["value"]] == [
        ("#microsoft.graph.user", made.user_upn)
    ]


async def test_filter_on_unknown_property_is_unsupported(lab: Lab) -> None:
    """A filter on a property the directory cannot filter is Request_UnsupportedQuery with its name."""
    reply = await (await admin(lab))("GET", "/v1.0/users?$filter=shoeSize%20eq%20'44'")
    assert (reply.status, reply.code) == (400, "Request_UnsupportedQuery")
    assert (
        reply.message
        == "Unsupported or invalid query filter clause specified for property 'shoeSize' of resource 'User'."
    )


async def test_connector_is_listed_active(lab: Lab) -> None:
    """An enrolled connector is listed under the lower-case path old scripts use, active, with its machine."""
    await lab.start_connector()
    shown = (await (await admin(lab))("GET", "/beta/deviceManagement/ndesconnectors")).json["value"]
    assert [(c["state"], c["machineName"]) for c in shown] == [("active", "LAB-SERVER")]


async def test_device_is_listed(lab: Lab) -> None:
    """An enrolled device is a managedDevice with its platform."""
    device = await lab.device("windows", lab.operator.credentials.user_upn)
    graph = await admin(lab)
    (shown,) = (await graph("GET", "/v1.0/deviceManagement/managedDevices")).json["value"]
    assert (shown["id"], shown["operatingSystem"]) == (device.identity.device_id, "Windows")
    again = await graph("GET", f"/v1.0/deviceManagement/managedDevices/{shown['id']}")
    assert again.json["deviceName"] == "Windows PC of user"


@pytest.mark.parametrize("path", ["managedDevices/nothing", "ndesConnectors/nothing"])
async def test_missing_entity_is_404_in_the_envelope(lab: Lab, path: str) -> None:
    """A missing device or connector gets Intune's 404."""
    reply = await (await admin(lab))("GET", f"/beta/deviceManagement/{path}")
    assert (reply.status, reply.code) == (404, "ResourceNotFound")
    assert reply.envelope["Message"].startswith("An error has occurred")
