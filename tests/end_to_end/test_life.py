"""The life of a delivered certificate, and of one whose lab dies during delivery."""

import asyncio
import base64
import json
import signal
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.cmdlets import COLLECTION, EncryptionKey, GraphClient, new_user_pfx_certificate
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.omadm.pfx_cert_install import Behaviour
from pfxlab.device_sim.omadm.windows import WindowsDevice
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import DataUnusable, Lab
from pfxlab.scenarios.mail.authority import MailAuthority, MailCertificate
from tests.behaviour import behaviour
from tests.clients.test_official_sdk import start, stop
from tests.conftest import new_lab
from tests.end_to_end.test_connector_faults import until

UPN = "user@pfxlab.example"


@pytest.fixture(scope="module")
def history() -> list[MailCertificate]:
    """Return three encryption certificates and one for signing."""
    return MailAuthority(datetime.now(UTC)).history(UPN)


async def bring(lab: Lab, made: MailCertificate) -> str:
    """Import a certificate and return the record's id."""
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        pfx = open_pfx(made.pfx, made.password)
        key = lab.encryption_key()
        entity = await chain.import_pfx(client, pfx, made.password, UPN, made.purpose, key, made.padding)
        return str(entity["id"])


async def call(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    """Send one request as the administrator."""
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        return await client.call(method, path, body)


async def ready_lab(
    lab: Lab, purpose: IntendedPurpose = IntendedPurpose.smimeEncryption
) -> tuple[list[Device], list[str]]:
    """Return both devices and both profiles of a lab whose connector works."""
    await lab.start_connector()
    devices = [await lab.device(platform, UPN) for platform in ("ios", "windows")]
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        group = lab.operator.credentials.group_id
        profiles = [await chain.assign_profile(client, platform, purpose, group) for platform in ("ios", "windows")]
    return devices, profiles


async def settle(lab: Lab, devices: list[Device]) -> list[State]:
    """Let devices and connector work until nothing is left; return the states of all deliveries."""
    for _ in range(4):
        for device in devices:
            await device.check_in()
        assert await chain.wait_for_connector(lab, devices)
    return [delivery.state for delivery in chain.deliveries_of(lab, devices)]


def held(device: Device) -> list[str]:
    """Return the thumbprints in a device's store."""
    return sorted(identity.thumbprint for identity in device.store.identities())


@behaviour("profile unassigned", "iOS", "removed at the next check-in", source="removal")
@behaviour("profile unassigned", "Windows", "stays (switch `unassigned`)", source="removal")
async def test_unassigned_profile_is_taken_back(lab: Lab, history: list[MailCertificate]) -> None:
    """Without assignment the certificate leaves the iPhone and stays on the PC; assigned again, both have it."""
    devices, profiles = await ready_lab(lab)
    await bring(lab, history[2])
    assert await settle(lab, devices) == [State.INSTALLED, State.INSTALLED]
    for profile in profiles:
        await call(lab, "POST", f"{chain.PROFILES}/{profile}/assign", {"assignments": []})
    assert await settle(lab, devices) == [State.REMOVED, State.LEFT]
    assert [len(held(device)) for device in devices] == [0, 1]
    target = {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}
    for profile in profiles:
        await call(lab, "POST", f"{chain.PROFILES}/{profile}/assign", {"assignments": [{"target": target}]})
    assert await settle(lab, devices) == [State.INSTALLED, State.INSTALLED]


async def test_every_platform_removes_by_switch(lab: Lab, history: list[MailCertificate]) -> None:
    """With the switch for the other page of the documentation an unassigned certificate leaves the PC as well."""
    devices, profiles = await ready_lab(lab)
    await bring(lab, history[2])
    await settle(lab, devices)
    with lab.switched(unassigned="removed"):
        for profile in profiles:
            await call(lab, "POST", f"{chain.PROFILES}/{profile}/assign", {"assignments": []})
        assert await settle(lab, devices) == [State.REMOVED, State.REMOVED]
    assert [held(device) for device in devices] == [[], []]


@behaviour("record deleted in Graph", "iOS", "removed at the next check-in", source="deleted-records")
@behaviour("record deleted in Graph", "Windows", "removed at the next check-in", source="deleted-records")
async def test_deleted_record_is_taken_back(lab: Lab, history: list[MailCertificate]) -> None:
    """When the imported record is deleted, certificate and key leave both devices at their next check-in."""
    devices, _ = await ready_lab(lab)
    record = await bring(lab, history[2])
    await settle(lab, devices)
    await call(lab, "DELETE", f"{COLLECTION}/{record}")
    assert await settle(lab, devices) == [State.REMOVED, State.REMOVED]
    assert [held(device) for device in devices] == [[], []]


async def test_interrupted_redelivery_leaves_nothing(lab: Lab, history: list[MailCertificate]) -> None:
    """A record changed and then deleted is removed from both devices, although its new delivery had begun."""
    devices, _ = await ready_lab(lab)
    record = await bring(lab, history[2])
    await settle(lab, devices)
    blob = base64.b64encode(history[1].pfx).decode()
    await call(lab, "PATCH", f"{COLLECTION}/{record}", {"encryptedPfxBlob": blob})
    assert {delivery.state for delivery in chain.deliveries_of(lab, devices)} == {State.WANTED}
    await call(lab, "DELETE", f"{COLLECTION}/{record}")
    assert await settle(lab, devices) == [State.REMOVED, State.REMOVED]
    assert [held(device) for device in devices] == [[], []]


async def test_unchanged_patch_does_not_redeliver(lab: Lab, history: list[MailCertificate]) -> None:
    """A PATCH that changes nothing a device would see leaves installed certificates alone."""
    devices, _ = await ready_lab(lab)
    record = await bring(lab, history[2])
    await settle(lab, devices)
    await call(lab, "PATCH", f"{COLLECTION}/{record}", {"keyName": "PFXLabKey"})
    assert {delivery.state for delivery in chain.deliveries_of(lab, devices)} == {State.INSTALLED}


async def test_wrong_thumbprint_ends_with_the_reason(lab: Lab, history: list[MailCertificate]) -> None:
    """A record whose thumbprint is not its certificate's fails on both platforms instead of being sent for ever."""
    devices, _ = await ready_lab(lab)
    made = history[2]
    pfx = open_pfx(made.pfx, made.password)
    body = new_user_pfx_certificate(pfx, made.password, UPN, made.purpose, lab.encryption_key())
    await call(lab, "POST", COLLECTION, {**body, "thumbprint": f"{pfx.thumbprint}-enc"})
    assert await settle(lab, devices) == [State.FAILED, State.FAILED]
    reasons = [delivery.reason or "" for delivery in chain.deliveries_of(lab, devices)]
    assert "no identity with thumbprint" in reasons[0]
    assert f"the device holds {pfx.thumbprint}, the record says {pfx.thumbprint}-enc" in reasons[1]


async def test_unreadable_key_does_not_stop_the_connector(lab: Lab, history: list[MailCertificate]) -> None:
    """A key file that cannot be read fails the requests with that reason; the connector continues."""
    devices, _ = await ready_lab(lab)
    path = lab.ksp.path("PFXLabKey")
    aside = path.rename(path.with_suffix(".aside"))
    path.mkdir()
    await bring(lab, history[2])
    for device in devices:
        await device.check_in()
    await until(lambda: all("got a folder" in (d.reason or "") for d in chain.deliveries_of(lab, devices)))
    path.rmdir()
    aside.rename(path)
    lab.clock.advance(timedelta(seconds=31))
    assert await settle(lab, devices) == [State.INSTALLED, State.INSTALLED]


async def test_checked_out_phone_is_forgotten(lab: Lab, history: list[MailCertificate]) -> None:
    """After CheckOut a phone is no longer managed, gets nothing, and its identity is refused."""
    devices, _ = await ready_lab(lab)
    phone = devices[0]
    await bring(lab, history[2])
    await settle(lab, devices)
    message = mdm.serialize({"MessageType": "CheckOut", "UDID": phone.hardware.udid})
    tls = phone.identity.tls(lab.emulator.tls.ca_pem)
    async with aiohttp.ClientSession(lab.emulator.origin) as session:
        async with session.put(APPLE_CHECKIN_PATH, data=message, ssl=tls) as response:
            assert response.status == 200
        async with session.put(APPLE_COMMAND_PATH, data=message, ssl=tls) as response:
            assert response.status == 401
    managed = (await call(lab, "GET", "/beta/deviceManagement/managedDevices"))["value"]
    assert [device["operatingSystem"] for device in managed] == ["Windows"]


async def test_repeated_message_gets_the_same_answer(lab: Lab, history: list[MailCertificate]) -> None:
    """A PC that lost a response repeats its message and receives the same commands again."""
    devices, _ = await ready_lab(lab)
    pc = devices[1]
    assert isinstance(pc, WindowsDevice)
    await bring(lab, history[2])
    await pc.check_in()
    assert await chain.wait_for_connector(lab, [pc])
    tls = pc.identity.tls(lab.emulator.tls.ca_pem)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        first = pc._first_message(pushed=False)
        answer = await pc._post(http, first)
        missing = await pc._answer(first, answer)
        assert missing is not None
        install = await pc._post(http, missing)
        assert await pc._post(http, missing) == install
    assert "Atomic" in [type(command).__name__ for command in install.commands]


async def test_stopping_does_not_wait_for_a_long_poll(tmp_path: Path) -> None:
    """A lab with a connector in the middle of a long poll stops within seconds."""
    lab = new_lab(tmp_path)
    await lab.start()
    await lab.start_connector()
    await asyncio.sleep(0.3)
    connector, lab.connector = lab.connector, None
    begin = time.monotonic()
    await lab.stop()
    assert time.monotonic() - begin < 9
    assert connector is not None
    await connector.stop()


async def test_folder_serves_one_lab_at_a_time(lab: Lab) -> None:
    """A second lab over the same folder is refused, and may start once the first has stopped."""
    with pytest.raises(DataUnusable, match="another lab is using"):
        Lab(lab.folder)


@pytest.mark.parametrize(
    ("file", "said"),
    [("cloud/cloud.db", "database"), ("operator/credentials.json", "delete that file to get new ones")],
)
async def test_damaged_folder_is_reported(tmp_path: Path, file: str, said: str) -> None:
    """A data folder with a damaged file is refused with the reason, and nothing in it changes."""
    async with new_lab(tmp_path):
        pass
    (tmp_path / file).write_bytes(b"rubbish" * 300)
    with pytest.raises(DataUnusable, match=said):
        new_lab(tmp_path)
    assert (tmp_path / file).read_bytes() == b"rubbish" * 300


@behaviour("removed by the user", "Windows", "delivered again", source="removal")
@behaviour("removed by the user", "iOS", "delivered again", source="removal")
async def test_certificate_removed_by_hand_is_delivered_again(lab: Lab, history: list[MailCertificate]) -> None:
    """A certificate its user deletes on the device is delivered again, the same one."""
    devices, _ = await ready_lab(lab)
    await bring(lab, history[2])
    await settle(lab, devices)
    before = [held(device) for device in devices]
    iphone, pc = devices
    assert isinstance(iphone, AppleDevice)
    assert isinstance(pc, WindowsDevice)
    for identity in iphone.store.identities():
        iphone.store.remove(identity.source)
    iphone.profiles.clear()
    pc.csp.tree.clear()
    for identity in pc.store.identities():
        pc.store.remove(identity.source)
    assert await settle(lab, devices) == [State.INSTALLED, State.INSTALLED]
    assert [held(device) for device in devices] == before != [[], []]


async def test_newer_signing_certificate_replaces_the_older(lab: Lab, history: list[MailCertificate]) -> None:
    """Of two signing certificates the devices keep only the one that starts later."""
    devices, _ = await ready_lab(lab, IntendedPurpose.smimeSigning)
    older, newer = sorted(history[1:3], key=lambda made: made.certificate.not_valid_before_utc)
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        for made in (older, newer):
            pfx, purpose = open_pfx(made.pfx, made.password), IntendedPurpose.smimeSigning
            key = lab.encryption_key()
            await chain.import_pfx(client, pfx, made.password, UPN, purpose, key, PaddingScheme.oaepSha256)
            await settle(lab, devices)
    wanted = [open_pfx(newer.pfx, newer.password).thumbprint]
    assert [held(device) for device in devices] == [wanted, wanted]


@behaviour("no user signed in", "Windows", "LoginStatus none: user certificates wait", source="csp-scope")
async def test_user_not_signed_in_gets_nothing_yet(lab: Lab, history: list[MailCertificate]) -> None:
    """A PC without a signed-in user receives no user certificate; once the user is there it does."""
    devices, _ = await ready_lab(lab)
    pc = devices[1]
    assert isinstance(pc, WindowsDevice)
    pc.user_active = False
    await bring(lab, history[2])
    assert await settle(lab, [pc]) == [State.WANTED]
    pc.user_active = True
    assert await settle(lab, [pc]) == [State.INSTALLED]


async def test_failed_delivery_is_tried_again_on_sync(lab: Lab, history: list[MailCertificate]) -> None:
    """After the administrator's Sync a failed delivery is requested again and arrives."""
    devices, _ = await ready_lab(lab)
    pc = devices[1]
    assert isinstance(pc, WindowsDevice)
    pc.csp.behaviour = Behaviour(tpm=False)
    profiles = (await call(lab, "GET", chain.PROFILES))["value"]
    windows = next(p for p in profiles if "windows" in p["@odata.type"])
    strict = {"@odata.type": windows["@odata.type"], "keyStorageProvider": "useTpmKspOtherwiseFail"}
    await call(lab, "PATCH", f"{chain.PROFILES}/{windows['id']}", strict)
    await bring(lab, history[2])
    assert await settle(lab, [pc]) == [State.FAILED]
    (row,) = (await call(lab, "GET", f"{chain.PROFILES}/{windows['id']}/deviceStatuses"))["value"]
    assert (row["status"], row["userPrincipalName"]) == ("error", UPN)
    (failed,) = chain.deliveries_of(lab, [pc])
    assert "TBS_E_TPM_NOT_FOUND" in (failed.reason or "")
    pc.csp.behaviour = Behaviour()
    await call(lab, "POST", f"/beta/deviceManagement/managedDevices/{pc.identity.device_id}/syncDevice")
    assert await settle(lab, [pc]) == [State.INSTALLED]


async def test_devices_remember_over_restarts(tmp_path: Path, history: list[MailCertificate]) -> None:
    """After a restart of the whole lab nothing is delivered twice: stores, nodes and profiles persist."""
    async with new_lab(tmp_path) as lab:
        devices, _ = await ready_lab(lab)
        await bring(lab, history[2])
        await settle(lab, devices)
        before = [held(device) for device in devices]
    async with new_lab(tmp_path) as again:
        await again.start_connector()
        devices = [await again.device(platform, UPN) for platform in ("ios", "windows")]
        assert [held(device) for device in devices] == before != [[], []]
        assert await settle(again, devices) == [State.INSTALLED, State.INSTALLED]
        events = [entry.event for entry in again.cloud.journal.entries()]
        assert events.count("delivery sent to device") == 2


async def statuses(facts: dict[str, Any]) -> list[str]:
    """Return the status of every device under every profile, over Graph."""
    async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
        await client.sign_in({"grant_type": "client_credentials", **facts["application"]})
        found = []
        for profile in (await client.call("GET", chain.PROFILES))["value"]:
            rows = await client.call("GET", f"{chain.PROFILES}/{profile['id']}/deviceStatuses")
            found += [row["status"] for row in rows["value"]]
        return found


async def import_over_graph(facts: dict[str, Any], made: MailCertificate) -> None:
    """Import a certificate into a lab in another process and assign profiles for it."""
    key = serialization.load_pem_public_key(Path(facts["connector_public_key_file"]).read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    to = EncryptionKey(key, facts["provider_name"], facts["key_name"])
    async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
        await client.sign_in({"grant_type": "client_credentials", **facts["application"]})
        for platform in ("ios", "windows"):
            await chain.assign_profile(client, platform, made.purpose, facts["group_id"])
        pfx = open_pfx(made.pfx, made.password)
        await chain.import_pfx(client, pfx, made.password, facts["mail_user"]["upn"], made.purpose, to, made.padding)


@pytest.mark.parametrize("delay", [0.08, *(pytest.param(one, marks=pytest.mark.campaign) for one in (0.0, 0.2))])
def test_kill_between_import_and_delivery_loses_nothing(
    tmp_path: Path, history: list[MailCertificate], delay: float
) -> None:
    """A lab killed with SIGKILL after an import delivers it once it runs again, wherever the chain stood."""
    parts = ("--with", "connector,devices")
    process, facts = start(tmp_path, *parts)
    asyncio.run(import_over_graph(facts, history[2]))
    time.sleep(delay)
    stop(process, signal.SIGKILL)
    (tmp_path / "ready.json").unlink()
    process, facts = start(tmp_path, *parts)
    try:
        for _ in range(1200):
            if (found := asyncio.run(statuses(facts))) == ["compliant", "compliant"]:
                break
            time.sleep(0.1)
        assert found == ["compliant", "compliant"]
    finally:
        stop(process)


async def test_journal_is_behind_its_token(lab: Lab) -> None:
    """The control API shows the journal to the holder of its token only, and health to everybody."""
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    async with aiohttp.ClientSession(lab.emulator.origin) as session:
        async with session.get("/lab/v1/health", ssl=tls) as response:
            assert (await response.json())["status"] == "ok"
        async with session.get("/lab/v1/journal", ssl=tls) as response:
            assert response.status == 401
        headers = {"Authorization": f"Bearer {lab.emulator.control_token}"}
        await call(lab, "GET", "/beta/users")
        async with session.get("/lab/v1/journal?after=0", ssl=tls, headers=headers) as response:
            entries = (await response.json())["entries"]
            assert [entry["event"] for entry in entries] == ["token issued", "request"]
        async with session.get("/lab/v1/journal?after=x", ssl=tls, headers=headers) as response:
            assert response.status == 400
    assert json.dumps(entries).count("secret") == 0
