"""The connector's own identity: key and client certificate in a folder, readable by the service account only."""

import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from pfxlab import private_file
from pfxlab.connector_sim.errors import FileDamaged
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.emulator.wire.files.key_pem import read_identity, to_pem

_PENDING: Final = "enrolling.pem"


@dataclass(frozen=True)
class Identity:
    """An enrolled connector: its id, the PEM file with key and certificate, and when that certificate ends."""

    connector_id: str
    path: Path
    ends: datetime

    def tls(self, ca_file: Path) -> ssl.SSLContext:
        """Return a client context that trusts `ca_file` and shows this identity."""
        context = ssl.create_default_context(cafile=str(ca_file))
        context.load_cert_chain(self.path)
        return context


MakeKey = Callable[[], rsa.RSAPrivateKey]


def new_key() -> rsa.RSAPrivateKey:
    """Return a fresh RSA-2048 key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def enrolment_key(folder: Path, make_key: MakeKey = new_key) -> rsa.RSAPrivateKey:
    """Return the key of an enrolment that was begun in a folder and has no answer yet, else a new one, kept there.

    The service knows an enrolment that is repeated by its key, so that one that was cut off leaves no second connector.
    """
    path = folder / _PENDING
    with contextlib.suppress(OSError, ValueError):
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, rsa.RSAPrivateKey):
            return key
    made = make_key()
    private_file.replace(path, to_pem(made))
    return made


def is_pending(folder: Path) -> bool:
    """Return whether an enrolment was begun in a folder and has no answer yet."""
    return (folder / _PENDING).exists()


def answered(folder: Path) -> None:
    """Forget the key of an enrolment: the service has refused it, or the connector has its identity."""
    (folder / _PENDING).unlink(missing_ok=True)


def new_request(machine_name: str, make_key: MakeKey = new_key) -> tuple[rsa.RSAPrivateKey, bytes]:
    """Return a fresh key and its PKCS#10 request, DER."""
    key = make_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, machine_name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return key, request.public_bytes(serialization.Encoding.DER)


def save(folder: Path, connector_id: str, key: rsa.RSAPrivateKey, certificate_der: bytes) -> Identity:
    """Write an identity, whole or not at all, in place of the one before, and return it."""
    certificate = x509.load_der_x509_certificate(certificate_der)
    path = folder / f"connector-{connector_id}.pem"
    private_file.replace(path, to_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
    answered(folder)
    return Identity(connector_id, path, certificate.not_valid_after_utc)


def find(folder: Path) -> Identity | None:
    """Return the identity kept in a folder, or None.

    Raises:
        FileDamaged: its file is there and holds no key with its certificate.

    """
    path = next(iter(sorted(folder.glob("connector-*.pem"))), None)
    if path is None:
        return None
    remedy = f"delete {path} and enrol again"
    with reading(path, "the connector's key and certificate", remedy, FileDamaged):
        _, certificate = read_identity(path.read_bytes())
    return Identity(path.stem.removeprefix("connector-"), path, certificate.not_valid_after_utc)
