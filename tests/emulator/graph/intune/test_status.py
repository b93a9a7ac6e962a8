"""Statuses, certificate states, groups and connector details over HTTP.

Expected values: sources.md#status-rows, sources.md#certificate-states, sources.md#groups, sources.md#connector-health.
"""

from typing import Any

import pytest

from pfxlab.emulator.graph.dispatch import build_router
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import CONFIGURATIONS, Raw, admin
from tests.end_to_end.test_life import bring, history, ready_lab, settle

__all__ = ["history"]
UPN = "user@pfxlab.example"


async def test_profile_shows_its_status(lab: Lab, history: Any) -> None:
    """Before the check-in everything is pending, afterwards compliant, in lists and overviews alike."""
    devices, (ios, windows) = await ready_lab(lab)
    await bring(lab, history[2])
    graph = await admin(lab)
    pending = (await graph("GET", f"{CONFIGURATIONS}/{ios}/deviceStatusOverview")).json
    assert (pending["pendingCount"], pending["successCount"]) == (1, 0)
    await settle(lab, devices)
    user = lab.cloud.directory.user(lab.operator.credentials.tenant_id, UPN)
    assert user is not None
    (row,) = (await graph("GET", f"{CONFIGURATIONS}/{windows}/deviceStatuses")).json["value"]
    assert row["id"] == f"{user['id']}_{windows}_{devices[1].identity.device_id}"
    assert (row["status"], row["complianceGracePeriodExpirationDateTime"]) == (
        "compliant",
        "9999-12-31T23:59:59.9999999Z",
    )
    (person,) = (await graph("GET", f"{CONFIGURATIONS}/{windows}/userStatuses")).json["value"]
    assert (person["devicesCount"], person["status"], person["userPrincipalName"]) == (1, "compliant", UPN)
    for name in ("deviceStatusOverview", "userStatusOverview"):
        assert (await graph("GET", f"{CONFIGURATIONS}/{ios}/{name}")).json["successCount"] == 1
    single = await graph("GET", f"{CONFIGURATIONS}/{windows}/deviceStatuses/{row['id']}")
    assert (single.status, single.code) == (400, "No method match route template")
    assert "with http verb GET for request /DeviceConfiguration_2311/" in single.message


async def test_certificate_states_need_the_cast(lab: Lab, history: Any) -> None:
    """Certificate states are read through the profile's type, never without it or through another."""
    devices, (ios, _) = await ready_lab(lab)
    await bring(lab, history[2])
    graph, name = await admin(lab), "managedDeviceCertificateStates"
    path = f"{CONFIGURATIONS}/{ios}/microsoft.graph.iosImportedPFXCertificateProfile/{name}"
    assert [s["certificateIssuanceState"] for s in (await graph("GET", path)).json["value"]] == ["requested"]
    await devices[0].check_in()
    assert await chain.wait_for_connector(lab, devices)
    assert [s["certificateIssuanceState"] for s in (await graph("GET", path)).json["value"]] == ["issued"]
    await settle(lab, devices)
    (state,) = (await graph("GET", path)).json["value"]
    assert (state["certificateIssuanceState"], state["devicePlatform"]) == ("installed", "iOS")
    assert state["certificateThumbprint"] in {identity.thumbprint for identity in devices[0].store.identities()}
    assert (await graph("GET", f"{CONFIGURATIONS}/{ios}/{name}")).status == 400
    other = f"{CONFIGURATIONS}/{ios}/microsoft.graph.windows10ImportedPFXCertificateProfile/{name}"
    assert (await graph("GET", other)).status == 404
    everything = await graph("GET", "/beta/deviceManagement/deviceConfigurationsAllManagedDeviceCertificateStates")
    assert [s["managedDeviceDisplayName"] for s in everything.json["value"]] == ["iPhone of user", "Windows PC of user"]


# sources.md#values-without-null; which values stand for "nothing known" is assumed.
NOTHING_KNOWN = {
    "certificateKeyUsage": "keyEncipherment", "certificateKeyLength": 0, "certificateValidityPeriod": 0,
    "certificateValidityPeriodUnits": "days", "certificateSubjectNameFormat": "commonName",
    "certificateSubjectAlternativeNameFormat": "none",
}  # fmt: skip


