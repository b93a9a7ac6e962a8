"""MDM sessions: several messages, messages out of order, NotNow, lost responses, unenrolment."""

from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.device_sim.mailbox import CannotOpen, open_mail
from pfxlab.device_sim.omadm import mde2
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.device_sim.omadm.windows import WindowsDevice
from pfxlab.emulator.intune import omadm
from pfxlab.emulator.intune.apple_enrollment import profile_for
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.apple import enrollment, mdm
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.emulator.wire.omadm import syncml
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.mail.authority import MailAuthority, MailCertificate
from pfxlab.scenarios.mail.openssl import OpenSsl
from pfxlab.scenarios.mail.proofs import write_mail
from tests.behaviour import behaviour
from tests.end_to_end.test_life import UPN, bring, call, held, history, settle

__all__ = ["history"]

ENCRYPTION = IntendedPurpose.smimeEncryption
DEVICES = "/beta/deviceManagement/managedDevices"
ANDROIDS = ["android", "androidForWork", "androidDeviceOwner"]


async def one_device(lab: Lab, platform: str, certificates: list[MailCertificate]) -> Device:
    """Return an enrolled device that should have these certificates; the connector works."""
    await lab.start_connector()
    device = await lab.device(platform, UPN)
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        await chain.assign_profile(client, platform, ENCRYPTION, lab.operator.credentials.group_id)
    for made in certificates:
        await bring(lab, made)
    return device


async def states(lab: Lab, device: Device) -> list[State]:
    """Return the states of a device's deliveries after one check-in and the connector's work."""
    await device.check_in()
    assert await chain.wait_for_connector(lab, [device])
    return [delivery.state for delivery in chain.deliveries_of(lab, [device])]


