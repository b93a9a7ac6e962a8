"""Requests that the connector, enrolment, OMA-DM and Apple MDM endpoints refuse, and repeats that they accept."""

import base64
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pfxlab.connector_sim import VERSION
from pfxlab.connector_sim import identity as connector_identity
from pfxlab.connector_sim.errors import ServiceRefused
from pfxlab.connector_sim.identity import new_request
from pfxlab.connector_sim.service import Settings, enroll
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH, OMADM_PATH
from pfxlab.emulator.wire.omadm import syncml
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.graph.client import Raw

UPN = "user@pfxlab.example"
ENROLL = {"connectorName": "n", "machineName": "m", "connectorVersion": VERSION}


def csr() -> str:
    """Return a certification request as base64."""
    return base64.b64encode(new_request("m")[1]).decode()


async def operator_token(lab: Lab) -> str:
    """Return the token of an Intune administrator."""
    made = lab.operator.credentials
    return await lab.user_token(made.operator_upn, made.operator_password)


async def test_connector_needs_an_administrator(lab: Lab) -> None:
    """A token without an administrator's role, an application's too, does not enrol a connector."""
    lab.add_user("plain@pfxlab.example")
    plain = await lab.user_token("plain@pfxlab.example", lab.operator.passwords["plain@pfxlab.example"])
    async with lab.graph() as client:
        application = await client.sign_in(lab.admin_form())
    settings = Settings(lab.emulator.origin, lab.ca_file)
    for token in (plain, application):
        with pytest.raises(ServiceRefused, match="NotAdministrator: expected the token of an Intune or Global"):
            await enroll(settings, token, lab.folder / "connector", "n", "m")
    with pytest.raises(ServiceRefused, match="InvalidAuthenticationToken"):
        await enroll(settings, "rubbish", lab.folder / "connector", "n", "m")
    assert connector_identity.find(lab.folder / "connector") is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**ENROLL, "certificateRequest": "AAAA"}, "RequestRefused"),
        ({**ENROLL}, "ContractBroken"),
        ({**ENROLL, "certificateRequest": csr(), "more": 1}, "ContractBroken"),
    ],
)
async def test_bad_enrolment_gets_a_reason(lab: Lab, body: Any, code: str) -> None:
    """A connector's enrolment with a broken request or body is refused with a code and a sentence."""
    reply = await Raw(lab, await operator_token(lab))("POST", contract.ENROLL_PATH, body)
    assert (reply.status, reply.code) == (400, code)
    assert reply.message.startswith(("expected", "the body: expected"))


async def test_repeated_enrolment_is_the_same_connector(lab: Lab) -> None:
    """The same key, names and tenant are the same connector until it is in contact; another key or name is another."""
    raw, again = Raw(lab, await operator_token(lab)), {**ENROLL, "certificateRequest": csr()}
    before = len(lab.cloud.connectors.of_tenant(lab.operator.credentials.tenant_id))
    first, second = [await raw("POST", contract.ENROLL_PATH, again) for _ in range(2)]
    others = [{**again, "connectorName": "o"}, {**again, "machineName": "o"}, {**again, "certificateRequest": csr()}]
    ids = {(await raw("POST", contract.ENROLL_PATH, body)).json["connectorId"] for body in others}
    assert first.json["connectorId"] == second.json["connectorId"]
    assert len(ids | {first.json["connectorId"]}) == 4
    lab.cloud.connectors.seen(first.json["connectorId"], lab.clock.now() + timedelta(seconds=1))
    third = await raw("POST", contract.ENROLL_PATH, again)
    assert third.json["connectorId"] not in {*ids, first.json["connectorId"]}
    assert len(lab.cloud.connectors.of_tenant(lab.operator.credentials.tenant_id)) == before + 5


async def test_lease_needs_the_connectors_certificate(lab: Lab) -> None:
    """Work is leased only with a client certificate, and a device's certificate is not accepted."""
    body = {"max": 1, "waitSeconds": 0}
    reply = await Raw(lab, await operator_token(lab))("POST", contract.LEASE_PATH, body)
    assert (reply.status, reply.code) == (401, "NoClientCertificate")
    device = await lab.device("windows", UPN)
    tls = device.identity.tls(lab.emulator.tls.ca_pem)
    async with (
        aiohttp.ClientSession(lab.emulator.origin) as session,
        session.post(contract.LEASE_PATH, json=body, ssl=tls) as response,
    ):
        assert (response.status, (await response.json())["error"]["code"]) == (403, "UnknownConnector")


