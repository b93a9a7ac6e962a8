import base64
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from pfxlab.connector_sim.cms import envelop
from pfxlab.device_sim.apple.profile import InstalledProfile, InstallRefused, install, remove
from pfxlab.device_sim.certstore import CertStore
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.device_sim.mailbox import sign_mail
from pfxlab.emulator.wire.apple import mdm
from pfxlab.scenarios.mail.authority import MailAuthority, export_pfx
from tests.behaviour import behaviour
from tests.conftest import self_signed

PASSWORD = "correct horse"
UUID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def identity(other_key: rsa.RSAPrivateKey) -> MdmIdentity:
    """Return a device's MDM identity."""
    return MdmIdentity("device", self_signed(other_key), other_key)


def profile(identity: MdmIdentity, pfx: bytes, password: str = PASSWORD, identifier: str = "a") -> bytes:
    """Return an encrypted profile with one PKCS#12."""
    template = mdm.pkcs12_payload_template(UUID, identifier, "name")
    payloads = mdm.fill_pkcs12_payload(template, UUID, pfx, password)
    recipient = identity.certificate.public_bytes(serialization.Encoding.DER)
    return mdm.encrypted_profile(identifier, UUID, "name", envelop(payloads, recipient))


def codes(refused: pytest.ExceptionInfo[InstallRefused]) -> list[Any]:
    """Return the codes of an ErrorChain."""
    return [link["ErrorCode"] for link in refused.value.chain]