async def test_large_delivery_takes_several_messages(
    lab: Lab, history: list[MailCertificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that do not fit into one message follow in the session's next ones, and all are installed."""
    monkeypatch.setattr(omadm, "_LARGEST_ANSWER", 5000)
    device = await one_device(lab, "windows", history[:3])
    await states(lab, device)
    assert await device.check_in() >= 4
    assert [d.state for d in chain.deliveries_of(lab, [device])] == [State.INSTALLED] * 3


async def _exchange(device: WindowsDevice, lab: Lab, *messages: syncml.Message) -> list[list[Any]]:
    tls = device.identity.tls(lab.emulator.tls.ca_pem)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        return [list((await device._post(http, message)).commands) for message in messages]


async def test_message_out_of_turn_ends_the_session_only(lab: Lab, history: list[MailCertificate]) -> None:
    """A message out of order, or of another device, is refused in the header; the delivery is not affected."""
    device = await one_device(lab, "windows", history[:1])
    assert isinstance(device, WindowsDevice)
    first = device._first_message(pushed=False)
    early = syncml.Message(first.session_id, "5", first.target, first.source, ())
    foreign = syncml.Message("77", "1", first.target, "another", ())
    _, too_early, of_another = await _exchange(device, lab, first, early, foreign)
    assert [(answer[0].code, answer[1].code) for answer in (too_early, of_another)] == [
        ("400", "1223"),
        ("401", "1223"),
    ]
    reasons = [entry.reason or "" for entry in lab.cloud.journal.entries() if entry.outcome == "refused"]
    assert "expected MsgID 2" in reasons[0]
    assert "expected Source" in reasons[1]
    assert await settle(lab, [device]) == [State.INSTALLED]


@behaviour(
    "device is locked", "iOS", "NotNow to commands that need keys; retries once unlocked", source="apple-not-now"
)
@behaviour("device is locked", "macOS", "the same while the keychain is locked", source="apple-not-now")
@pytest.mark.parametrize("platform", ["ios", "macos"])
async def test_locked_device_says_not_now(lab: Lab, history: list[MailCertificate], platform: str) -> None:
    """A locked device defers the profile without a failure; unlocked, it asks again and installs."""
    device = await one_device(lab, platform, history[:1])
    assert isinstance(device, AppleDevice)
    assert await states(lab, device) == [State.READY]
    device.locked = True
    assert await states(lab, device) == [State.OFFERED]
    assert device.put_off
    assert held(device) == []
    await device.unlock()
    assert [d.state for d in chain.deliveries_of(lab, [device])] == [State.INSTALLED]
    assert len(held(device)) == 1


async def test_lost_result_is_sent_again(
    lab: Lab, history: list[MailCertificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result without a response is sent again first, and the profile is not installed twice."""
    device = await one_device(lab, "ios", history[:1])
    assert isinstance(device, AppleDevice)
    await states(lab, device)
    put, executed = device._put, []
    execute = device.execute

    async def broken(http: Any, url: str, kind: str, message: Any) -> bytes:
        if message["Status"] == "Acknowledged":
            raise SessionFailed("no answer")
        return await put(http, url, kind, message)

    async def counted(body: bytes) -> Any:
        executed.append(body)
        return await execute(body)

    monkeypatch.setattr(device, "execute", counted)
    monkeypatch.setattr(device, "_put", broken)
    with pytest.raises(SessionFailed):
        await device.check_in()
    monkeypatch.setattr(device, "_put", put)
    await device.check_in()
    assert [b"InstallProfile" in body for body in executed] == [True, False]
    assert [d.state for d in chain.deliveries_of(lab, [device])] == [State.INSTALLED]


@behaviour(
    "how a PFX arrives", "Android", "the agent opens it and hands it to the key store", source="android-key-store"
)
@behaviour("profile unassigned", "Android", "removed", source="removal")
@pytest.mark.parametrize("platform", ANDROIDS)
async def test_android_installs_and_opens_old_mail(lab: Lab, history: list[MailCertificate], platform: str) -> None:
    """On each kind of Android management the agent installs, an old mail of OpenSSL's opens, unassigned it is removed."""
    device = await one_device(lab, platform, history[:2])
    assert await settle(lab, [device]) == [State.INSTALLED] * 2
    pfx = open_pfx(history[0].pfx, history[0].password)
    mail = await write_mail(OpenSsl(), "old", pfx.certificate, pfx.thumbprint, 0)
    plain, identity = open_mail(mail.mail, device.store)
    assert mail.text.strip() in plain
    assert identity.thumbprint == pfx.thumbprint
    (profile,) = (await call(lab, "GET", chain.PROFILES))["value"]
    await call(lab, "POST", f"{chain.PROFILES}/{profile['id']}/assign", {"assignments": []})
    assert await settle(lab, [device]) == [State.REMOVED] * 2
    with pytest.raises(CannotOpen):
        open_mail(mail.mail, device.store)
    shown = await call(lab, "GET", f"{DEVICES}/{device.identity.device_id}")
    assert shown["operatingSystem"] == "Android"


@behaviour(
    "user is asked", "Android", "device administrator only: a notification; declined is 1401", source="android-statuses"
)
async def test_device_administrator_asks_its_user(lab: Lab, history: list[MailCertificate]) -> None:
    """Under a device administrator nothing is settled until the user answers: accepted installs, declined fails."""
    device = await one_device(lab, "android", history[:1])
    assert isinstance(device, AndroidDevice)
    device.owner.user_answers = "later"
    await states(lab, device)
    assert await states(lab, device) == [State.OFFERED]
    await device.answer_notification("decline")
    assert await states(lab, device) == [State.FAILED]
    (delivery,) = chain.deliveries_of(lab, [device])
    assert (delivery.error_code, "the user declined" in (delivery.reason or "")) == (-2016344011, True)
    await call(lab, "POST", f"{DEVICES}/{device.identity.device_id}/syncDevice", {})
    device.owner.user_answers = "later"
    assert (await states(lab, device), await states(lab, device)) == ([State.READY], [State.OFFERED])
    await device.answer_notification("accept")
    assert await states(lab, device) == [State.INSTALLED]


@behaviour("no screen lock", "Android", "the agent may not install: 1404", source="android-statuses")
async def test_android_without_screen_lock(lab: Lab, history: list[MailCertificate]) -> None:
    """Without screen lock, or without access to the key store, the delivery fails with the portal's number for 1404."""
    device = await one_device(lab, "androidForWork", history[:1])
    assert isinstance(device, AndroidDevice)
    device.owner.screen_lock = False
    await states(lab, device)
    assert await states(lab, device) == [State.FAILED]
    assert [d.error_code for d in chain.deliveries_of(lab, [device])] == [-2016344008]


@behaviour("work profile paused", "Android", "its agent does not run", source="work-profile-paused")
async def test_paused_work_profile(lab: Lab, history: list[MailCertificate]) -> None:
    """A paused work profile does not check in, and continues when it is resumed."""
    device = await one_device(lab, "androidForWork", history[:1])
    assert isinstance(device, AndroidDevice)
    device.owner.work_profile_paused = True
    with pytest.raises(SessionFailed, match="paused"):
        await device.check_in()
    device.owner.work_profile_paused = False
    assert await settle(lab, [device]) == [State.INSTALLED]


@behaviour("wipe and retire", "Windows", "everything delivered is removed", source="removal")
@behaviour("wipe and retire", "iOS", "everything delivered is removed", source="removal")
@behaviour("wipe and retire", "macOS", "everything delivered is removed", source="removal")
@behaviour("wipe and retire", "Android", "everything delivered is removed", source="removal")
@pytest.mark.parametrize("action", ["wipe", "retire"])
@pytest.mark.parametrize("platform", ["windows", "ios", "macos", "androidForWork"])
async def test_administrator_wipes_and_retires(
    lab: Lab, history: list[MailCertificate], platform: str, action: str
) -> None:
    """A wipe or retire is pending until the check-in; then the device is empty and gone from Graph."""
    device = await one_device(lab, platform, history[:1])
    assert await settle(lab, [device]) == [State.INSTALLED]
    path = f"{DEVICES}/{device.identity.device_id}"
    await call(lab, "POST", f"{path}/{action}", {})
    assert (await call(lab, "GET", path))["managementState"] == f"{action}Pending"
    await device.check_in()
    assert (held(device), device.managed) == ([], False)
    assert (await call(lab, "GET", DEVICES))["value"] == []
    assert [d.state for d in chain.deliveries_of(lab, [device])] == [State.REMOVED]
    assert await device.check_in() == 0


@behaviour(
    "several users",
    "Windows",
    "each gets and sees its own certificates, by its token (AADUserToken)",
    source="user-tokens-in-sessions",
)
async def test_pc_of_several_users(lab: Lab, history: list[MailCertificate]) -> None:
    """A colleague who signs in on a PC gets only their own certificates there, and a wipe removes those of both users."""
    device = await one_device(lab, "windows", history[:1])
    assert isinstance(device, WindowsDevice)
    assert await settle(lab, [device]) == [State.INSTALLED]
    mine = held(device)
    colleague = "colleague@pfxlab.example"
    lab.add_user(colleague)
    made = MailAuthority(lab.clock.now()).history(colleague)[0]
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        pfx = open_pfx(made.pfx, made.password)
        await chain.import_pfx(client, pfx, made.password, colleague, ENCRYPTION, lab.encryption_key(), made.padding)
    device.switch_user(colleague, "rubbish")
    await device.check_in()
    assert len(chain.deliveries_of(lab, [device])) == 1
    device.switch_user(colleague, await lab.user_token(colleague, lab.password_of(colleague)))
    assert await settle(lab, [device]) == [State.INSTALLED] * 2
    assert held(device) == [pfx.thumbprint]
    device.switch_user()
    assert held(device) == mine
    shown = await call(lab, "GET", f"{chain.PROFILES}/{chain.deliveries_of(lab, [device])[0].profile_id}/userStatuses")
    assert {row["userPrincipalName"] for row in shown["value"]} == {UPN, colleague}
    await call(lab, "POST", f"{DEVICES}/{device.identity.device_id}/wipe", {})
    await device.check_in()
    assert held(device) == []
    device.switch_user(colleague)
    assert held(device) == []


@behaviour("user unenrols", "Windows", "alert 1226, then everything delivered is removed", source="syncml-sessions")
@behaviour("user unenrols", "iOS", "CheckOut, then everything delivered is removed", source="apple-check-in")
@pytest.mark.parametrize("platform", ["windows", "ios"])
async def test_user_leaves_management(lab: Lab, history: list[MailCertificate], platform: str) -> None:
    """When the user unenrols a device, it loses its certificates and the service forgets it."""
    device = await one_device(lab, platform, history[:1])
    assert await settle(lab, [device]) == [State.INSTALLED]
    await device.unenroll()
    assert (held(device), device.managed) == ([], False)
    assert (await call(lab, "GET", DEVICES))["value"] == []


@behaviour(
    "deleted by the administrator",
    "iOS",
    "401 at the next check-in: removes management and everything it installed",
    source="apple-command-loop",
)
@behaviour(
    "deleted by the administrator",
    "Windows",
    "401 at each check-in; keeps its certificates",
    source="deleted-device-on-windows",
)
@pytest.mark.parametrize(("platform", "left"), [("ios", 0), ("windows", 1)])
async def test_deleted_device(lab: Lab, history: list[MailCertificate], platform: str, left: int) -> None:
    """A device deleted in Graph is not notified; its next check-in is refused."""
    device = await one_device(lab, platform, history[:1])
    assert await settle(lab, [device]) == [State.INSTALLED]
    await call(lab, "DELETE", f"{DEVICES}/{device.identity.device_id}")
    with pytest.raises(SessionFailed, match="401"):
        await device.check_in()
    assert len(held(device)) == left


async def test_renewed_identity_gets_new_payloads(lab: Lab, history: list[MailCertificate]) -> None:
    """A certificate prepared for the key before a renewal is prepared again for the new key and installed."""
    for platform in ("windows", "ios"):
        device = await one_device(lab, platform, history[:1] if platform == "windows" else [])
        assert await states(lab, device) == [State.READY]
    before = lab.cloud.config.switches.device_certificate_renew_days
    assert before == 60
    for device in lab.devices.values():
        await _renew(lab, device)
        assert await settle(lab, [device]) == [State.INSTALLED]
        assert len(held(device)) == 1
    events = [entry.event for entry in lab.cloud.journal.entries()]
    assert events.count("delivery device key renewed") == 2


async def _renew(lab: Lab, device: Device) -> None:
    """Let a device renew its identity, as if the present one were about to expire."""
    if isinstance(device, AppleDevice):
        cloud = lab.cloud
        record = cloud.devices.get(device.identity.device_id)
        assert record is not None
        profile = profile_for(cloud, lab.emulator.origin, record.tenant_id, record.user_id, record.id)
        body = {"CommandUUID": "X", "Command": {"RequestType": "InstallProfile", "Payload": profile}}
        assert (await device.execute(mdm.serialize(body)))["Status"] == "Acknowledged"
        return
    renewed = await mde2.renew(device.enrolled, lab.emulator.tls.ca_pem, lab.new_key)
    device.enrolled = device.enrolled.with_identity(renewed)
    device.csp.identity, device._tls = renewed, None


async def test_management_profile_is_not_replaced_by_another(lab: Lab) -> None:
    """An enrolment profile of another server, or with more rights, is refused with 12009; one without payloads too."""
    device = await lab.device("ios", UPN)
    assert isinstance(device, AppleDevice)
    present = device.enrolled.management
    good = enrollment.EnrollmentProfile(
        "https://localhost/scep", "c", "n", present.checkin_url, present.server_url, b"root", "U"
    )

    async def code(profile: bytes) -> int:
        body = {"CommandUUID": "X", "Command": {"RequestType": "InstallProfile", "Payload": profile}}
        return int((await device.execute(mdm.serialize(body)))["ErrorChain"][0]["ErrorCode"])

    elsewhere = replace(good, server_url="https://elsewhere/")
    assert await code(enrollment.serialize(elsewhere)) == 12009
    more = replace(good, access_rights=present.access_rights + 1 + 8191)
    assert await code(enrollment.serialize(more)) == 12009
    assert await code(enrollment.serialize(good)) == 12016
    data = enrollment.serialize(good).replace(b"com.apple.mdm", b"com.apple.mdx")
    assert await code(data) == 12009
