"""CMS EnvelopedData of the hot path, judged by OpenSSL, asn1crypto and the builder of `cryptography`."""

import subprocess
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pfxlab.connector_sim.cms import RecipientUnusable, envelop
from pfxlab.emulator.wire.files.key_pem import to_pem
from tests.campaign import examples
from tests.conftest import self_signed

KEYS = {bits: rsa.generate_private_key(public_exponent=65537, key_size=bits) for bits in (2048, 3072)}
CERTIFICATES = {bits: self_signed(key).public_bytes(Encoding.DER) for bits, key in KEYS.items()}


def by_library(content: bytes, certificate: bytes) -> bytes:
    """Return the CMS that the builder of `cryptography` creates."""
    return (
        PKCS7EnvelopeBuilder()
        .set_data(content)
        .add_recipient(x509.load_der_x509_certificate(certificate))
        .set_content_encryption_algorithm(algorithms.AES256)
        .encrypt(Encoding.DER, [PKCS7Options.Binary])
    )


def without_chance(der: bytes, bits: int) -> bytes:
    """Return the structure with content key, IV and content blotted out."""
    parsed = asn1_cms.ContentInfo.load(der, strict=True)
    data = parsed["content"]
    info = data["recipient_infos"][0].chosen
    info["encrypted_key"] = bytes(bits // 8)
    encrypted = data["encrypted_content_info"]
    size = len(encrypted["encrypted_content"].native)
    encrypted["content_encryption_algorithm"]["parameters"] = bytes(16)
    encrypted["encrypted_content"] = bytes(size)
    return bytes(parsed.dump(force=True))


@settings(max_examples=examples(20, 300), deadline=None)
@given(st.binary(max_size=9000), st.sampled_from([2048, 3072]))
def test_structure_is_the_librarys(content: bytes, bits: int) -> None:
    """For every content and key size the DER equals that of the library's builder, except for key, IV and content."""
    ours, theirs = envelop(content, CERTIFICATES[bits]), by_library(content, CERTIFICATES[bits])
    assert len(ours) == len(theirs)
    assert without_chance(ours, bits) == without_chance(theirs, bits)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 111, 112, 127, 128, 255, 256, 4000, 65_535, 70_000])
def test_openssl_opens_every_size(tmp_path: Path, size: int) -> None:
    """OpenSSL decrypts contents on both sides of every length's border, byte for byte."""
    content = bytes(range(256)) * (size // 256 + 1)
    path = tmp_path / "device.pem"
    pem = x509.load_der_x509_certificate(CERTIFICATES[2048]).public_bytes(Encoding.PEM)
    path.write_bytes(to_pem(KEYS[2048]) + pem)
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-binary", "-recip", str(path)]
    done = subprocess.run(command, input=envelop(content[:size], CERTIFICATES[2048]), capture_output=True, check=True)
    assert done.stdout == content[:size]


def test_names_are_taken_as_they_stand() -> None:
    """Issuer and serial number are the certificate's own bytes, whatever string types and numbers they use."""
    key = KEYS[2048]
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Prüfstelle TEST ONLY", x509.name._ASN1Type.BMPString),
            x509.NameAttribute(NameOID.COMMON_NAME, "MDM", x509.name._ASN1Type.T61String),
        ]
    )
    base = self_signed(key)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(2**158 + 7)
        .not_valid_before(base.not_valid_before_utc)
        .not_valid_after(base.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(Encoding.DER)
    info = asn1_cms.ContentInfo.load(envelop(b"x", der))["content"]["recipient_infos"][0].chosen
    assert info["rid"].chosen["issuer"].dump() == certificate.issuer.public_bytes()
    assert info["rid"].chosen["serial_number"].native == 2**158 + 7


def test_no_two_envelopes_share_key_or_iv() -> None:
    """Content keys and IVs are fresh each time, also for the same content and device."""
    made = [asn1_cms.ContentInfo.load(envelop(b"same", CERTIFICATES[2048]))["content"] for _ in range(50)]
    ivs = {one["encrypted_content_info"]["content_encryption_algorithm"]["parameters"].native for one in made}
    contents = {one["encrypted_content_info"]["encrypted_content"].native for one in made}
    assert (len(ivs), len(contents)) == (50, 50)


@pytest.mark.parametrize("certificate", [b"", b"\x30\x03\x02\x01\x01", CERTIFICATES[2048][:-1], b"\xff" * 40])
def test_invalid_certificate_is_refused(certificate: bytes) -> None:
    """Bytes that are not a certificate are refused with a named error."""
    with pytest.raises(RecipientUnusable, match="expected a DER certificate"):
        envelop(b"x", certificate)


def test_elliptic_key_is_refused() -> None:
    """A certificate with an elliptic-curve key is refused, and the error names the kind of key."""
    key = ec.generate_private_key(ec.SECP256R1())
    base = self_signed(KEYS[2048])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(base.subject)
        .issuer_name(base.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(base.not_valid_before_utc)
        .not_valid_after(base.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(RecipientUnusable, match="RSA key, got EC"):
        envelop(b"x", certificate.public_bytes(Encoding.DER))