async def test_certificate_states_have_no_null_where_their_type_has_none(lab: Lab, history: Any) -> None:
    """What the cloud cannot know of a certificate has a value all the same where the published type has no null."""
    devices, (ios, _) = await ready_lab(lab)
    await bring(lab, history[2])
    await settle(lab, devices)
    graph = await admin(lab)
    path = f"{CONFIGURATIONS}/{ios}/microsoft.graph.iosImportedPFXCertificateProfile/managedDeviceCertificateStates"
    (state,) = (await graph("GET", path)).json["value"]
    assert {name: state[name] for name in NOTHING_KNOWN} == NOTHING_KNOWN
    assert (state["certificateIssuer"], state["certificateSerialNumber"]) == (None, None)
    path = "/beta/deviceManagement/deviceConfigurationsAllManagedDeviceCertificateStates"
    for row in (await graph("GET", path)).json["value"]:
        assert row["certificateRevokeStatusLastChangeDateTime"] == "0001-01-01T00:00:00Z"


async def test_expand_shows_assignments(lab: Lab) -> None:
    """$expand=assignments adds them with their context, for one and for all; another name is refused."""
    _, (ios, _) = await ready_lab(lab)
    graph = await admin(lab)
    one = (await graph("GET", f"{CONFIGURATIONS}/{ios}?$expand=assignments")).json
    assert one["@odata.context"].endswith("#deviceManagement/deviceConfigurations(assignments())/$entity")
    assert [a["target"]["groupId"] for a in one["assignments"]] == [lab.operator.credentials.group_id]
    listed = (await graph("GET", f"{CONFIGURATIONS}?$expand=assignments")).json["value"]
    assert [len(profile["assignments"]) for profile in listed] == [1, 1]
    for path in (f"{CONFIGURATIONS}/{ios}", CONFIGURATIONS):
        reply = await graph("GET", f"{path}?$select=displayName&$expand=assignments")
        item = reply.json["value"][0] if path == CONFIGURATIONS else reply.json
        assert {name for name in item if "@" not in name} == {"displayName", "assignments"}
    refused = await graph("GET", f"{CONFIGURATIONS}/{ios}?$expand=cheese")
    assert (refused.status, refused.code) == (400, "BadRequest")


async def test_group_membership_decides_delivery(lab: Lab, history: Any) -> None:
    """Removing the user from the group ends the delivery as its platform does; adding the user again repeats it."""
    devices, _ = await ready_lab(lab)
    await bring(lab, history[2])
    await settle(lab, devices)
    graph, group = await admin(lab), f"/beta/groups/{lab.operator.credentials.group_id}"
    (user,) = (await graph("GET", f"{group}/members")).json["value"]
    assert (await graph("DELETE", f"{group}/members/{user['id']}/$ref")).status == 204
    assert {str(state) for state in await settle(lab, devices)} == {"removed", "left"}
    reference = {"@odata.id": f"{graph.origin}/beta/directoryObjects/{user['id']}"}
    assert (await graph("POST", f"{group}/members/$ref", reference)).status == 204
    assert {str(state) for state in await settle(lab, devices)} == {"installed"}
    by_name = {"@odata.id": f"{graph.origin}/v1.0/users/{UPN.upper()}"}
    assert (await graph("POST", f"{group}/members/$ref", by_name)).status == 400
    again = await graph("POST", f"{group}/members/$ref", reference)
    assert (again.status, again.code) == (400, "Request_BadRequest")
    unknown = {"@odata.id": f"{graph.origin}/beta/directoryObjects/{lab.operator.credentials.tenant_id}"}
    assert (await graph("POST", f"{group}/members/$ref", unknown)).status == 404
    assert (await graph("DELETE", f"{group}/members/nobody/$ref")).status == 404


