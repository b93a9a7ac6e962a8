"""Opens a PKCS#12 the way a device does: the key and its certificate, and what came along."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12


class WrongPassword(Exception):
    """The password does not open the container."""


class NotPkcs12(Exception):
    """The bytes are no PKCS#12 container."""


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

    """
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
    return Opened(key, leaf, tuple(extra.certificate for extra in loaded.additional_certs))
