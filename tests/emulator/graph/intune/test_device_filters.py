"""$filter on managed devices by what tools sort devices by. Source: sources.md#managed-device-enumerations."""

from dataclasses import replace
from urllib.parse import quote

import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import admin

DEVICES = "/beta/deviceManagement/managedDevices"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("complianceState eq 'compliant'", ["ios", "windows"]),
        ("complianceState eq 'noncompliant'", []),
        ("managedDeviceOwnerType eq 'company'", ["windows"]),
        ("managedDeviceOwnerType eq 'personal'", ["ios"]),
        ("ownerType eq 'personal' and operatingSystem eq 'iOS'", ["ios"]),
        ("managementAgent eq 'mdm'", ["ios", "windows"]),
        ("managementAgent eq 'easMdm'", []),
        ("deviceEnrollmentType eq 'userEnrollment'", ["ios", "windows"]),
        ("deviceRegistrationState eq 'registered'", ["ios", "windows"]),
        ("manufacturer eq 'Apple'", ["ios"]),
    ],
)
async def test_devices_are_filtered_by_state_and_owner(lab: Lab, text: str, found: list[str]) -> None:
    """Devices are found by their compliance, owner, agent and enrolment, each as the device shows it."""
    ids = {}
    for platform in ("ios", "windows"):
        device = await lab.device(platform, lab.operator.credentials.user_upn)
        ids[device.identity.device_id] = platform
        stored = lab.cloud.devices.get(device.identity.device_id)
        assert stored is not None
        if platform == "ios":
            lab.cloud.devices.save(replace(stored, owner_type="personal"))
    reply = await (await admin(lab))("GET", f"{DEVICES}?$filter={quote(text)}")
    assert reply.status == 200, reply.text
    assert sorted(ids[one["id"]] for one in reply.json["value"]) == found
    owners = {"ios": "personal", "windows": "company"}
    for one in reply.json["value"]:
        assert one["managedDeviceOwnerType"] == one["ownerType"] == owners[ids[one["id"]]]
