"""What happens around a connector or devices under test: certificates are imported, the lab plays the other parties."""

import asyncio
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.cmdlets import COLLECTION, EncryptionKey
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios.conformance.stage import Stage
from pfxlab.scenarios.lab.lab import KEY_NAME

_USER = "mara@pfxlab.example"
_PADDINGS = (PaddingScheme.oaepSha256, PaddingScheme.oaepSha384, PaddingScheme.oaepSha512)
_MISSING, _FOREIGN = "KeyThatIsGone", "Foreign"


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - the tool makes it true, in a process of its own
        await asyncio.sleep(0.05)


def deliveries(stage: Stage) -> list[Delivery]:
    """Return every delivery of the lab."""
    cloud = stage.lab.cloud
    tenant = stage.lab.operator.credentials.tenant_id
    return [d for device in cloud.devices.of_tenant(tenant) for d in cloud.deliveries.of_device(device.id)]


def _sound(stage: Stage) -> list[Delivery]:
    bad = stage.facts.get("bad")
    return [d for d in deliveries(stage) if d.thumbprint != bad]


def all_delivered(stage: Stage) -> bool:
    """Return whether every device has confirmed every certificate that could be delivered to it."""
    mine = _sound(stage)
    return bool(mine) and all(d.state is State.INSTALLED for d in mine)


def all_removed(stage: Stage) -> bool:
    """Return whether every device had its certificate and has removed it."""
    mine = deliveries(stage)
    return bool(stage.facts.get("installed")) and bool(mine) and all(d.state is State.REMOVED for d in mine)


def all_failed(stage: Stage) -> bool:
    """Return whether every device reported a failed installation."""
    mine = deliveries(stage)
    return bool(mine) and all(d.state is State.FAILED for d in mine)


# A connector under test: the lab plays administrator and devices


async def deliver(stage: Stage) -> None:
    """Let a phone and a PC request three certificates, and install the connector's results."""
    await _connected(stage)
    await _furnish(stage)
    await _serve_devices(stage)
    # Nothing is due: the rule connector-polls counts how often the connector polls now.
    stage.facts["idle"] = stage.lab.cloud.wall.now()
    await asyncio.sleep(1.0)


async def deliver_with_missing_key(stage: Stage) -> None:
    """As `deliver`, with one more record, which names a key that does not exist."""
    await _connected(stage)
    stage.world.keys.add(_MISSING)
    await _furnish(stage, bad_key=_MISSING)
    stage.world.keys.remove(_MISSING)
    await _serve_devices(stage)
    stage.facts["expected"] = ("KeyNotFound", "ProviderUnknown")


async def deliver_with_wrong_key(stage: Stage) -> None:
    """As `deliver`, with one more record, whose password is encrypted to another key."""
    await _connected(stage)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    stage.world.keys.use(_FOREIGN, EncryptionKey(other, stage.lab.ksp.name, KEY_NAME))
    await _furnish(stage, bad_key=_FOREIGN)
    await _serve_devices(stage)
    stage.facts["expected"] = ("DecryptFailed",)


async def _connected(stage: Stage) -> None:
    cloud, tenant = stage.lab.cloud, stage.lab.operator.credentials.tenant_id
    await _until(lambda: bool(cloud.connectors.of_tenant(tenant)))


async def _furnish(stage: Stage, bad_key: str | None = None) -> None:
    world = stage.world
    for platform in ("ios", "windows"):
        await world.profiles.create(platform, platform, "smimeEncryption", ["Mail users"], [])
        await world.devices.enroll(platform, platform, _USER)
    for scheme in _PADDINGS:
        stage.furnish(_USER, name=scheme.name)
        await world.certificates.import_named(scheme.name, padding=scheme.name)
    if bad_key is not None:
        stage.facts["bad"] = stage.furnish(_USER, name="bad").thumbprint
        await world.certificates.import_named("bad", key=bad_key)


async def _serve_devices(stage: Stage) -> None:
    """Let the devices check in until the connector has completed their requests."""
    settled = (State.INSTALLED, State.FAILED)
    while not all(d.state in settled for d in deliveries(stage)):
        for device in list(stage.lab.devices.values()):
            await stage.lab.check_in(device)
        await asyncio.sleep(0.1)


# Devices under test: the lab plays administrator and connector


async def _enrolled(stage: Stage) -> str:
    """Wait until a device with a user enrols; return the user's name."""
    cloud, tenant = stage.lab.cloud, stage.lab.operator.credentials.tenant_id
    await stage.lab.start_connector()
    for platform in PLATFORMS:
        await stage.world.profiles.create(platform, platform, "smimeEncryption", ["Mail users"], [])
    await _until(lambda: any(device.user_id for device in cloud.devices.of_tenant(tenant)))
    device = next(device for device in cloud.devices.of_tenant(tenant) if device.user_id)
    user = cloud.directory.user(tenant, device.user_id)
    return "" if user is None else str(user["user_principal_name"])


async def let_install(stage: Stage) -> None:
    """Import a certificate for the user of the device that enrols, and wait until the device confirms it."""
    await stage.put_record(stage.furnish(await _enrolled(stage)))
    await _until(lambda: all_delivered(stage))


async def let_install_and_remove(stage: Stage) -> None:
    """As `let_install`, then delete the record and wait until the certificate is removed."""
    await let_install(stage)
    stage.facts["installed"] = True
    await stage.world.certificates.delete_records("mail")
    await _until(lambda: all_removed(stage))


async def let_fail(stage: Stage) -> None:
    """Import a PFX with a password that does not open it, and wait until the device reports it."""
    upn = await _enrolled(stage)
    stage.furnish(upn)
    stage.furnish(upn, name="other")
    other = stage.world.certificates.record("other")["encryptedPfxPassword"]
    await stage.world.administrator.call(
        "POST", COLLECTION, {**stage.world.certificates.record("mail"), "encryptedPfxPassword": other}
    )
    await _until(lambda: any(d.state in (State.FAILED, State.INSTALLED) for d in deliveries(stage)))