async def test_body_that_is_not_json_is_refused(lab: Lab) -> None:
    """A connector that sends something else than JSON learns that JSON was expected."""
    reply = await Raw(lab, await operator_token(lab))("POST", contract.ENROLL_PATH, data=b"{")
    assert (reply.status, reply.code) == (400, "NotJson")


async def test_management_needs_the_devices_certificate(lab: Lab) -> None:
    """Neither Windows nor Apple management answers a client without an enrolled identity."""
    raw = Raw(lab, None)
    assert (await raw("POST", OMADM_PATH, data=b"<SyncML/>")).status == 401
    for path in (APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH):
        assert (await raw("PUT", path, data=b"")).status == 401


async def as_device(device: Device, lab: Lab, method: str, path: str, data: bytes) -> tuple[int, bytes]:
    """Send one message with a device's identity."""
    tls: ssl.SSLContext = device.identity.tls(lab.emulator.tls.ca_pem)
    async with (
        aiohttp.ClientSession(lab.emulator.origin) as session,
        session.request(method, path, data=data, ssl=tls) as response,
    ):
        return response.status, await response.read()


async def test_broken_syncml_gets_an_empty_answer(lab: Lab) -> None:
    """Invalid SyncML gets an empty response, as from Intune, and the journal says why."""
    device = await lab.device("windows", UPN)
    assert await as_device(device, lab, "POST", OMADM_PATH, b"<SyncML") == (200, b"")
    last = lab.cloud.journal.entries()[-1]
    assert (last.event, last.outcome) == ("SyncML refused", "refused")


async def test_odd_syncml_answers_do_no_harm(lab: Lab) -> None:
    """Statuses that refer to nothing, in a session the server does not know, end that session and change nothing."""
    device = await lab.device("windows", UPN)
    stray = syncml.Message(
        "FF",
        "9",
        "t",
        device.identity.device_id,
        (syncml.Status("2", "8", "77", "Get", "200"), syncml.Results("3", "8", "77", ())),
    )
    status, body = await as_device(device, lab, "POST", OMADM_PATH, syncml.serialize(stray))
    assert status == 200
    refusal, abort = syncml.parse(body).commands
    assert isinstance(refusal, syncml.Status)
    assert isinstance(abort, syncml.Alert)
    assert (refusal.cmd, refusal.code, abort.code) == ("SyncHdr", "400", "1223")
    assert "expected MsgID 1" in (lab.cloud.journal.entries()[-1].reason or "")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (APPLE_CHECKIN_PATH, b"rubbish"),
        (APPLE_CHECKIN_PATH, mdm.serialize({"MessageType": "TokenUpdate", "UDID": "another"})),
        (APPLE_COMMAND_PATH, mdm.serialize({"Status": "Idle", "UDID": "another"})),
    ],
)
async def test_broken_mdm_message_is_400(lab: Lab, path: str, message: bytes) -> None:
    """A message that is not a plist, or has another UDID than the certificate, is refused."""
    device = await lab.device("ios", UPN)
    assert (await as_device(device, lab, "PUT", path, message))[0] == 400


async def test_unknown_check_in_is_400(lab: Lab) -> None:
    """A check-in message of an unknown type is refused."""
    device = await lab.device("ios", UPN)
    message = mdm.serialize({"MessageType": "Cheese", "UDID": device.hardware.udid})
    assert (await as_device(device, lab, "PUT", APPLE_CHECKIN_PATH, message))[0] == 400


async def test_unknown_report_ends_the_session(lab: Lab) -> None:
    """A report on a command that was never sent is accepted, and no command follows."""
    device = await lab.device("ios", UPN)
    message = mdm.serialize({"Status": "Acknowledged", "CommandUUID": "X", "UDID": device.hardware.udid})
    assert await as_device(device, lab, "PUT", APPLE_COMMAND_PATH, message) == (200, b"")


async def test_device_without_service_fails(tmp_path: Path) -> None:
    """A device whose service is down ends its session with a sentence, on both platforms."""
    lab = new_lab(tmp_path)
    await lab.start()
    devices = [await lab.device(platform, UPN) for platform in ("ios", "windows")]
    await lab.stop()
    for device in devices:
        with pytest.raises(SessionFailed, match="no answer from the"):
            await device.check_in()