async def test_members_of_member_groups_are_transitive(lab: Lab) -> None:
    """Members show direct ones of every kind, transitiveMembers those of member groups too, the cast users only."""
    cloud, made = lab.cloud, lab.operator.credentials
    outer = "aaaaaaaa-2222-4333-8444-555555555555"
    cloud.directory.add_group(outer, made.tenant_id, "Everybody", "2026-01-01T00:00:00.000000Z")
    device = await lab.device("windows", UPN)
    for member in (made.group_id, device.identity.device_id):
        cloud.directory.add_member(outer, member)
    graph, path = await admin(lab), f"/beta/groups/{outer}"

    async def kinds(name: str) -> list[str]:
        return [item["@odata.type"].rpartition(".")[2] for item in (await graph("GET", f"{path}/{name}")).json["value"]]

    assert await kinds("members") == ["group", "device"]
    assert sorted(await kinds("transitiveMembers")) == ["device", "group", "user"]
    users = await graph("GET", f"/beta/groups/{made.group_id}/members/microsoft.graph.user")
    assert [user["userPrincipalName"] for user in users.json["value"]] == [UPN]
    assert (await graph("GET", f"{path}/members/$count")).status == 400
    counted = await graph("GET", f"{path}/members/$count", headers={"ConsistencyLevel": "eventual"})
    assert counted.text == "2"


async def test_counting_users_needs_consistency_level(lab: Lab) -> None:
    """Directory objects count with ConsistencyLevel: eventual only; without it the option is ignored, the segment refused."""
    graph, eventual = await admin(lab), {"ConsistencyLevel": "eventual"}
    assert "@odata.count" not in (await graph("GET", "/v1.0/users?$count=true")).json
    assert (await graph("GET", "/v1.0/users?$count=true", headers=eventual)).json["@odata.count"] == 2
    refused = await graph("GET", "/v1.0/users/$count")
    assert (refused.status, refused.code, refused.message) == (
        400,
        "Request_BadRequest",
        "$count is not currently supported.",
    )
    assert (await graph("GET", "/v1.0/users/$count", headers=eventual)).text == "2"


async def test_connector_details_have_the_connectors_id(lab: Lab) -> None:
    """The details of a connector are read with the id of the ndesConnector."""
    await lab.start_connector()
    graph = await admin(lab)
    (connector,) = (await graph("GET", "/beta/deviceManagement/ndesConnectors")).json["value"]
    path = "/beta/deviceManagement/certificateConnectorDetails"
    details = (await graph("GET", f"{path}/{connector['id']}")).json
    assert (details["machineName"], details["connectorName"]) == ("LAB-SERVER", connector["displayName"])
    assert len((await graph("GET", path)).json["value"]) == 1
    assert (await graph("GET", f"{path}/nothing")).status == 404


async def test_devices_of_a_user(lab: Lab) -> None:
    """Below a user, by id or name, managedDevices lists that user's devices; an unknown user gets 404."""
    device = await lab.device("ios", UPN)
    graph = await admin(lab)
    shown = (await graph("GET", f"/beta/users/{UPN}/managedDevices")).json["value"]
    assert [item["id"] for item in shown] == [device.identity.device_id]
    assert (await graph("GET", "/beta/users/nobody/managedDevices")).status == 404


@pytest.mark.parametrize("path", ["/v1.0/deviceManagement/deviceConfigurations"])
async def test_imported_types_are_not_in_v1(lab: Lab, path: str) -> None:
    """The v1.0 collection leaves the beta-only types out."""
    await ready_lab(lab)
    assert (await (await admin(lab))("GET", path)).json["value"] == []


async def test_reading_needs_the_permission_of_each_route(lab: Lab) -> None:
    """An application without any Intune permission is refused on every Intune route the router has."""
    made = lab.operator.credentials
    async with lab.graph() as client:
        form = {"client_id": made.limited_client_id, "client_secret": made.limited_client_secret}
        limited = Raw(lab, await client.sign_in({"grant_type": "client_credentials", **form}))
    intune = [(m, t, r) for m, t, r in build_router().table if r.permissions.service is not None]
    assert len(intune) > 25
    for method, template, route in intune:
        reply = await limited(method, f"/{route.versions[0]}/{template.replace('{}', 'x')}")
        assert (reply.status, reply.code) == (403, "Forbidden"), template
