"""Assignment filters decide what devices get. Expected values: sources.md#filter-conflicts."""

from dataclasses import replace
from typing import Any

import pytest

from pfxlab.device_sim.client import Device
from pfxlab.emulator.intune.profiles import filter_properties, targeting_filter
from pfxlab.emulator.lab.explain import Link, explain
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import CONFIGURATIONS, Raw, admin
from tests.emulator.graph.intune.test_assignment_filters import FILTERS, new_filter
from tests.end_to_end.test_life import UPN, bring, history, ready_lab, settle

__all__ = ["history"]


async def assigned(lab: Lab, graph: Raw, profile: str, filter_id: str, mode: str) -> None:
    """Assign a profile to the lab's group through a filter."""
    target = {
        "@odata.type": "#microsoft.graph.groupAssignmentTarget",
        "groupId": lab.operator.credentials.group_id,
        "deviceAndAppManagementAssignmentFilterId": filter_id,
        "deviceAndAppManagementAssignmentFilterType": mode,
    }
    reply = await graph("POST", f"{CONFIGURATIONS}/{profile}/assign", {"assignments": [{"target": target}]})
    assert reply.status == 200, reply.text


def broken(lab: Lab, device: Device) -> Link | None:
    """Return the first broken link of the only certificate's path to a device."""
    (told,) = explain(lab.cloud, lab.operator.credentials.tenant_id, UPN, device.identity.device_id)
    return told.broken


async def test_excluded_device_gets_nothing_until_the_rule_changes(lab: Lab, history: Any) -> None:
    """A device that a filter excludes does not get the certificate, explain names the filter, and a new rule lets it in."""
    devices, (ios, _) = await ready_lab(lab)
    iphone, graph = devices[0], await admin(lab)
    name = lab.cloud.devices.get(iphone.identity.device_id)
    assert name is not None
    used = await new_filter(graph, displayName="not these", rule=f'(device.model -eq "{name.model.upper()}")')
    await assigned(lab, graph, ios, used, "exclude")
    await bring(lab, history[2])
    await settle(lab, devices)
    assert (len(iphone.store.identities()), len(devices[1].store.identities())) == (0, 1)
    link = broken(lab, iphone)
    assert link is not None
    assert (link.name, link.code) == ("assignment", "FilteredOut")
    assert "filter 'not these' matches the device" in link.evidence
    assert "mode exclude" in link.evidence
    reply = await graph("PATCH", f"{FILTERS}/{used}", {"rule": '(device.model -eq "something else")'})
    assert reply.status == 200
    await settle(lab, devices)
    assert len(iphone.store.identities()) == 1
    assert broken(lab, iphone) is None


async def test_device_enters_and_leaves_as_its_properties_change(lab: Lab, history: Any) -> None:
    """A device comes into an assignment with an include filter, and leaves it, at the check-in after a property changed."""
    devices, (ios, _) = await ready_lab(lab)
    iphone, graph = devices[0], await admin(lab)
    stored = lab.cloud.devices.get(iphone.identity.device_id)
    assert stored is not None
    used = await new_filter(graph, displayName="new ones", rule="(device.operatingSystemVersion -ge 99.1)")
    await assigned(lab, graph, ios, used, "include")
    await bring(lab, history[2])
    await settle(lab, devices)
    link = broken(lab, iphone)
    assert link is not None
    assert (link.code, len(iphone.store.identities())) == ("FilteredOut", 0)
    assert "filter 'new ones' does not match the device" in link.evidence
    lab.cloud.devices.save(replace(stored, os_version="99.1.2"))
    await settle(lab, devices)
    assert len(iphone.store.identities()) == 1
    lab.cloud.devices.save(replace(stored, os_version="99.0"))
    await settle(lab, devices)
    assert len(iphone.store.identities()) == 0


@pytest.mark.parametrize(
    ("platform", "names"),
    [
        ("ios", ["iOS"]),
        ("macos", ["macOS"]),
        ("windows", ["windows10AndLater"]),
        ("android", ["android"]),
        ("androidForWork", ["androidForWork", "androidWorkProfile"]),
        ("androidDeviceOwner", ["androidForWork"]),
    ],
)
async def test_platforms_of_filters(lab: Lab, platform: str, names: list[str]) -> None:
    """A filter is about the lab's devices of its own platform, and about no others."""
    assert platform in PLATFORMS
    graph, about = await admin(lab), []
    for name in ("iOS", "macOS", "windows10AndLater", "android", "androidForWork", "androidWorkProfile", "androidAOSP"):
        stored = lab.cloud.filters.get(lab.operator.credentials.tenant_id, await new_filter(graph, platform=name))
        assert stored is not None
        about += [name] if platform in targeting_filter(stored).platforms else []
    assert about == names


async def test_properties_that_filters_ask_about(lab: Lab) -> None:
    """A filter sees a device's name, maker, model, version and owner as the device told them."""
    device = await lab.device("windows", UPN)
    stored = lab.cloud.devices.get(device.identity.device_id)
    assert stored is not None
    hardware, seen = device.hardware, filter_properties(stored)
    assert (seen["manufacturer"], seen["model"]) == (hardware.manufacturer, hardware.model)
    assert seen["osversion"] == seen["operatingsystemversion"] == hardware.os_version
    assert (seen["devicename"], seen["deviceownership"]) == (stored.device_name, "Corporate")
    personal = filter_properties(replace(stored, owner_type="personal"))
    assert personal["deviceownership"] == "Personal"
