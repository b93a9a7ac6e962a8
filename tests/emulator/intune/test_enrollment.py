"""Enrolment by each platform's own protocol: MDE2 for Windows and Android, profile and SCEP for Apple."""

import io
import ssl
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509.oid import AttributeOID, NameOID

from pfxlab.device_sim.apple.enrollment import identity_by_scep, read_profile
from pfxlab.device_sim.client import DeviceClient
from pfxlab.device_sim.errors import EnrollmentRefused, SessionFailed
from pfxlab.device_sim.identity import Hardware, MdmIdentity
from pfxlab.device_sim.omadm import mde2 as mde2_client
from pfxlab.device_sim.omadm.session import OmaDmDevice
from pfxlab.emulator.pki import thumbprint
from pfxlab.emulator.wire import scep
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.enrollment import (
    APPLE_CHECKIN_PATH,
    APPLE_COMMAND_PATH,
    APPLE_ENROLL_PATH,
    APPLE_SCEP_PATH,
    LARGEST_MESSAGE,
    OMADM_PATH,
)
from pfxlab.emulator.wire.omadm import mde2, soap
from pfxlab.scenarios.lab.lab import Lab
from tests.behaviour import behaviour
from tests.conftest import movable_wall, self_signed
from tests.emulator.graph.client import Raw

UPN = "user@pfxlab.example"
CONTEXT = {"DeviceType": "CIMClient_Windows", "DeviceName": "n", "OSVersion": "10", "DeviceID": "u"}


def hardware(platform: str) -> Hardware:
    """Return a device's facts."""
    return Hardware(platform, "A device", "10.0", "model", "maker", "serial", "UDID-1")


async def token(lab: Lab, upn: str = UPN) -> str:
    """Return a user's token."""
    return await lab.user_token(upn, lab.password_of(upn))


def reasons(lab: Lab) -> str:
    """Return the reasons of all refusals."""
    return "\n".join(entry.reason or "" for entry in lab.cloud.journal.entries() if entry.outcome == "refused")


def client(lab: Lab) -> DeviceClient:
    """Return a client that enrols devices."""
    return DeviceClient(lab.emulator.origin, lab.emulator.tls.ca_pem, lab.clock, lab.new_key)


def devices(lab: Lab) -> int:
    """Return how many devices the service has."""
    return len(lab.cloud.devices.of_tenant(lab.operator.credentials.tenant_id))


