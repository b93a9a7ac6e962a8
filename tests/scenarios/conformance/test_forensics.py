"""What a client really did to a password, whatever it declared; ciphertexts are created by OpenSSL."""

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.scenarios.conformance.forensics import examine_password, examine_pfx

PASSWORD = b"correct horse"


def openssl(folder: Path, key: rsa.RSAPrivateKey, *options: str) -> str:
    """Return the password encrypted by `openssl pkeyutl`, in base64."""
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(pem)
    command = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", str(folder / "key.pem")]
    pairs = [part for option in options for part in ("-pkeyopt", option)]
    done = subprocess.run([*command, *pairs], input=PASSWORD, capture_output=True, check=True)
    return base64.b64encode(done.stdout).decode()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("rsa_padding_mode:oaep", "rsa_oaep_md:sha512", "rsa_mgf1_md:sha512"), "oaepSha512"),
        (("rsa_padding_mode:oaep", "rsa_oaep_md:sha384", "rsa_mgf1_md:sha384"), "oaepSha384"),
        (("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"), "oaepSha256"),
        (("rsa_padding_mode:oaep",), "oaepSha1"),
        (("rsa_padding_mode:oaep", "rsa_oaep_md:sha512", "rsa_mgf1_md:sha1"), "oaepSha512 with the mask of oaepSha1"),
        (("rsa_padding_mode:pkcs1",), "pkcs1"),
    ],
)
def test_padding_is_named(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, options: tuple[str, ...], name: str) -> None:
    """Each padding that OpenSSL can make is named, mixed hashes and the retired ones included."""
    found = examine_password(openssl(tmp_path, rsa_key, *options), {"K": rsa_key}, PASSWORD)
    assert (found.key_name, found.padding, found.clear) == ("K", name, PASSWORD)


def test_other_key_and_other_things(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey) -> None:
    """Another key decrypts nothing; a password in clear text, in double base64 and in no base64 are distinguished."""
    sent = openssl(tmp_path, rsa_key, "rsa_padding_mode:oaep", "rsa_oaep_md:sha512", "rsa_mgf1_md:sha512")
    assert examine_password(sent, {"K": other_key}, PASSWORD).key_name is None
    twice = base64.b64encode(sent.encode()).decode()
    assert examine_password(twice, {"K": rsa_key}, PASSWORD).encoded_twice
    assert examine_password(base64.b64encode(PASSWORD).decode(), {"K": rsa_key}, PASSWORD).in_clear
    assert examine_password(PASSWORD.decode(), {"K": rsa_key}, PASSWORD).in_clear
    assert examine_password(None, {"K": rsa_key}, PASSWORD).ciphertext is None


@pytest.mark.parametrize("value", [None, 5, "", "AA==", "no base64!", base64.b64encode(b"-----BEGIN").decode()])
def test_bytes_that_are_not_a_pfx(value: object) -> None:
    """Any bytes sent as a PFX are examined without an error."""
    assert not examine_pfx(value, [PASSWORD]).is_pfx
