import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.connector_sim.errors import DecryptFailed, PaddingUnsupported
from pfxlab.connector_sim.keys import padding
from pfxlab.connector_sim.keys.software import SoftwareKey
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.files.key_pem import to_pem

SCHEMES = st.sampled_from(padding.SUPPORTED)
DIGESTS = {PaddingScheme.oaepSha256: "sha256", PaddingScheme.oaepSha384: "sha384", PaddingScheme.oaepSha512: "sha512"}


@given(SCHEMES, st.data())
def test_password_survives_its_padding(rsa_key: rsa.RSAPrivateKey, scheme: PaddingScheme, data: st.DataObject) -> None:
    """A password of any bytes up to the limit survives encryption and decryption with the connector's key."""
    password = data.draw(st.binary(max_size=padding.longest_password(2048, scheme)))
    encrypted = padding.encrypt(rsa_key.public_key(), password, scheme)
    assert SoftwareKey("k", rsa_key).decrypt(encrypted, scheme) == password


@pytest.mark.parametrize(
    ("scheme", "limit"),
    [(PaddingScheme.oaepSha256, 190), (PaddingScheme.oaepSha384, 158), (PaddingScheme.oaepSha512, 126)],
)
def test_longest_password_is_rfc_8017s(rsa_key: rsa.RSAPrivateKey, scheme: PaddingScheme, limit: int) -> None:
    """RSA-2048 admits 190, 158 and 126 bytes under SHA-256, SHA-384 and SHA-512, and not one more."""
    assert padding.longest_password(2048, scheme) == limit
    padding.encrypt(rsa_key.public_key(), b"x" * limit, scheme)
    with pytest.raises(ValueError, match=f"at most {limit} bytes"):
        padding.encrypt(rsa_key.public_key(), b"x" * (limit + 1), scheme)


@pytest.mark.parametrize("scheme", padding.SUPPORTED)
def test_decrypts_openssl_ciphertext(rsa_key: rsa.RSAPrivateKey, scheme: PaddingScheme, tmp_path: Path) -> None:
    """A password that OpenSSL encrypted with OAEP and the same hash for MGF1 is read."""
    (tmp_path / "key.pem").write_bytes(to_pem(rsa_key))
    digest = DIGESTS[scheme]
    options = ["rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{digest}"]
    pairs = [part for option in options for part in ("-pkeyopt", option)]
    encrypted = subprocess.run(
        ["openssl", "pkeyutl", "-encrypt", "-inkey", tmp_path / "key.pem", *pairs],
        input=b"correct horse", capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert SoftwareKey("k", rsa_key).decrypt(encrypted, scheme) == b"correct horse"


@pytest.mark.parametrize("scheme", [PaddingScheme.none, PaddingScheme.pkcs1, PaddingScheme.oaepSha1])
def test_retired_schemes_are_refused_by_name(rsa_key: rsa.RSAPrivateKey, scheme: PaddingScheme) -> None:
    """Schemes that connectors no longer process are refused, naming those that they do."""
    with pytest.raises(PaddingUnsupported, match=f"oaepSha512, got {scheme.name}"):
        SoftwareKey("k", rsa_key).decrypt(b"x" * 256, scheme)


def test_wrong_key_and_wrong_padding_look_the_same(rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey) -> None:
    """A wrong key, a wrong hash and garbage give the same error, so that it is no padding oracle."""
    encrypted = padding.encrypt(rsa_key.public_key(), b"secret", PaddingScheme.oaepSha256)
    refusals = set()
    for key, ciphertext, scheme in (
        (other_key, encrypted, PaddingScheme.oaepSha256),
        (rsa_key, b"\0" * 256, PaddingScheme.oaepSha256),
        (rsa_key, b"short", PaddingScheme.oaepSha256),
    ):
        with pytest.raises(DecryptFailed) as refused:
            SoftwareKey("k", key).decrypt(ciphertext, scheme)
        refusals.add(str(refused.value))
    assert len(refusals) == 1
