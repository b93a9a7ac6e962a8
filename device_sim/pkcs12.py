"""Opens a PKCS#12 the way a device does: the key and its certificate, and what came along."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from pfxlab.emulator.wire.asn1.pkcs12_cost import CostlyPkcs12, check_cost, check_rsa
from pfxlab.emulator.wire.files.damaged import UNREADABLE, Unusable
from pfxlab.emulator.wire.files.key_pem import read_identity, to_pem


class WrongPassword(Exception):
    """The password does not open the container."""


class NotPkcs12(Exception):
    """The bytes are no PKCS#12 container."""


class CertificateUnusable(NotPkcs12):
    """The container opens, but a device could not keep what is in it; the text says why."""


@dataclass(frozen=True, repr=False)
class Opened:
    """What a container holds. `key` is None when it has no RSA key with its certificate."""

    key: rsa.RSAPrivateKey | None
    certificate: x509.Certificate | None
    others: tuple[x509.Certificate, ...]


def open_container(data: bytes, password: bytes) -> Opened:
    """Return the content of a PKCS#12.

    Raises:
        WrongPassword: the password does not open it.
        NotPkcs12: it is none.
        CertificateUnusable: it would take too long to open, or its key or certificate has values that cannot be read
            again later.

    """
    try:
        check_cost(data)
    except CostlyPkcs12 as costly:
        raise CertificateUnusable(str(costly)) from None
    if b"\0" in password:
        # No password of a PKCS#12 holds one, and cryptography stops the whole process on it.
        raise WrongPassword
    try:
        loaded = pkcs12.load_pkcs12(data, password)
    except TypeError:
        # cryptography wants UTF-8; bytes that are not cannot be the password of any container it opens.
        raise WrongPassword from None
    except ValueError as error:
        # cryptography tells the two apart by text only.
        raise (WrongPassword if "password" in str(error).lower() else NotPkcs12) from None
    key = loaded.key if isinstance(loaded.key, rsa.RSAPrivateKey) else None
    leaf = None if loaded.cert is None else loaded.cert.certificate
    if key is not None and leaf is not None:
        _check_kept(key, leaf)
    return Opened(key, leaf, tuple(extra.certificate for extra in loaded.additional_certs))


def _check_kept(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """Let an identity pass that a store can read after a restart: it is written and read as the store does it."""
    numbers = key.public_key().public_numbers()
    try:
        check_rsa(numbers.n, numbers.e)
        read_identity(to_pem(key, certificate))
    except (Unusable, CostlyPkcs12) as error:
        raise CertificateUnusable(str(error)) from None
    except UNREADABLE:
        raise CertificateUnusable("a key or certificate that cannot be kept") from None
