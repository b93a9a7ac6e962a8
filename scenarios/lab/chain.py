"""Steps of the delivery chain through Graph: import a record, create and assign a profile, wait for the connector."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from pfxlab.connector_sim.cmdlets import EncryptionKey, GraphClient, new_user_pfx_certificate
from pfxlab.connector_sim.pfx import Pfx
from pfxlab.device_sim.client import Device
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios.lab.lab import Lab

PROFILES: Final = "/beta/deviceManagement/deviceConfigurations"
_AT_WORK: Final = (State.REQUESTED, State.LEASED)


async def import_pfx(
    client: GraphClient,
    pfx: Pfx,
    password: str,
    upn: str,
    purpose: IntendedPurpose,
    key: EncryptionKey,
    scheme: PaddingScheme,
) -> dict[str, Any]:
    """Encrypt the password to the connector's key and import the record; return Graph's entity."""
    record = new_user_pfx_certificate(pfx, password, upn, purpose, key, scheme)
    return await client.import_user_pfx_certificate(record)


def profile_name(platform: str, purpose: IntendedPurpose) -> str:
    """Return what `assign_profile` calls a profile."""
    return f"Imported PKCS, {platform}, {purpose.name}"


def profile_body(name: str, platform: str, purpose: str) -> dict[str, str]:
    """Return Graph's entity for an imported-PFX profile."""
    body = {"@odata.type": PLATFORMS[platform].profile_type, "displayName": name, "intendedPurpose": purpose}
    if platform == "windows":
        body["keyStorageProvider"] = "useTpmKspOtherwiseUseSoftwareKsp"
    return body


async def assign_profile(client: GraphClient, platform: str, purpose: IntendedPurpose, group_id: str) -> str:
    """Create an imported-PFX profile for a platform and purpose, assign it to a group, return its id."""
    body = profile_body(profile_name(platform, purpose), platform, purpose.name)
    profile = await client.call("POST", PROFILES, body)
    target = {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": group_id}
    await client.call("POST", f"{PROFILES}/{profile['id']}/assign", {"assignments": [{"target": target}]})
    return str(profile["id"])


def deliveries_of(lab: Lab, devices: Sequence[Device]) -> list[Delivery]:
    """Return the deliveries of these devices."""
    return [d for device in devices for d in lab.cloud.deliveries.of_device(device.identity.device_id)]


async def wait_for_connector(lab: Lab, devices: Sequence[Device], seconds: float = 30) -> bool:
    """Wait until no delivery waits for the connector; return False on timeout."""
    for _ in range(int(seconds / 0.05)):
        if not any(d.state in _AT_WORK for d in deliveries_of(lab, devices)):
            return True
        await asyncio.sleep(0.05)
    return False
