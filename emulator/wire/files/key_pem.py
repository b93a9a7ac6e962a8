"""RSA keys and certificates as the parties keep them: PEM, read back with a check that costs less than proving primes.

RFC 8017, section 3.2, says how the numbers of an RSA key depend on each other.
"""

from collections.abc import Callable
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.wire.files.damaged import UNREADABLE, Unusable

_FIELDS: Final[dict[str, Callable[[x509.Certificate], Any]]] = {
    "serial number": lambda one: one.serial_number,
    "issuer": lambda one: one.issuer.rfc4514_string(),
    "NotBefore": lambda one: one.not_valid_before_utc,
    "NotAfter": lambda one: one.not_valid_after_utc,
    "subject": lambda one: one.subject.rfc4514_string(),
    "public key": lambda one: one.public_key(),
    "extensions": lambda one: list(one.extensions),
}
"""What the lab reads of a certificate later on: cryptography decodes each when it is first looked at."""


def check_certificate(certificate: x509.Certificate) -> None:
    """Let a certificate pass whose every field can be read.

    Raises:
        Unusable: which field cannot, such as a NotBefore in the year 0.

    """
    for name, read in _FIELDS.items():
        try:
            read(certificate)
        except UNREADABLE as error:
            why = f" ({error})" if "year" in str(error) or "Duplicate" in str(error) else ""
            raise Unusable(f"a certificate whose {name} cannot be read{why}") from None


def to_pem(key: rsa.RSAPrivateKey, certificate: x509.Certificate | None = None) -> bytes:
    """Return a key, unencrypted PKCS#8, and its certificate as PEM, for files only their owner may read."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem if certificate is None else pem + certificate.public_bytes(serialization.Encoding.PEM)


def read_key(pem: bytes) -> rsa.RSAPrivateKey:
    """Return the RSA key of a PEM file; that its primes are prime is not proven again, that its numbers fit is.

    Raises:
        Unusable: another key, or numbers that do not belong together.
        ValueError: no key at all.

    """
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Unusable(f"a key that is not RSA ({type(key).__name__})")
    held = key.private_numbers()
    p, q, d, e, n = held.p, held.q, held.d, held.public_numbers.e, held.public_numbers.n
    fits = p * q == n and (d * e - 1) % (p - 1) == 0 and (d * e - 1) % (q - 1) == 0
    if not (fits and held.dmp1 == d % (p - 1) and held.dmq1 == d % (q - 1) and held.iqmp * q % p == 1):
        raise Unusable("an RSA key whose numbers do not fit together")
    return key


def read_identity(pem: bytes) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """Return the RSA key and its certificate of a PEM file.

    Raises:
        Unusable: a key or certificate that cannot be used, or the certificate of another key.
        ValueError: none at all.

    """
    key, certificate = read_key(pem), x509.load_pem_x509_certificate(pem)
    check_certificate(certificate)
    if certificate.public_key() != key.public_key():
        raise Unusable("a certificate that is of another key")
    return key, certificate
