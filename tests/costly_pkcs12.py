"""A PKCS#12 that is dear to open and cheap to make: its key is RSA-8192, whose primes everybody knows."""

import subprocess
from functools import lru_cache
from typing import Final

from asn1crypto import core, pem
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.scenarios.mail.authority import export_pfx
from tests.conftest import self_signed

PASSWORD: Final = "correct horse"


@lru_cache(maxsize=1)
def longest_key() -> rsa.RSAPrivateKey:
    """Return an RSA key of 8191 bits, made of p and (p - 1) / 2: p is the safe prime of RFC 3526, section 5."""
    command = ["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:modp_4096"]
    _, _, der = pem.unarmor(subprocess.run(command, check=True, capture_output=True).stdout)
    p = core.SequenceOf.load(der, spec=core.Integer)[0].native
    q, e = (p - 1) // 2, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, *exponents, rsa.RSAPublicNumbers(e, p * q))
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


@lru_cache(maxsize=1)
def costly_container() -> bytes:
    """Return a container with that key: proving its primes takes seconds of a processor, iterations add little."""
    return export_pfx("n", longest_key(), self_signed(longest_key()), PASSWORD)
