"""Routes of managed devices that the model has and Intune was seen to refuse. Source: sources.md#device-routes."""

from pathlib import Path
from typing import Any

import pytest

from pfxlab.emulator.config import Config, Switches
from tests.conftest import new_lab
from tests.emulator.graph.client import admin

CODE = "No method match route template"
SERVICE = "/DeviceFE/StatelessDeviceFEService"


@pytest.mark.parametrize("version", ["v1.0", "beta"])
@pytest.mark.parametrize(("switch", "status"), [("observed", 400), ("documented", 200)])
async def test_device_below_its_user(tmp_path: Path, switch: Any, status: int, version: str) -> None:
    """A device below its user and the count of devices are refused as users saw, and served with the switch (medium)."""
    async with new_lab(tmp_path, Config(switches=Switches(device_routes=switch))) as lab:
        device, graph = await lab.device("ios", lab.operator.credentials.user_upn), await admin(lab)
        upn, one = lab.operator.credentials.user_upn, device.identity.device_id
        below = await graph("GET", f"/{version}/users/{upn}/managedDevices/{one}")
        count = await graph("GET", f"/{version}/deviceManagement/managedDevices/$count")
        assert (below.status, count.status) == (status, status)
        if status == 200:
            assert (below.json["id"], count.text) == (one, "1")
            return
        assert below.json["error"]["code"] == count.json["error"]["code"] == CODE
        assert below.message == (
            "No OData route exists that match template ~/entityset/key/navigation/key with http verb GET "
            f"for request {SERVICE}/users('{upn}')/managedDevices('{one}')."
        )
        assert (await graph("GET", f"/{version}/users/{upn}/managedDevices")).json["value"][0]["id"] == one
        assert (await graph("GET", f"/{version}/deviceManagement/managedDevices/{one}")).status == 200
        assert (await graph("POST", f"/{version}/users/{upn}/managedDevices/{one}/syncDevice")).status == 204
