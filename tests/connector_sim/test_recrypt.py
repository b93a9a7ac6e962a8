import plistlib
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from pfxlab.connector_sim.keys.padding import encrypt
from pfxlab.connector_sim.keys.provider import DecryptionKey
from pfxlab.connector_sim.keys.software import SoftwareKey
from pfxlab.connector_sim.recrypt import partition, recrypt
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.connector import (
    NotRecrypted,
    PasswordRecryption,
    PayloadEncryption,
    Recrypted,
    Result,
    WorkItem,
)
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.files.key_pem import to_pem
from tests.conftest import self_signed

KEYS: list[rsa.RSAPrivateKey] = []
UUID = "11111111-2222-4333-8444-555555555555"
SHA512 = PaddingScheme.oaepSha512


def one(item: WorkItem, key: DecryptionKey) -> Result:
    """Return the result of a batch of one."""
    (result,) = recrypt([item], lambda *_: key)
    return result


def openssl_opens(der: bytes, key: rsa.RSAPrivateKey, certificate: x509.Certificate, folder: Path) -> bytes:
    """Return the plaintext that OpenSSL decrypts from CMS."""
    (folder / "device.pem").write_bytes(to_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-binary", "-recip", str(folder / "device.pem")]
    return subprocess.run(command, input=der, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def device(other_key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Return a device's MDM certificate."""
    return self_signed(other_key)


def der(certificate: x509.Certificate) -> bytes:
    """Return a certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def test_openssl_opens_the_password_for_windows(
    rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, device: x509.Certificate, tmp_path: Path
) -> None:
    """A password re-encrypted by the connector is decrypted byte for byte by OpenSSL with the device's key."""
    password = b"line\nfeed and 'quotes'"
    encrypted = encrypt(rsa_key.public_key(), password, SHA512)
    item = PasswordRecryption("r", "p", "k", SHA512, encrypted, der(device), "t")
    result = one(item, SoftwareKey("k", rsa_key))
    assert isinstance(result, Recrypted)
    assert openssl_opens(result.encrypted_blob, other_key, device, tmp_path) == password


def test_openssl_opens_the_payload_for_apple(
    rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, device: x509.Certificate, tmp_path: Path
) -> None:
    """For Apple devices the whole payload array is encrypted, with PKCS#12 and password in the named payload."""
    encrypted = encrypt(rsa_key.public_key(), b"secret", SHA512)
    template = mdm.pkcs12_payload_template(UUID, "id", "name")
    item = PayloadEncryption("r", "p", "k", SHA512, encrypted, der(device), "t", template, UUID, b"pfx bytes")
    result = one(item, SoftwareKey("k", rsa_key))
    assert isinstance(result, Recrypted)
    (payload,) = plistlib.loads(openssl_opens(result.encrypted_blob, other_key, device, tmp_path))
    assert (payload["PayloadContent"], payload["Password"]) == (b"pfx bytes", "secret")


def test_content_is_aes_256_for_issuer_and_serial(rsa_key: rsa.RSAPrivateKey, device: x509.Certificate) -> None:
    """The CMS is as current .NET writes it: AES-256-CBC, PKCS#1 v1.5, recipient by issuer and serial number."""
    item = PasswordRecryption("r", "p", "k", SHA512, encrypt(rsa_key.public_key(), b"x", SHA512), der(device), "t")
    result = one(item, SoftwareKey("k", rsa_key))
    assert isinstance(result, Recrypted)
    command = ["openssl", "cms", "-cmsout", "-print", "-inform", "DER"]
    said = subprocess.run(command, input=result.encrypted_blob, capture_output=True, check=True).stdout.decode()
    assert all(text in said for text in ("aes-256-cbc", "rsaEncryption", "issuerAndSerialNumber"))


def test_wrong_key_is_a_reason(
    rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, device: x509.Certificate
) -> None:
    """A password encrypted to another key ends as DecryptFailed with the key's name."""
    encrypted = encrypt(other_key.public_key(), b"secret", SHA512)
    result = one(PasswordRecryption("r", "p", "k", SHA512, encrypted, der(device), "t"), SoftwareKey("k", rsa_key))
    assert isinstance(result, NotRecrypted)
    assert result.code == "DecryptFailed"
    assert "'k'" in result.message


def test_unusable_device_certificate_is_a_reason(rsa_key: rsa.RSAPrivateKey) -> None:
    """An invalid device certificate, or one without an RSA key, fails with RecipientUnusable."""
    encrypted = encrypt(rsa_key.public_key(), b"secret", SHA512)
    result = one(PasswordRecryption("r", "p", "k", SHA512, encrypted, b"rubbish", "t"), SoftwareKey("k", rsa_key))
    assert isinstance(result, NotRecrypted)
    assert result.code == "RecipientUnusable"


def test_unusable_template_is_a_reason(rsa_key: rsa.RSAPrivateKey, device: x509.Certificate) -> None:
    """A template without the named payload ends as TemplateUnusable."""
    encrypted = encrypt(rsa_key.public_key(), b"secret", SHA512)
    item = PayloadEncryption("r", "p", "k", SHA512, encrypted, der(device), "t", b"<plist/>", UUID, b"")
    result = one(item, SoftwareKey("k", rsa_key))
    assert isinstance(result, NotRecrypted)
    assert result.code == "TemplateUnusable"


def test_password_a_plist_cannot_carry_is_not_repeated(rsa_key: rsa.RSAPrivateKey, device: x509.Certificate) -> None:
    """A password with a control character ends as a reason that does not quote it."""
    encrypted = encrypt(rsa_key.public_key(), b"canary\x01", SHA512)
    template = mdm.pkcs12_payload_template(UUID, "id", "name")
    item = PayloadEncryption("r", "p", "k", SHA512, encrypted, der(device), "t", template, UUID, b"")
    result = one(item, SoftwareKey("k", rsa_key))
    assert isinstance(result, NotRecrypted)
    assert "canary" not in result.message


def test_password_is_read_as_ascii(
    rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, device: x509.Certificate, tmp_path: Path
) -> None:
    """Bytes above 127 become question marks, as .NET's ASCII decoder makes them, so umlauts arrive garbled."""
    encrypted = encrypt(rsa_key.public_key(), "Grüße".encode("latin-1"), SHA512)
    result = one(PasswordRecryption("r", "p", "k", SHA512, encrypted, der(device), "t"), SoftwareKey("k", rsa_key))
    assert isinstance(result, Recrypted)
    assert openssl_opens(result.encrypted_blob, other_key, device, tmp_path) == b"Gr??e"


class Counting:
    """A key that counts its private operations."""

    def __init__(self, key: SoftwareKey) -> None:
        self._key, self.used = key, 0

    def decrypt(self, ciphertext: bytes, scheme: PaddingScheme) -> bytes:
        """Decrypt and count."""
        self.used += 1
        return self._key.decrypt(ciphertext, scheme)

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public half."""
        return self._key.public_key()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4))
def test_each_ciphertext_costs_one_operation(order: list[int], parts: int) -> None:
    """In a batch, whole or partitioned, results keep the requests' order and each ciphertext is decrypted once."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if not KEYS else KEYS[0]
    KEYS[:] = [key]
    certificate = der(self_signed(key))
    ciphertexts = [encrypt(key.public_key(), bytes([65 + number]) * 3, SHA512) for number in range(4)]
    items = [
        PasswordRecryption(str(place), "p", "k", SHA512, ciphertexts[number], certificate, "t")
        for place, number in enumerate(order)
    ]
    counting = Counting(SoftwareKey("k", key))
    assert [result.request_id for result in recrypt(items, lambda *_: counting)] == [i.request_id for i in items]
    assert counting.used == len(set(order))
    counting.used = 0
    shares = partition(items, parts)
    assert sorted(i.request_id for share in shares for i in share) == sorted(i.request_id for i in items)
    assert len(shares) == min(parts, len(set(order)))
    for share in shares:
        recrypt(share, lambda *_: counting)
    assert counting.used == len(set(order))


@given(st.text(max_size=20), st.binary(max_size=200), st.sampled_from(["name", "a & <b>", "Zertifikat für Änne"]))
def test_template_is_filled_as_a_plist_library_would(password: str, pfx: bytes, name: str) -> None:
    """With any password the filled template parses with exactly the two values set; other templates are refused."""
    template = mdm.pkcs12_payload_template(UUID, "id", name)
    try:
        filled = mdm.fill_pkcs12_payload(template, UUID, pfx, password)
    except ValueError:
        assert any(ord(character) < 32 for character in password) or not password.isprintable()
        return
    (before,), (after,) = plistlib.loads(template), plistlib.loads(filled)
    wanted = password.replace("\r\n", "\n").replace("\r", "\n")
    assert after == {**before, "PayloadContent": pfx, "Password": wanted}


def test_elliptic_curve_device_cannot_be_encrypted_to(rsa_key: rsa.RSAPrivateKey) -> None:
    """A device certificate with an elliptic-curve key ends as RecipientUnusable."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    today = self_signed(rsa_key)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(today.not_valid_before_utc)
    made = builder.not_valid_after(today.not_valid_after_utc).sign(key, hashes.SHA256())
    item = PasswordRecryption("r", "p", "k", SHA512, encrypt(rsa_key.public_key(), b"x", SHA512), der(made), "t")
    result = one(item, SoftwareKey("k", rsa_key))
    assert isinstance(result, NotRecrypted)
    assert result.code == "RecipientUnusable"
