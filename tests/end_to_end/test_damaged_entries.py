"""A damaged entry of a lab's folder is shown as such, by control API, admin centre and explanations; the rest goes on."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from pfxlab.emulator.lab.explain import explain
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import DataUnusable, Lab
from pfxlab.scenarios.mail.authority import MailCertificate
from tests.conftest import new_lab
from tests.device_sim.test_damaged_files import flip
from tests.emulator.admin.conftest import Browser
from tests.emulator.graph.client import Raw
from tests.end_to_end.test_connector_faults import until
from tests.end_to_end.test_life import UPN, bring, call, history

__all__ = ["history"]


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Return the folder of a lab with connector and devices, which has stopped."""
    async with opened(tmp_path / "lab"):
        pass
    return tmp_path / "lab"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Lab]:
    """Open a lab as `pfxlab up --with connector,devices` does."""
    lab = new_lab(folder)
    async with open_lab(lab, ("connector", "devices")):
        yield lab


async def damaged(lab: Lab) -> list[tuple[str, str]]:
    """Return kind and file of what the control API shows as damaged."""
    shown = (await Raw(lab, lab.emulator.control_token)("GET", "/lab/v1/damaged")).json["damaged"]
    assert all(one["problem"].startswith(f"{one['file']}: expected ") for one in shown)
    return [(one["kind"], one["file"]) for one in shown]


def why(lab: Lab, device: str) -> str:
    """Return the code of the first broken link on the way to a device."""
    (told,) = explain(lab.cloud, lab.operator.credentials.tenant_id, UPN, device)
    return "arrived" if told.broken is None else told.broken.code


async def deliver(lab: Lab, history: list[MailCertificate]) -> None:
    """Import a certificate and let every device have it."""
    group = lab.operator.credentials.group_id
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        for platform in ("ios", "macos", "windows"):
            await chain.assign_profile(client, platform, IntendedPurpose.smimeEncryption, group)
    await bring(lab, history[0])


async def overview(lab: Lab) -> str:
    """Return the first page of the admin centre, as an administrator sees it."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(lab.ca_file)))
    made = lab.operator.credentials
    async with aiohttp.ClientSession(lab.emulator.origin, connector=connector) as session:
        return (await Browser(lab, session).sign_in(made.operator_upn, made.operator_password))[1]


def states(lab: Lab) -> list[State]:
    """Return the states of the deliveries to the devices that work."""
    return [one.state for one in chain.deliveries_of(lab, list(lab.devices.values()))]


async def test_damaged_device_keeps_no_other_away(folder: Path, history: list[MailCertificate]) -> None:
    """A phone with a damaged file is shown and explained; Mac and PC get their certificates meanwhile."""
    (path,) = (folder / "devices").glob("ios-*/device.json")
    flip(path)
    async with opened(folder) as lab:
        assert await damaged(lab) == [("device", str(path))]
        assert sorted(one.hardware.platform for one in lab.devices.values()) == ["macos", "windows"]
        await deliver(lab, history)
        await until(lambda: states(lab) == [State.INSTALLED] * 2)
        phone = next(
            one for one in lab.cloud.devices.of_tenant(lab.operator.credentials.tenant_id) if one.platform == "ios"
        )
        assert why(lab, phone.id) == "DeviceDamaged"
        assert {why(lab, one.identity.device_id) for one in lab.devices.values()} == {"arrived"}
        assert f"{path}: expected" in await overview(lab)


async def test_damaged_connector_keeps_no_device_away(folder: Path, history: list[MailCertificate]) -> None:
    """A lab whose connector's key is damaged serves its devices, and says why nothing is re-encrypted."""
    (path,) = (folder / "connector").glob("connector-*.pem")
    flip(path)
    async with opened(folder) as lab:
        assert await damaged(lab) == [("connector", str(path))]
        assert len(lab.devices) == 3
        await deliver(lab, history)
        await until(lambda: states(lab) == [State.REQUESTED] * 3)
        lab.clock.advance(timedelta(hours=2))
        assert {why(lab, one.identity.device_id) for one in lab.devices.values()} == {"ConnectorDamaged"}
        path.unlink()
        await lab.start_connector()
        assert await damaged(lab) == []


@pytest.mark.parametrize("missing", [False, True])
async def test_damaged_key_is_not_replaced(folder: Path, history: list[MailCertificate], *, missing: bool) -> None:
    """A lab whose connector lost its PFX key keeps the public half, shows the loss, and imports fail at the connector."""
    (path,) = (folder / "connector" / "keys").glob("*.pem")
    exported = (folder / "operator" / "connector-public-key.pem").read_bytes()
    path.unlink() if missing else flip(path)
    async with opened(folder) as lab:
        assert await damaged(lab) == [("key", str(path))]
        assert lab.public_key_file.read_bytes() == exported
        await deliver(lab, history)
        code = "KeyNotFound" if missing else "KeyStoreError"
        await until(
            lambda: all((d.reason or "").startswith(code) for d in chain.deliveries_of(lab, [*lab.devices.values()]))
        )


async def test_damaged_certificate_is_installed_again(folder: Path, history: list[MailCertificate]) -> None:
    """A certificate whose file is damaged is shown, and comes back with the device's next check-ins."""
    async with opened(folder) as lab:
        await deliver(lab, history)
        await until(lambda: states(lab) == [State.INSTALLED] * 3)
    (path,) = (folder / "devices").glob("windows-*/store/*.pem")
    flip(path)
    async with opened(folder) as lab:
        device = next(one for one in lab.devices.values() if one.hardware.platform == "windows")
        for _ in range(3):
            await lab.check_in(device)
            await lab.connectors_work()
        assert [one.certificate for one in device.store.identities()] == [history[0].certificate]
        assert await damaged(lab) == []


async def test_lost_tenant_is_said(folder: Path) -> None:
    """A lab whose database lost everything is refused with the file; one that lost the tenant's record has it again."""
    lab = new_lab(folder)
    tenant = lab.operator.credentials.tenant_id
    lab.cloud.store.run("delete from tenants")
    await lab.stop()
    async with opened(folder) as lab:
        await call(lab, "GET", "/v1.0/users")
        assert [one["id"] for one in lab.cloud.directory.tenants()] == [tenant]
        lab.cloud.store.run("delete from tenants")
        lab.cloud.store.run("delete from users")
    with pytest.raises(
        DataUnusable, match=rf"cloud\.db: expected the database of the tenant .*, got one without the tenant {tenant}"
    ):
        Lab(folder)
