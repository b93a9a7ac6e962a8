"""TLS of the one port: a private CA with RSA keys, and client certificates asked for but not demanded."""

import ssl
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab import private_file
from pfxlab.emulator.proxy import MICROSOFT_HOSTS

# OpenSSL's X509_V_FLAG_NO_CHECK_TIME: the lab's clock may stand years away from the machine's; the rooms that
# accept client certificates compare validity with the lab's clock themselves.
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_NAMES = ("localhost", "127.0.0.1", "::1", *MICROSOFT_HOSTS)


class ServerTls:
    """The server's certificate and the CA clients must trust. Kept in a folder, or fresh."""

    def __init__(self, folder: Path | None = None) -> None:
        self._kept = None if folder is None else folder / "tls-server.pem"
        self._leaf: trustme.LeafCert | None = None
        if self._kept is not None and _is_current(self._kept):
            # The CA's key is not needed again: reading it would take longer than all else at a start.
            self._ca_pem = (self._kept.parent / "tls-ca.pem").read_bytes().partition(_CERTIFICATE)[2]
            self._ca_pem = _CERTIFICATE + self._ca_pem
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


def _is_current(kept: Path) -> bool:
    """Return whether a kept server certificate can be used: its CA is there, and it has every name of today."""
    if not (kept.exists() and (kept.parent / "tls-ca.pem").exists()):
        return False
    certificate = x509.load_pem_x509_certificate(_CERTIFICATE + kept.read_bytes().partition(_CERTIFICATE)[2])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = {str(name.value) for name in names}
    return set(_NAMES) <= held


def _load_or_create(folder: Path | None) -> trustme.CA:
    if folder is None:
        return _new()
    path = folder / "tls-ca.pem"
    if path.exists():
        key, certificate = path.read_bytes().split(_CERTIFICATE)
        return trustme.CA.from_pem(_CERTIFICATE + certificate, key)
    ca = _new()
    private_file.replace(path, ca.private_key_pem.bytes() + ca.cert_pem.bytes())
    return ca


def _new() -> trustme.CA:
    return trustme.CA(
        organization_name="PFX Lab TEST ONLY", organization_unit_name="TLS CA", key_type=trustme.KeyType.RSA
    )
