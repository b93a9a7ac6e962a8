"""TLS of the one port: a private CA with RSA keys, and client certificates asked for but not demanded."""

import os
import ssl
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab import private_file
from pfxlab.emulator.hosts.microsoft import CERTIFICATE_NAMES
from pfxlab.emulator.wire.files.damaged import UNREADABLE, reading
from pfxlab.emulator.wire.files.key_pem import read_identity

# OpenSSL's X509_V_FLAG_NO_CHECK_TIME: the lab's clock may stand years away from the machine's; the rooms that
# accept client certificates compare validity with the lab's clock themselves.
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_REMEDY = (
    "put it back from a copy, or delete tls-ca.pem and tls-server.pem for new ones, which tools and the connectors and"
    " devices outside of this lab must then trust"
)
_NAMES = ("localhost", "127.0.0.1", "::1", *CERTIFICATE_NAMES)


class ServerTls:
    """The server's certificate and the CA clients must trust. Kept in a folder, or fresh."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read what is kept in a folder; a server certificate that cannot be used is issued anew by the kept CA.

        Raises:
            Damaged: the CA's file holds something else, or is missing although it has issued.

        """
        self._kept = None if folder is None else folder / "tls-server.pem"
        self._leaf: trustme.LeafCert | None = None
        if self._kept is not None and os.path.lexists(self._kept):
            ca_file = self._kept.with_name("tls-ca.pem")
            with reading(ca_file, "the CA that issued tls-server.pem", _REMEDY):
                # The CA's key is not needed again: reading it would take longer than all else at a start.
                self._ca_pem = _CERTIFICATE + ca_file.read_bytes().partition(_CERTIFICATE)[2]
                ca_certificate = x509.load_pem_x509_certificate(self._ca_pem)
            if _is_current(self._kept, ca_certificate):
                return
        ca = _load_or_create(folder)
        self._ca_pem = ca.cert_pem.bytes()
        self._leaf = ca.issue_cert(
            *_NAMES,
            organization_name="PFX Lab TEST ONLY",
            common_name="localhost",
            key_type=trustme.KeyType.RSA,
        )
        if self._kept is not None:
            chain = b"".join(blob.bytes() for blob in self._leaf.cert_chain_pems)
            with reading(self._kept, "a file that can be written", "delete it"):
                private_file.replace(self._kept, self._leaf.private_key_pem.bytes() + chain)

    @property
    def ca_pem(self) -> bytes:
        """Return the CA certificate, PEM."""
        return self._ca_pem

    def server_context(self, client_authorities: list[x509.Certificate]) -> ssl.SSLContext:
        """Return the context of the listening port; client certificates of these authorities are verified."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if self._leaf is not None:
            self._leaf.configure_cert(context)
        else:
            context.load_cert_chain(str(self._kept))
        context.verify_mode = ssl.CERT_OPTIONAL
        if client_authorities:
            pems = [authority.public_bytes(Encoding.PEM).decode() for authority in client_authorities]
            context.load_verify_locations(cadata="".join(pems))
        context.verify_flags |= _NO_CHECK_TIME
        return context


def _is_current(kept: Path, ca: x509.Certificate) -> bool:
    """Return whether a kept server certificate can be used: it is sound, the CA's, and has every name of today."""
    try:
        _, certificate = read_identity(kept.read_bytes())
        certificate.verify_directly_issued_by(ca)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, x509.ExtensionNotFound, *UNREADABLE):
        return False
    return set(_NAMES) <= {str(name.value) for name in names}


def _load_or_create(folder: Path | None) -> trustme.CA:
    if folder is None:
        return _new()
    path = folder / "tls-ca.pem"
    if os.path.lexists(path):
        with reading(path, "key and certificate of the CA that clients of this lab trust", _REMEDY):
            key, certificate = path.read_bytes().split(_CERTIFICATE)
            return trustme.CA.from_pem(_CERTIFICATE + certificate, key)
    ca = _new()
    private_file.replace(path, ca.private_key_pem.bytes() + ca.cert_pem.bytes())
    return ca


def _new() -> trustme.CA:
    return trustme.CA(
        organization_name="PFX Lab TEST ONLY", organization_unit_name="TLS CA", key_type=trustme.KeyType.RSA
    )
