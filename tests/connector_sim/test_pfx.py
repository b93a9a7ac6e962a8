import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from pfxlab.connector_sim.errors import PfxProblem
from pfxlab.connector_sim.pfx import check_validity, open_pfx, purpose_of
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.emulator.wire.files.key_pem import to_pem
from pfxlab.scenarios.mail.authority import MailAuthority, export_pfx
from tests.conftest import self_signed

PASSWORD = "correct horse"


def two_keys(first: bytes, second: bytes) -> bytes:
    """Return a PKCS#12 with the contents of both, without a MAC."""
    contents = [c for data in (first, second) for c in asn1_pkcs12.Pfx.load(data).authenticated_safe]
    safe = asn1_pkcs12.AuthenticatedSafe(contents)
    merged = asn1_pkcs12.Pfx({"version": "v3", "auth_safe": {"content_type": "data", "content": safe.dump()}})
    return bytes(merged.dump())


@pytest.mark.parametrize("legacy", [True, False])
def test_opens_both_forms(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, legacy: bool) -> None:
    """PFX files with 3DES and SHA-1 and with AES-256 and SHA-256 both open, and their bytes stay unchanged."""
    data = export_pfx("n", rsa_key, certificate, PASSWORD, legacy=legacy)
    pfx = open_pfx(data, PASSWORD)
    assert (pfx.data, pfx.certificate, pfx.chain_length) == (data, certificate, 0)


@pytest.mark.parametrize(("legacy", "shown"), [(True, "pbeWithSHA1And3-KeyTripleDES-CBC"), (False, "AES-256-CBC")])
def test_public_key_formats_match_openssl(
    rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, legacy: bool, shown: str, tmp_path: Path
) -> None:
    """OpenSSL reads our exports and names the algorithms we claim."""
    (tmp_path / "a.pfx").write_bytes(export_pfx("n", rsa_key, certificate, PASSWORD, legacy=legacy))
    command = ["openssl", "pkcs12", "-info", "-noout", "-in", str(tmp_path / "a.pfx"), "-passin", f"pass:{PASSWORD}"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stderr
    assert shown in said


def test_thumbprint_is_openssls(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """The thumbprint is the SHA-1 fingerprint that OpenSSL prints, lower case without separators."""
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha1"]
    said = subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode()
    expected = said.strip().partition("=")[2].replace(":", "").lower()
    assert open_pfx(export_pfx("n", rsa_key, certificate, PASSWORD), PASSWORD).thumbprint == expected


def problem(data: bytes, password: str = PASSWORD) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(PfxProblem) as refused:
        open_pfx(data, password)
    assert refused.value.remedy
    return str(refused.value)


def test_wrong_password_is_reported(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """A wrong password is called that, and is not repeated."""
    for wrong in ("canary-4711", "canary\0", "canary".encode("utf-16-le").decode()):
        said = problem(export_pfx("n", rsa_key, certificate, PASSWORD), wrong)
        assert "password does not open" in said
        assert "canary" not in said


@pytest.mark.parametrize("data", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\n", bytes(2000), b"\x30\x80\x00\x00"])
def test_other_files_are_reported(data: bytes) -> None:
    """A file that is not a PFX is reported as such, whatever it contains."""
    assert "not a PFX" in problem(data)


def test_truncated_pfx_is_refused(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """A truncated PFX is refused as not a PFX."""
    assert "not a PFX" in problem(export_pfx("n", rsa_key, certificate, PASSWORD)[:-20])


def test_missing_key_is_reported(certificate: x509.Certificate) -> None:
    """The error for a PFX without a key says that it has only certificates."""
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    data = pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(certificate, b"n")], encryption)
    assert "no private key" in problem(data)


def test_key_without_certificate_is_reported(rsa_key: rsa.RSAPrivateKey) -> None:
    """The error for a PFX without a certificate says that it has only a key."""
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    data = pkcs12.serialize_key_and_certificates(b"n", rsa_key, None, None, encryption)
    assert "no certificate for it" in problem(data)


def test_two_keys_are_counted(
    rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A PFX with two private keys is refused with their number."""
    first = export_pfx("a", rsa_key, certificate, PASSWORD)
    second = export_pfx("b", other_key, self_signed(other_key), PASSWORD)
    assert "holds 2 private keys" in problem(two_keys(first, second))


def test_expired_certificate_is_reported(rsa_key: rsa.RSAPrivateKey) -> None:
    """An expired certificate is refused with its date and what to do instead."""
    expired = self_signed(rsa_key, days=-5)
    pfx = open_pfx(export_pfx("n", rsa_key, expired, PASSWORD), PASSWORD)
    with pytest.raises(PfxProblem, match=re.compile(f"expired on {pfx.end:%Y-%m-%d}.*--allow-expired", re.DOTALL)):
        check_validity(pfx, datetime.now(UTC))


def test_future_certificate_is_reported(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """A certificate that is not valid yet is refused with its date."""
    pfx = open_pfx(export_pfx("n", rsa_key, certificate, PASSWORD), PASSWORD)
    with pytest.raises(PfxProblem, match="not valid before"):
        check_validity(pfx, pfx.start - timedelta(days=1))


def test_chain_is_counted(rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey) -> None:
    """Certificates beside the leaf are counted, since iPhones refuse a PFX with CA certificates."""
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    data = pkcs12.serialize_key_and_certificates(
        b"n", rsa_key, self_signed(rsa_key), [self_signed(other_key)], encryption
    )
    assert open_pfx(data, PASSWORD).chain_length == 1


def test_pfx_created_by_openssl_opens(
    rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, tmp_path: Path
) -> None:
    """A PFX that OpenSSL wrote, in its legacy form with RC2-40, opens."""
    (tmp_path / "k.pem").write_bytes(to_pem(rsa_key) + certificate.public_bytes(serialization.Encoding.PEM))
    command = [
        "openssl",
        "pkcs12",
        "-export",
        "-legacy",
        "-in",
        str(tmp_path / "k.pem"),
        "-passout",
        f"pass:{PASSWORD}",
    ]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    assert open_pfx(data, PASSWORD).certificate == certificate


def test_purpose_follows_key_usage() -> None:
    """The purpose follows from the key usage: key encipherment is for encryption, digital signature alone for signing."""
    issued = MailAuthority(datetime.now(UTC)).history("user@pfxlab.example")
    assert [purpose_of(i.certificate) for i in issued] == [i.purpose for i in issued]
    assert IntendedPurpose.smimeSigning in {i.purpose for i in issued}
