"""The search for secrets must itself find them."""

import base64

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.wire.files.key_pem import to_pem
from pfxlab.scenarios.mail.canaries import of_key, of_password, search


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_password_is_found_in_every_spelling(before: bytes, after: bytes) -> None:
    """A password is found in plain text, as UTF-16, in hexadecimal, and in base64 at any offset."""
    secret = "correct-horse-battery"
    canary = [of_password("x", secret)]
    raw = secret.encode()
    for content in (
        before + raw + after,
        before + secret.encode("utf-16-le") + after,
        (before + raw + after).hex().encode(),
        (before + raw + after).hex().upper().encode(),
        base64.b64encode(before + raw + after),
    ):
        assert search(canary, [("place", content)])


def test_key_is_found_in_its_usual_files(rsa_key: rsa.RSAPrivateKey) -> None:
    """A private key is found in PKCS#8 as DER and PEM body, and in the traditional form."""
    der = rsa_key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    pem = b"".join(to_pem(rsa_key).splitlines()[1:-1])
    for content in (der, pem, base64.b64encode(der)):
        assert {finding.canary for finding in search(of_key("k", rsa_key), [("place", content)])} == {
            "prime 1 of k",
            "prime 2 of k",
            "private exponent of k",
        }


def test_other_content_is_clean(rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey) -> None:
    """The public key and another key's file are not findings."""
    public = rsa_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert search(of_key("k", rsa_key), [("public", public), ("other", to_pem(other_key))]) == []


def test_finding_does_not_repeat_the_secret() -> None:
    """Neither a canary nor a finding shows the secret it is about."""
    canary = of_password("x", "correct-horse-battery")
    assert "horse" not in repr(canary) + repr(search([canary], [("p", b"correct-horse-battery")]))
