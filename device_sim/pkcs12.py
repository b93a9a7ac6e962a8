"""Opens a PKCS#12 the way a device does: the key and its certificate, and what came along."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import pkcs12_process
from pfxlab.emulator.wire.asn1.pkcs12_cost import CostlyPkcs12, check_cost, check_rsa
from pfxlab.emulator.wire.files.damaged import UNREADABLE, Unusable
from pfxlab.emulator.wire.files.key_pem import read_identity, to_pem
from pfxlab.pkcs12_process import NotOpened, NotPkcs12, WrongPassword

__all__ = ["CertificateUnusable", "NotPkcs12", "Opened", "WrongPassword", "open_container"]


class CertificateUnusable(NotPkcs12):
    """The container opens, but a device could not keep what is in it; the text says why."""


@dataclass(frozen=True, repr=False)
class Opened:
    """What a container holds. `key` is None when it has no RSA key with its certificate."""

    key: rsa.RSAPrivateKey | None
    certificate: x509.Certificate | None
    others: tuple[x509.Certificate, ...]


async def open_container(data: bytes, password: bytes) -> Opened:
    """Return the content of a PKCS#12; other devices go on meanwhile.

    Raises:
        WrongPassword: the password does not open it.
        NotPkcs12: it is none.
        CertificateUnusable: it takes too long to open, or its key or certificate has values that cannot be read again
            later.

    """
    try:
        loaded = await pkcs12_process.load_async(data, password, check_cost(data).shown)
    except (CostlyPkcs12, NotOpened) as costly:
        raise CertificateUnusable(str(costly)) from None
    key = loaded.key if isinstance(loaded.key, rsa.RSAPrivateKey) else None
    if key is not None and loaded.certificate is not None:
        _check_kept(key, loaded.certificate)
    return Opened(key, loaded.certificate, loaded.others)


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
