import contextlib
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.device_sim.cms import CannotDecrypt, decrypt, recipients_match
from tests.conftest import self_signed

TEXT = b"a password, or a mail\r\nwith two lines"


def enveloped(certificate: x509.Certificate, folder: Path, *options: str, content: bytes = TEXT) -> bytes:
    """Return CMS in DER or BER, created by OpenSSL."""
    (folder / "r.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    command = [
        "openssl",
        "cms",
        "-encrypt",
        "-binary",
        "-outform",
        "DER",
        *options[:1],
        "-recip",
        str(folder / "r.pem"),
    ]
    return subprocess.run([*command, *options[1:]], input=content, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "options",
    [
        ("-aes128",),
        ("-aes192",),
        ("-aes256",),
        ("-des3",),
        ("-aes256", "-keyid"),
        ("-aes256", "-keyopt", "rsa_padding_mode:oaep"),
        ("-aes256", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"),
        ("-aes256", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_mgf1_md:sha512"),
        ("-aes256", "-stream"),
        ("-des3", "-stream", "-keyid"),
    ],
    ids=" ".join,
)
def test_decrypts_openssl_messages(
    rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Every cipher, key transport, recipient form and encoding that connectors and old mail use is read."""
    message = enveloped(certificate, tmp_path, *options)
    assert recipients_match(message, certificate)
    assert decrypt(message, certificate, rsa_key) == TEXT


def test_other_certificate_is_not_a_recipient(
    other_key: rsa.RSAPrivateKey, certificate: x509.Certificate, tmp_path: Path
) -> None:
    """A message to another recipient is recognised before any key is used."""
    message, other = enveloped(certificate, tmp_path, "-aes256"), self_signed(other_key)
    assert not recipients_match(message, other)
    with pytest.raises(CannotDecrypt) as refused:
        decrypt(message, other, other_key)
    assert refused.value.detail == "no recipient matches the certificate"


def test_wrong_key_never_yields_the_text(
    other_key: rsa.RSAPrivateKey, certificate: x509.Certificate, tmp_path: Path
) -> None:
    """With the right certificate and a wrong key the plaintext is not returned; the RFC allows garbage instead."""
    message = enveloped(certificate, tmp_path, "-aes256")
    try:
        assert decrypt(message, certificate, other_key) != TEXT
    except CannotDecrypt as refused:
        assert str(refused) == "cannot decrypt"


def test_authenticated_data_is_refused_by_name(
    rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, tmp_path: Path
) -> None:
    """AES-GCM, which needs AuthEnvelopedData, is refused with an error that says what was expected."""
    message = enveloped(certificate, tmp_path, "-aes-256-gcm")
    with pytest.raises(CannotDecrypt) as refused:
        decrypt(message, certificate, rsa_key)
    assert "enveloped_data" in refused.value.detail


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, data: bytes) -> None:
    """Bytes that are not CMS raise CannotDecrypt and no other error."""
    with pytest.raises(CannotDecrypt):
        decrypt(data, certificate, rsa_key)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_message_is_refused_or_differs(
    rsa_key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    tmp_path_factory: pytest.TempPathFactory,
    at: int,
    change: int,
) -> None:
    """A message with one byte changed raises CannotDecrypt or yields something, never another exception."""
    folder = tmp_path_factory.getbasetemp()
    cached = folder / "message.der"
    if not cached.exists():
        cached.write_bytes(enveloped(certificate, folder, "-aes256"))
    damaged = bytearray(cached.read_bytes())
    damaged[at % len(damaged)] ^= change
    with contextlib.suppress(CannotDecrypt):
        assert isinstance(decrypt(bytes(damaged), certificate, rsa_key), bytes)