@behaviour(
    "how a PFX arrives",
    "iOS",
    "profile encrypted for the device, PKCS#12 and password inside",
    source="apple-encrypted-profiles",
)
@behaviour("how a PFX arrives", "macOS", "as on iOS", source="apple-encrypted-profiles")
async def test_profile_installs_its_identity(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """An encrypted profile installs certificate and key in the store, and its removal removes them."""
    store, installed = CertStore(), dict[str, InstalledProfile]()
    await install(profile(identity, export_pfx("n", rsa_key, certificate, PASSWORD)), identity, store, installed)
    assert [identity.certificate for identity in store.identities()] == [certificate]
    assert remove("a", store, installed)
    assert store.identities() == []
    assert not remove("a", store, installed)


@behaviour(
    "certificate already present", "iOS", "a profile of the same identifier replaces it", source="apple-profiles"
)
async def test_same_identifier_replaces(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey
) -> None:
    """A profile with the identifier of an installed one replaces it."""
    store, installed = CertStore(), dict[str, InstalledProfile]()
    for key in (rsa_key, other_key):
        await install(profile(identity, export_pfx("n", key, self_signed(key), PASSWORD)), identity, store, installed)
    (held,) = store.identities()
    assert held.key.public_key() == other_key.public_key()


def chain(key: rsa.RSAPrivateKey, other: rsa.RSAPrivateKey) -> bytes:
    """Return a PKCS#12 with one certificate too many, as Windows exports by default."""
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    return pkcs12.serialize_key_and_certificates(b"n", key, self_signed(key), [self_signed(other)], encryption)


async def test_chain_in_the_container_is_9001(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey
) -> None:
    """A PKCS#12 with a CA certificate is refused as too many certificates, below an installation failure."""
    with pytest.raises(InstallRefused) as refused:
        await install(profile(identity, chain(rsa_key, other_key)), identity, CertStore(), {})
    assert codes(refused) == [4001, 9001]


@behaviour("wrong PFX password", "iOS", "4001 with 9000 below", source="apple-error-codes")
async def test_wrong_password_is_9000(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A wrong password ends as 4001 with 9000 below it, and is not repeated."""
    data = profile(identity, export_pfx("n", rsa_key, certificate, PASSWORD), "canary-4711")
    with pytest.raises(InstallRefused) as refused:
        await install(data, identity, CertStore(), {})
    assert codes(refused) == [4001, 9000]
    assert "canary" not in str(refused.value.chain)


async def test_rubbish_in_the_payload_is_9005(identity: MdmIdentity) -> None:
    """A payload that is not PKCS#12 is refused as a malformed certificate."""
    with pytest.raises(InstallRefused) as refused:
        await install(profile(identity, b"rubbish"), identity, CertStore(), {})
    assert codes(refused) == [4001, 9005]


@behaviour("encrypted for another key", "iOS", "1006", source="apple-encrypted-profiles")
async def test_profile_for_another_device_is_1006(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A profile encrypted to another device cannot be decrypted, and nothing changes."""
    stranger = MdmIdentity("other", self_signed(rsa_key), rsa_key)
    store = CertStore()
    with pytest.raises(InstallRefused) as refused:
        await install(profile(identity, export_pfx("n", rsa_key, certificate, PASSWORD)), stranger, store, {})
    assert codes(refused) == [1006]
    assert store.identities() == []


@pytest.mark.parametrize("data", [b"", b"rubbish", mdm.serialize({"PayloadType": "other"})])
async def test_malformed_profile_is_1000(identity: MdmIdentity, data: bytes) -> None:
    """Bytes that are not a profile are refused as malformed."""
    with pytest.raises(InstallRefused) as refused:
        await install(data, identity, CertStore(), {})
    assert codes(refused) == [1000]


def plain(payloads: list[Any], identifier: str = "a", **more: Any) -> bytes:
    """Return an unencrypted profile."""
    head = {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": identifier, "PayloadUUID": UUID}
    return mdm.serialize({**head, "PayloadContent": payloads, **more})


def pkcs12_payload(uuid: str, pfx: bytes, password: str = PASSWORD) -> dict[str, Any]:
    """Return a payload with a PKCS#12."""
    return {"PayloadType": mdm.PKCS12_PAYLOAD, "PayloadUUID": uuid, "PayloadContent": pfx, "Password": password}


def mail_payload(**references: str) -> dict[str, Any]:
    """Return a mail account with S/MIME references."""
    head = {"PayloadType": mdm.MAIL_PAYLOAD, "PayloadUUID": "mail", "EmailAddress": "user@pfxlab.example"}
    return {**head, "SMIMESigningEnabled": True, "SMIMEEncryptByDefault": True, **references}


@behaviour(
    "signed profile",
    "iOS",
    "intact signature installs, trusted or not; a broken one is 1004",
    source="apple-signed-profiles",
)
async def test_signature_must_be_intact(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A profile OpenSSL signed is installed with its signers listed; one changed afterwards is refused with 1004."""
    data = plain([pkcs12_payload("1", export_pfx("n", rsa_key, certificate, PASSWORD))])
    signed = openssl_sign(data, rsa_key, certificate)
    installed: dict[str, InstalledProfile] = {}
    record = await install(signed, identity, CertStore(), installed)
    (signer,) = record.signers
    assert base64.b64decode(signer) == certificate.public_bytes(serialization.Encoding.DER)
    assert not record.encrypted
    with pytest.raises(InstallRefused) as refused:
        await install(signed.replace(b"PayloadVersion", b"PayloadVersiom"), identity, CertStore(), {})
    assert codes(refused) == [1004]


def openssl_sign(data: bytes, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> bytes:
    """Return SignedData created by OpenSSL."""
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "signer.pem"
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
        command = ["openssl", "cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-signer", str(pem)]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@behaviour(
    "mail account",
    "iOS",
    "S/MIME references name identities of the same profile, else 7003 or 7004",
    source="apple-mail-accounts",
)
async def test_mail_account_uses_the_identities_of_its_profile(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A mail account signs with the identity its payload names, among others that could sign as well."""
    pfx = [export_pfx("n", key, self_signed(key), PASSWORD) for key in (rsa_key, other_key)]
    account = mail_payload(SMIMESigningCertificateUUID="1", SMIMEEncryptionCertificateUUID="2")
    store = CertStore()
    data = plain([pkcs12_payload("1", pfx[0]), pkcs12_payload("2", pfx[1]), account])
    (made,) = (await install(data, identity, store, {})).accounts
    assert (made["address"], made["SMIMESigningEnabled"], made["SMIMEEncryptByDefault"]) == (
        "user@pfxlab.example", True, True,
    )  # fmt: skip
    for use, key in (("signs_with", rsa_key), ("encrypts_with", other_key)):
        _, signer = sign_mail(b"text", store, made[use])
        assert signer.key.public_key() == key.public_key()


async def test_mail_account_without_its_certificate(identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey) -> None:
    """A reference to no identity of the profile is 7003, one to a certificate that may not sign 7004; nothing is left."""
    pfx = export_pfx("n", rsa_key, self_signed(rsa_key), PASSWORD)
    store, installed = CertStore(), dict[str, InstalledProfile]()
    with pytest.raises(InstallRefused) as refused:
        await install(
            plain([pkcs12_payload("1", pfx), mail_payload(SMIMESigningCertificateUUID="2")]), identity, store, installed
        )
    assert codes(refused) == [4001, 7003]
    encrypts = MailAuthority(datetime.now(UTC)).history("user@pfxlab.example")[0]
    data = plain([pkcs12_payload("1", encrypts.pfx, encrypts.password), mail_payload(SMIMESigningCertificateUUID="1")])
    with pytest.raises(InstallRefused) as refused:
        await install(data, identity, store, installed)
    assert codes(refused) == [4001, 7004]
    assert (store.identities(), installed) == ([], {})


@behaviour("profile with two payloads of one UUID", "iOS", "refused: 4002", source="apple-profiles")
async def test_doubled_uuid_is_4002(
    identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """Two payloads with the same UUID, one without, and a profile without payloads or a field each have their own code."""
    pfx = export_pfx("n", rsa_key, certificate, PASSWORD)
    one = pkcs12_payload("1", pfx)
    for data, expected in (
        (plain([one, one]), [4002]),
        (plain([{"PayloadType": mdm.PKCS12_PAYLOAD}]), [4001, 1002]),
        (plain([]), [1005]),
        (plain([one]).replace(b"PayloadIdentifier", b"PayloadIdentifeer"), [1002]),
    ):
        store = CertStore()
        with pytest.raises(InstallRefused) as refused:
            await install(data, identity, store, {})
        assert codes(refused) == expected
        assert store.identities() == []
