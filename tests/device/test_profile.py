from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from connector_sim.cms import envelop
from device_sim.certstore import CertStore
from device_sim.identity import MdmIdentity
from device_sim.profile import InstalledProfile, InstallRefused, install, remove
from emulator.wire import apple
from scenarios.mail_authority import export_pfx
from tests.conftest import self_signed

PASSWORD = "correct horse"
UUID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def mdm(other_key: rsa.RSAPrivateKey) -> MdmIdentity:
    """Return a device's MDM identity."""
    return MdmIdentity("device", self_signed(other_key), other_key)


def profile(mdm: MdmIdentity, pfx: bytes, password: str = PASSWORD, identifier: str = "a") -> bytes:
    """Return an encrypted profile with one PKCS#12."""
    template = apple.pkcs12_payload_template(UUID, identifier, "name")
    payloads = apple.fill_pkcs12_payload(template, UUID, pfx, password)
    recipient = mdm.certificate.public_bytes(serialization.Encoding.DER)
    return apple.encrypted_profile(identifier, UUID, "name", envelop(payloads, recipient))


def codes(refused: pytest.ExceptionInfo[InstallRefused]) -> list[Any]:
    """Return the codes of an ErrorChain."""
    return [link["ErrorCode"] for link in refused.value.chain]


def test_profile_installs_its_identity(
    mdm: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """An encrypted profile puts certificate and key into the store, and removal takes them out."""
    store, installed = CertStore(), dict[str, InstalledProfile]()
    install(profile(mdm, export_pfx("n", rsa_key, certificate, PASSWORD)), mdm, store, installed)
    assert [identity.certificate for identity in store.identities()] == [certificate]
    assert remove("a", store, installed)
    assert store.identities() == []
    assert not remove("a", store, installed)


def test_same_identifier_replaces(mdm: MdmIdentity, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey) -> None:
    """A profile with the identifier of an installed one takes its place."""
    store, installed = CertStore(), dict[str, InstalledProfile]()
    for key in (rsa_key, other_key):
        install(profile(mdm, export_pfx("n", key, self_signed(key), PASSWORD)), mdm, store, installed)
    (identity,) = store.identities()
    assert identity.key.public_key() == other_key.public_key()


def chain(key: rsa.RSAPrivateKey, other: rsa.RSAPrivateKey) -> bytes:
    """Return a PKCS#12 with one certificate too many, as Windows exports by default."""
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    return pkcs12.serialize_key_and_certificates(b"n", key, self_signed(key), [self_signed(other)], encryption)


def test_chain_in_the_container_is_9001(
    mdm: MdmIdentity, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey
) -> None:
    """A PKCS#12 with a CA certificate is refused as too many certificates, below an installation failure."""
    with pytest.raises(InstallRefused) as refused:
        install(profile(mdm, chain(rsa_key, other_key)), mdm, CertStore(), {})
    assert codes(refused) == [4001, 9001]


def test_wrong_password_is_9000(mdm: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """A wrong password ends as 4001 with 9000 below it, and is not repeated."""
    data = profile(mdm, export_pfx("n", rsa_key, certificate, PASSWORD), "canary-4711")
    with pytest.raises(InstallRefused) as refused:
        install(data, mdm, CertStore(), {})
    assert codes(refused) == [4001, 9000]
    assert "canary" not in str(refused.value.chain)


def test_rubbish_in_the_payload_is_9005(mdm: MdmIdentity) -> None:
    """A payload that is no PKCS#12 ends as malformed certificate."""
    with pytest.raises(InstallRefused) as refused:
        install(profile(mdm, b"rubbish"), mdm, CertStore(), {})
    assert codes(refused) == [4001, 9005]


def test_profile_for_another_device_is_1006(
    mdm: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A profile encrypted to another device cannot be decrypted, and nothing changes."""
    stranger = MdmIdentity("other", self_signed(rsa_key), rsa_key)
    store = CertStore()
    with pytest.raises(InstallRefused) as refused:
        install(profile(mdm, export_pfx("n", rsa_key, certificate, PASSWORD)), stranger, store, {})
    assert codes(refused) == [1006]
    assert store.identities() == []


@pytest.mark.parametrize("data", [b"", b"rubbish", apple.serialize({"PayloadType": "other"})])
def test_malformed_profile_is_1000(mdm: MdmIdentity, data: bytes) -> None:
    """Something that is no profile is refused as malformed."""
    with pytest.raises(InstallRefused) as refused:
        install(data, mdm, CertStore(), {})
    assert codes(refused) == [1000]