def csr(key: rsa.RSAPrivateKey, challenge: str | None = None, name: str = "n") -> bytes:
    """Return a PKCS#10 request."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


async def soap_fault(lab: Lab, path: str, data: bytes, tls: ssl.SSLContext | None = None) -> tuple[int, soap.Fault]:
    """Send a message and return the status and the fault it gets."""
    context = tls or ssl.create_default_context(cafile=str(lab.ca_file))
    async with aiohttp.ClientSession() as http, http.post(lab.emulator.origin + path, data=data, ssl=context) as answer:
        fault = soap.parse_response(await answer.read())
        assert isinstance(fault, soap.Fault), fault
        return answer.status, fault


@behaviour("enrolment", "Windows", "MDE2: discovery, policies, WSTEP with its own PKCS#10", source="mde2-enrolment")
@behaviour("enrolment", "Android", "the agent enrols as Windows does", source="android-agent")
@pytest.mark.parametrize("platform", ["windows", "android", "androidForWork", "androidDeviceOwner"])
async def test_mde2_enrols(lab: Lab, platform: str, tmp_path: Path) -> None:
    """From discovery to provisioning document a device gets an identity for its key, its server and its schedule."""
    made = await client(lab).enroll(tmp_path / "d", await token(lab), UPN, hardware(platform))
    (device,) = lab.cloud.devices.of_tenant(lab.operator.credentials.tenant_id)
    assert (device.platform, device.device_name, device.udid) == (platform, "A device", "UDID-1")
    assert device.key_thumbprint == thumbprint(made.identity.certificate)
    assert made.enrolled.management.poll == ((3, 5), (15, 8), (480, 0))
    assert made.enrolled.management.renew_period_days == 60
    assert await made.check_in() >= 1
    again = client(lab).open(tmp_path / "d")
    assert again is not None
    assert again.enrolled.management == made.enrolled.management


@pytest.mark.parametrize(("switch", "known"), [("replaced", 1), ("kept", 2)])
async def test_device_that_enrols_again(lab: Lab, switch: str, known: int) -> None:
    """A user's device that enrols again replaces its record unless the switch keeps both; nobody else's is touched."""
    lab.add_user("other@pfxlab.example")
    with lab.switched(enrolled_again=switch):
        first = await client(lab).enroll(None, await token(lab), UPN, hardware("windows"))
        second = await client(lab).enroll(None, await token(lab), UPN, hardware("windows"))
        assert devices(lab) == known
        assert await second.check_in() >= 1
        if switch == "replaced":
            with pytest.raises(SessionFailed):
                await first.check_in()
        for upn, platform in ((UPN, "android"), ("other@pfxlab.example", "windows")):
            await client(lab).enroll(None, await token(lab, upn), upn, hardware(platform))
        await client(lab).enroll(None, await token(lab), UPN, replace(hardware("windows"), udid="UDID-2"))
        assert devices(lab) == known + 3


@behaviour(
    "enrolment", "iOS", "profile with SCEP and MDM payload, then Authenticate and TokenUpdate", source="apple-enrolment"
)
@behaviour("enrolment", "macOS", "as on iOS", source="apple-enrolment")
@pytest.mark.parametrize("platform", ["ios", "macos"])
async def test_apple_enrols(lab: Lab, platform: str) -> None:
    """By the signed profile a device gets an identity over SCEP and is known from its Authenticate on."""
    made = await client(lab).enroll(None, await token(lab), UPN, hardware(platform))
    (device,) = lab.cloud.devices.of_tenant(lab.operator.credentials.tenant_id)
    assert (device.platform, device.id) == (platform, made.identity.device_id)
    events = [entry.event for entry in lab.cloud.journal.entries()]
    assert events.index("device enrolled") < events.index("MDM Authenticate") < events.index("MDM TokenUpdate")
    assert await made.check_in() == 1


def openssl(*arguments: str, data: bytes) -> bytes:
    """Return OpenSSL's output for a given standard input."""
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


