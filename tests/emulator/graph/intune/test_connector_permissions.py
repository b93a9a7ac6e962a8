"""Who may rename a connector. Source: sources.md#connector-permissions."""

from typing import Any

import jwt
import pytest

from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.graph.dispatch import dispatch
from pfxlab.emulator.graph.request import Incoming
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.entra.test_entra import client_form, post_token

APP = "88888888-2222-4333-8444-555555555555"
PATH = "deviceManagement/ndesConnectors/77777777-2222-4333-8444-555555555555"


async def status(lab: Lab, method: str, role: str) -> int:
    """Return the status for an application that holds one permission; the connector does not exist."""
    token = str((await post_token(lab, **client_form(lab))).json["access_token"])
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    signed = signing_key_of(lab.cloud).sign({**claims, "roles": [role], "appid": APP})
    headers = {"authorization": f"Bearer {signed}", "content-type": "application/json"}
    body = b'{"displayName": "x"}'
    return dispatch(lab.cloud, Incoming(method, lab.emulator.origin, "beta", PATH, "", headers, body)).status


@pytest.mark.parametrize(
    ("method", "role", "expected"),
    [
        ("PATCH", "DeviceManagementServiceConfig.ReadWrite.All", 404),
        ("PATCH", "DeviceManagementConfiguration.ReadWrite.All", 404),
        ("PATCH", "DeviceManagementServiceConfig.Read.All", 403),
        ("PATCH", "DeviceManagementConfiguration.Read.All", 403),
        ("DELETE", "DeviceManagementServiceConfig.ReadWrite.All", 403),
        ("GET", "DeviceManagementServiceConfig.ReadWrite.All", 403),
    ],
)
async def test_who_may_rename_a_connector(lab: Lab, method: str, role: str, expected: int) -> None:
    """The permission of the page on updates, or that of the other methods, finds the connector; any other is refused."""
    assert await status(lab, method, role) == expected
