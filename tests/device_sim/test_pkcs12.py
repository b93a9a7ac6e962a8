"""How devices treat a password that no PKCS#12 can have."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim.pkcs12 import WrongPassword, open_container
from pfxlab.scenarios.mail.authority import export_pfx


@pytest.mark.parametrize("password", [b"a\0b", "secret-word".encode("utf-16-le"), b"\0", b"\xff\xfe"])
async def test_null_bytes_are_a_wrong_password(
    rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, password: bytes
) -> None:
    """A password with null bytes, as after UTF-16, is a wrong password, and not the end of the device."""
    with pytest.raises(WrongPassword):
        await open_container(export_pfx("n", rsa_key, certificate, "secret-word"), password)