async def test_openssl_verifies_the_enrolment_profile(lab: Lab, tmp_path: Path) -> None:
    """OpenSSL verifies the signature of the enrolment profile against the device CA and returns a property list."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(lab.cloud.device_ca.certificate.public_bytes(Encoding.PEM))
    reply = await _download(lab, await token(lab))
    content = openssl(
        "cms", "-verify", "-inform", "DER", "-binary", "-CAfile", str(ca), "-purpose", "any", data=reply
    )  # fmt: skip
    profile = mdm.parse_dict(content)
    assert profile["PayloadIdentifier"] == "Microsoft.Profiles.MDM"
    assert [one["PayloadType"].rpartition(".")[2] for one in profile["PayloadContent"]] == ["root", "scep", "mdm"]


async def _download(lab: Lab, bearer: str, query: str = "") -> bytes:
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    headers = {"Authorization": f"Bearer {bearer}"}
    async with (
        aiohttp.ClientSession(lab.emulator.origin) as http,
        http.get(APPLE_ENROLL_PATH + query, headers=headers, ssl=context) as answer,
    ):
        assert answer.status == 200
        return await answer.read()


async def test_openssl_reads_scep(rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    """OpenSSL verifies a SCEP request, decrypts it and finds the PKCS#10."""
    authority, mine = self_signed(rsa_key, "authority"), self_signed(other_key, "device")
    message = scep.pkcs_req(csr(other_key, "c"), authority, mine, other_key, "ABC", bytes(16))
    inner = openssl("cms", "-verify", "-inform", "DER", "-binary", "-noverify", data=message)
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    key.write_bytes(rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(authority.public_bytes(Encoding.PEM))
    opened = ("-inkey", str(key), "-recip", str(certificate))
    request = openssl("cms", "-decrypt", "-inform", "DER", "-binary", *opened, data=inner)
    assert request == csr(other_key, "c")


async def test_openssl_reads_the_answer_of_scep(
    rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    """OpenSSL verifies the authority's answer, decrypts it with the requester's key and lists the issued certificate."""
    authority, mine = self_signed(rsa_key, "authority"), self_signed(other_key, "device")
    asked = scep.read_pkcs_req(
        scep.pkcs_req(csr(other_key, "c"), authority, mine, other_key, "ABC", bytes(16)), authority, rsa_key
    )
    key, certificate, ca = tmp_path / "key.pem", tmp_path / "mine.pem", tmp_path / "ca.pem"
    key.write_bytes(other_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(mine.public_bytes(Encoding.PEM))
    ca.write_bytes(authority.public_bytes(Encoding.PEM))
    answer = scep.cert_rep(asked, self_signed(other_key, "issued"), authority, rsa_key)
    trusted = ("-CAfile", str(ca), "-purpose", "any")
    inner = openssl("cms", "-verify", "-inform", "DER", "-binary", *trusted, data=answer)
    opened = ("-inkey", str(key), "-recip", str(certificate))
    listed = openssl("cms", "-decrypt", "-inform", "DER", "-binary", *opened, data=inner)
    assert b"CN = issued" in openssl("pkcs7", "-inform", "DER", "-print_certs", data=listed).replace(b"CN=", b"CN = ")


async def test_openssl_verifies_a_renewal(
    rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    """OpenSSL verifies the signature of a renewal with the present identity and finds a request for the new key."""
    present, pem = MdmIdentity("d", self_signed(other_key), other_key), tmp_path / "present.pem"
    pem.write_bytes(present.certificate.public_bytes(Encoding.PEM))
    signed = mde2_client.renewal_request(present, rsa_key)
    trusted = ("-CAfile", str(pem), "-purpose", "any")
    request = openssl("cms", "-verify", "-inform", "DER", "-binary", *trusted, data=signed)
    found = x509.load_der_x509_csr(request)
    assert found.is_signature_valid
    assert found.public_key() == rsa_key.public_key()


@pytest.mark.parametrize(
    ("changes", "value_type", "request_der", "error"),
    [
        ({"DeviceType": "Toaster"}, mde2.PKCS10, None, "DeviceNotSupported"),
        ({"DeviceID": ""}, mde2.PKCS10, None, "EnrollmentDataInvalid"),
        ({}, mde2.PKCS10, b"no request", "CertificateRequest"),
        ({}, mde2.PKCS7, None, "CertificateRequest"),
    ],
)
async def test_wstep_refuses_with_a_fault(
    lab: Lab, rsa_key: rsa.RSAPrivateKey, changes: Any, value_type: str, request_der: bytes | None, error: str
) -> None:
    """A device type, context or request that cannot be is a SOAP fault with its error type, and no device appears."""
    asked = mde2.TokenRequest(mde2.ISSUE, value_type, request_der or csr(rsa_key), {**CONTEXT, **changes})
    data = soap.request(
        mde2.REQUEST_TOKEN, "urn:uuid:1", "to", mde2.request_token(asked), mde2.user_token(await token(lab))
    )
    status, fault = await soap_fault(lab, mde2.ENROLLMENT_PATH, data)
    assert (status, fault.error_type) == (500, error)
    assert "expected" in fault.message
    assert fault.message in reasons(lab)
    assert devices(lab) == 0


NOT_SOAP = (
    b"",
    b"<a/>",
    b"<s:Envelope",
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;&c;</a>',
    soap.request(mde2.DISCOVER, "urn:uuid:1", "to", mde2.discover("u", "1")).replace(b"Body", b"Corpse"),
    soap.request("another", "urn:uuid:1", "to", mde2.discover("u", "1")),
)


async def test_what_is_not_soap_is_a_fault(lab: Lab) -> None:
    """Bytes that are not an envelope, carry a document type, or request another action get a MessageFormat fault."""
    for path in (mde2.DISCOVERY_PATH, mde2.POLICY_PATH, mde2.ENROLLMENT_PATH):
        for data in NOT_SOAP:
            status, fault = await soap_fault(lab, path, data)
            assert (status, fault.subcode) == (500, "MessageFormat"), (path, data)
    assert reasons(lab).count("expected") == 3 * len(NOT_SOAP)


async def test_enrolment_needs_a_user(lab: Lab) -> None:
    """Without a user's token, with rubbish, or with an application's, no device enrols on any platform."""
    async with lab.graph() as graph:
        application = await graph.sign_in(lab.admin_form())
    for platform in ("windows", "ios"):
        for bearer, code in ((application, "NoUser"), ("rubbish", "InvalidAuthenticationToken")):
            with pytest.raises(EnrollmentRefused, match=code):
                await client(lab).enroll(None, bearer, UPN, hardware(platform))
    body = mde2.request_token(mde2.TokenRequest(mde2.ISSUE, mde2.PKCS10, b"x", CONTEXT))
    _, fault = await soap_fault(lab, mde2.ENROLLMENT_PATH, soap.request(mde2.REQUEST_TOKEN, "urn:1", "to", body))
    assert fault.error_type == "InvalidSecurityToken"
    assert devices(lab) == 0


@behaviour(
    "device without user",
    "Windows",
    "enrolled by an administrator; no imported certificate",
    source="devices-without-a-user",
)
@behaviour(
    "device without user",
    "iOS",
    "enrolled by an administrator; no imported certificate",
    source="devices-without-a-user",
)
@pytest.mark.parametrize("platform", ["windows", "ios"])
async def test_device_without_user(lab: Lab, platform: str) -> None:
    """An administrator enrols a device without user, another user may not; Graph shows it without one."""
    lab.add_user("plain@pfxlab.example")
    plain = await token(lab, "plain@pfxlab.example")
    with pytest.raises(EnrollmentRefused, match="NoUser"):
        await client(lab).enroll(None, plain, UPN, hardware(platform), user_affinity=False)
    operator = lab.operator.credentials.operator_upn
    made = await client(lab).enroll(None, await token(lab, operator), UPN, hardware(platform), user_affinity=False)
    await made.check_in()
    found = lab.cloud.devices.get(made.identity.device_id)
    assert found is not None
    assert found.user_id == ""
    async with lab.graph() as graph:
        await graph.sign_in(lab.admin_form())
        shown = await graph.call("GET", f"/beta/deviceManagement/managedDevices/{found.id}")
    assert not shown["userPrincipalName"]


@behaviour(
    "identity renewal",
    "Windows",
    "automatic, 60 days before expiry, with a new key (WSTEP Renew)",
    source="mdm-certificate-renewal",
)
async def test_pc_renews_its_identity(lab: Lab, tmp_path: Path) -> None:
    """Near its end a PC gets an identity for a new key; the old one is good until the new one is used, not longer."""
    made = await client(lab).enroll(tmp_path / "d", await token(lab), UPN, hardware("windows"))
    assert isinstance(made, OmaDmDevice)
    before = made.identity
    lab.clock.advance(timedelta(days=310))
    renewed = await mde2_client.renew(made.enrolled, lab.emulator.tls.ca_pem, lab.new_key)
    assert renewed.key.public_key() != before.key.public_key()
    assert await made.check_in() >= 1
    assert made.identity.certificate not in (before.certificate, renewed.certificate)
    kept = client(lab).open(tmp_path / "d")
    assert kept is not None
    assert kept.identity.certificate == made.identity.certificate
    assert lab.cloud.devices.by_key(thumbprint(before.certificate)) is None


@behaviour(
    "identity renewal",
    "iOS",
    "when sent a new enrolment profile, with a new key (SCEP)",
    source="apple-identity-renewal",
)
async def test_iphone_renews_its_identity(lab: Lab) -> None:
    """Near its end an iPhone is sent an enrolment profile, gets an identity for a new key and uses it from the next session on."""
    made = await client(lab).enroll(None, await token(lab), UPN, hardware("ios"))
    before = made.identity
    lab.clock.advance(timedelta(days=310))
    assert await made.check_in() == 2
    assert made.identity.key.public_key() != before.key.public_key()
    assert await made.check_in() == 1
    assert lab.cloud.devices.by_key(thumbprint(before.certificate)) is None


async def test_expired_identity_is_not_renewed(lab: Lab) -> None:
    """An expired identity is refused everywhere and cannot be renewed: the device has to enrol again."""
    pc = await client(lab).enroll(None, await token(lab), UPN, hardware("windows"))
    phone = await client(lab).enroll(None, await token(lab), UPN, hardware("ios"))
    lab.clock.advance(timedelta(days=366))
    with pytest.raises(SessionFailed, match="NotEligibleToRenew"):
        await pc.check_in()
    with pytest.raises(SessionFailed, match="no longer manages this device"):
        await phone.check_in()
    assert not phone.managed


async def test_renewal_is_for_oneself_only(lab: Lab, rsa_key: rsa.RSAPrivateKey) -> None:
    """A renewal signed by another device, with the present key, or not signed at all, is refused."""
    one = await client(lab).enroll(None, await token(lab), UPN, hardware("windows"))
    other = await client(lab).enroll(None, await token(lab), UPN, replace(hardware("windows"), udid="UDID-2"))
    tls = one.identity.tls(lab.emulator.tls.ca_pem)

    async def fault(request: bytes) -> soap.Fault:
        body = mde2.request_token(mde2.TokenRequest(mde2.RENEW, mde2.PKCS7, request))
        data = soap.request(mde2.REQUEST_TOKEN, "urn:1", "to", body)
        return (await soap_fault(lab, mde2.ENROLLMENT_PATH, data, tls))[1]

    def signed(by: Any, request: bytes) -> bytes:
        builder = pkcs7.PKCS7SignatureBuilder().set_data(request)
        builder = builder.add_signer(by.certificate, by.key, hashes.SHA256())
        return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])

    assert "signed by the identity of this connection" in (await fault(signed(other.identity, csr(rsa_key)))).message
    assert "expected a new key" in (await fault(signed(one.identity, csr(one.identity.key)))).message
    assert (await fault(csr(rsa_key))).error_type == "CertificateRequest"
    body = mde2.request_token(mde2.TokenRequest(mde2.RENEW, mde2.PKCS7, csr(rsa_key)))
    _, nobody = await soap_fault(lab, mde2.ENROLLMENT_PATH, soap.request(mde2.REQUEST_TOKEN, "urn:1", "to", body))
    assert nobody.error_type == "NotEligibleToRenew"


async def scep_outcome(lab: Lab, request: bytes, key: rsa.RSAPrivateKey) -> str:
    """Send a SCEP request and return `issued` or why not."""
    authority, mine = lab.cloud.device_ca.certificate, self_signed(key)
    message = scep.pkcs_req(request, authority, mine, key, "T", bytes(16))
    reply = await raw_bytes(lab, f"{APPLE_SCEP_PATH}?operation=PKIOperation", message)
    try:
        scep.read_cert_rep(reply[1], authority, mine, key, "T", bytes(16))
    except scep.ScepError as error:
        return str(error)
    return "issued"


async def raw_bytes(
    lab: Lab, path: str, data: bytes | None, method: str = "POST", headers: Any = None
) -> tuple[int, bytes]:
    """Send bytes without a client certificate."""
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    async with (
        aiohttp.ClientSession(lab.emulator.origin) as http,
        http.request(method, path, data=data, ssl=context, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


async def test_scep_challenge_is_good_once(lab: Lab, rsa_key: rsa.RSAPrivateKey) -> None:
    """A challenge is valid for one identity within an hour; a missing, wrong or old one gives none."""
    profile = read_profile(await _download(lab, await token(lab)))
    assert "failInfo 1" in await scep_outcome(lab, csr(rsa_key, "guessed"), rsa_key)
    assert "failInfo 2" in await scep_outcome(lab, csr(rsa_key), rsa_key)
    assert await scep_outcome(lab, csr(rsa_key, profile.challenge), rsa_key) == "issued"
    assert "failInfo 1" in await scep_outcome(lab, csr(rsa_key, profile.challenge), rsa_key)
    late = read_profile(await _download(lab, await token(lab)))
    movable_wall(lab).advance(timedelta(hours=2))
    assert "failInfo 1" in await scep_outcome(lab, csr(rsa_key, late.challenge), rsa_key)
    assert "one that expired" in reasons(lab)
    text = "\n".join(str(entry) for entry in lab.cloud.journal.entries())
    assert profile.challenge not in text


@pytest.mark.parametrize("data", [b"", b"rubbish", bytes(100)])
async def test_broken_scep_is_400(lab: Lab, data: bytes) -> None:
    """An invalid SCEP message, or an unknown operation, is refused and recorded in the journal."""
    assert (await raw_bytes(lab, f"{APPLE_SCEP_PATH}?operation=PKIOperation", data))[0] == 400
    assert (await raw_bytes(lab, f"{APPLE_SCEP_PATH}?operation=PKIOperation&message=%2A", None, "GET"))[0] == 400
    assert (await raw_bytes(lab, f"{APPLE_SCEP_PATH}?operation=Dance", data))[0] == 400
    assert (await raw_bytes(lab, f"{APPLE_SCEP_PATH}?operation=GetCACaps", None, "GET")) == (
        200,
        scep.CAPABILITIES.encode(),
    )
    assert "expected" in reasons(lab)


async def test_identity_without_authenticate_manages_nothing(lab: Lab) -> None:
    """Before Authenticate an identity belongs to no device: commands get 401, another first message 400."""
    bearer = await token(lab)
    made = await client(lab).enroll(None, bearer, UPN, hardware("ios"))
    profile = read_profile(await _download(lab, bearer))
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
        identity = await identity_by_scep(http, profile, lab.new_key)
    tls = identity.tls(lab.emulator.tls.ca_pem)
    async with aiohttp.ClientSession(lab.emulator.origin) as http:
        for path, message, status in (
            (APPLE_COMMAND_PATH, {"Status": "Idle", "UDID": "x"}, 401),
            (APPLE_CHECKIN_PATH, {"MessageType": "TokenUpdate", "UDID": "x"}, 400),
            (APPLE_CHECKIN_PATH, {"MessageType": "Authenticate"}, 400),
        ):
            async with http.put(path, data=mdm.serialize(message), ssl=tls) as answer:
                assert answer.status == status
    assert devices(lab) == 1
    assert made.managed


@pytest.mark.parametrize("path", [OMADM_PATH, APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH, mde2.ENROLLMENT_PATH])
async def test_oversized_message_is_413(lab: Lab, path: str) -> None:
    """A message above the limit is refused as too large on every device endpoint, and written down."""
    made = await client(lab).enroll(None, await token(lab), UPN, hardware("windows"))
    tls = made.identity.tls(lab.emulator.tls.ca_pem)
    method = "PUT" if "apple" in path else "POST"
    async with (
        aiohttp.ClientSession(lab.emulator.origin) as http,
        http.request(method, path, data=io.BytesIO(bytes(LARGEST_MESSAGE + 1)), ssl=tls) as answer,
    ):
        assert answer.status == 413
    assert f"at most {LARGEST_MESSAGE} bytes" in reasons(lab)


async def test_discovery_answers_get(lab: Lab) -> None:
    """A GET of the discovery service shows that it exists."""
    assert (await Raw(lab, None)("GET", mde2.DISCOVERY_PATH)).status == 200