async def test_iphone_refuses_unknown_commands(lab: Lab) -> None:
    """An unknown command fails with 12021, an unknown profile with 12075, and lists show what is installed."""
    device = await lab.device("ios", UPN)
    assert isinstance(device, AppleDevice)

    async def report(request_type: str, **command: Any) -> Any:
        body = {"CommandUUID": "X", "Command": {"RequestType": request_type, **command}}
        return await device.execute(mdm.serialize(body))

    assert (await report("EraseEverything"))["ErrorChain"][0]["ErrorCode"] == 12021
    assert (await report("RemoveProfile", Identifier="none"))["ErrorChain"][0]["ErrorCode"] == 12075
    assert (await report("ProfileList"))["ProfileList"] == []
    assert (await report("CertificateList"))["CertificateList"] == []
    with pytest.raises(SessionFailed, match="expected a command"):
        await device.execute(b"rubbish")


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
EXTERNAL = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'


def binary_plist_that_holds_itself() -> bytes:
    """Return a binary property list whose only array has itself as element."""
    objects = bytes([0xA1, 0x00])
    return b"bplist00" + objects + bytes([8]) + bytes(6) + bytes([1, 1]) + (1).to_bytes(8) + bytes(8) + (10).to_bytes(8)


MALICIOUS = {
    "empty": b"",
    "truncated": None,
    "bomb": BOMB + b"<plist><dict><key>Status</key><string>&c;</string></dict></plist>",
    "external entity": EXTERNAL + b"<plist><dict><key>Status</key><string>&b;</string></dict></plist>",
    "SyncML bomb": BOMB + b"<SyncML><SyncHdr>&c;</SyncHdr><SyncBody/></SyncML>",
    "deep": b"<plist>" + b"<array>" * 20_000 + b"</array>" * 20_000 + b"</plist>",
    "deep SyncML": b"<SyncML><SyncHdr/><SyncBody>" + b"<Atomic><CmdID>1</CmdID>" * 20_000,
    "UTF-16 doctype": ('<?xml version="1.0" encoding="utf-16"?>' + BOMB.decode() + "<SyncML>&c;</SyncML>").encode(
        "utf-16"
    ),
    "binary plist that holds itself": binary_plist_that_holds_itself(),
    "not text": bytes(range(256)),
}


@pytest.mark.parametrize("platform", ["windows", "androidForWork", "ios"])
async def test_malicious_messages_are_refused_without_harm(lab: Lab, platform: str) -> None:
    """XML bombs, entities, endless and truncated messages get the protocol's own error, and nothing changes."""
    device = await lab.device(platform, UPN)
    good = mdm.serialize({"Status": "Idle", "UDID": device.hardware.udid})
    if not isinstance(device, AppleDevice):
        good = syncml.serialize(device._first_message(pushed=False))
    before = lab.cloud.devices.get(device.identity.device_id)
    url = device.enrolled.management.server_url.removeprefix(lab.emulator.origin)
    method = "PUT" if platform == "ios" else "POST"
    for name, made in MALICIOUS.items():
        data = good[: len(good) // 2] if made is None else made
        status, body = await as_device(device, lab, method, url, data)
        assert (status, body) == ((400, b"") if platform == "ios" else (200, b"")), name
        last = lab.cloud.journal.entries()[-1]
        assert (last.outcome, (last.reason or "")[:8]) == ("refused", "expected"), name
        assert lab.cloud.devices.get(device.identity.device_id) == before, name
    assert await device.check_in() >= 1


@pytest.mark.parametrize("platform", ["windows", "ios"])
async def test_another_devices_identity_is_refused(lab: Lab, platform: str) -> None:
    """A message of one device sent with the identity of another is refused, and neither device is changed by it."""
    lab.add_user("other@pfxlab.example")
    mine, other = await lab.device(platform, UPN), await lab.device(platform, "other@pfxlab.example")
    before = [lab.cloud.devices.get(one.identity.device_id) for one in (mine, other)]
    data = mdm.serialize({"Status": "Idle", "UDID": other.hardware.udid})
    if not isinstance(other, AppleDevice):
        data = syncml.serialize(other._first_message(pushed=False))
    path = APPLE_COMMAND_PATH if platform == "ios" else OMADM_PATH
    status, body = await as_device(mine, lab, "PUT" if platform == "ios" else "POST", path, data)
    assert status == (400 if platform == "ios" else 200)
    assert platform == "ios" or b"1223" in body
    assert [lab.cloud.devices.get(one.identity.device_id) for one in (mine, other)] == before
