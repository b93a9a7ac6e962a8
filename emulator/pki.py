"""The cloud's certificate authorities: one for MDM identities of devices, one for connectors' client certificates.

Only certification requests reach them: device and connector keys are made, and stay, at home.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from pfxlab import private_file
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.files.damaged import COPY_OR_NEW_LAB, reading
from pfxlab.emulator.wire.files.key_pem import read_identity

_FIVE_MINUTES = timedelta(minutes=5)
_NO_REQUEST = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion)
"""What cryptography raises over bytes that are no request it can read."""


class RequestRefused(ValueError):
    """A certification request the authority does not sign; the text says why."""


def thumbprint(certificate: x509.Certificate) -> str:
    """Return a certificate's SHA-1 as lower-case hexadecimal, as Windows and Graph name certificates."""
    return thumbprint_of_der(certificate.public_bytes(serialization.Encoding.DER))


def thumbprint_of_der(certificate: bytes) -> str:
    """Return the same of a certificate in DER."""
    return hashlib.sha1(certificate, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the lab."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def __repr__(self) -> str:
        """Name the authority without its key."""
        return f"Authority({self.certificate.subject.rfc4514_string()!r})"

    def issue(self, request_der: bytes, common_name: str, now: datetime, days: int = 365) -> x509.Certificate:
        """Return a client certificate for a request's key, with the subject this authority decides on.

        Raises:
            RequestRefused: not a PKCS#10 request, bad signature, or a key other than RSA of 2048 bits and more.

        """
        try:
            request = x509.load_der_x509_csr(request_der)
            valid, key = request.is_signature_valid, request.public_key()
        except _NO_REQUEST as error:
            raise RequestRefused(f"expected a PKCS#10 request in DER, got {len(request_der)} bytes ({error})") from None
        if not valid:
            raise RequestRefused("expected a request signed with its own key, the signature does not verify")
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
            raise RequestRefused("expected an RSA key of at least 2048 bits, the device must decrypt with it")
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _FIVE_MINUTES)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def key_digest(request_der: bytes) -> str:
    """Return the SHA-256 of the public key in a PKCS#10 request, hex; whether it has that key, `issue` checks.

    Raises:
        RequestRefused: not a request.

    """
    try:
        key = x509.load_der_x509_csr(request_der).public_key()
    except _NO_REQUEST as error:
        raise RequestRefused(f"expected a PKCS#10 request in DER, got {len(request_der)} bytes ({error})") from None
    return hashlib.sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def challenge_of(request_der: bytes) -> str:
    """Return the challengePassword of a PKCS#10 request.

    Raises:
        RequestRefused: not a request, or one without.

    """
    try:
        request = x509.load_der_x509_csr(request_der)
        return request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value.decode("utf-8")
    except (x509.AttributeNotFound, *_NO_REQUEST) as error:
        raise RequestRefused(f"expected a PKCS#10 request with a challengePassword, got none ({error})") from None


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "PFX Lab TEST ONLY"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, signs: bool = False, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def new_authority(common_name: str, now: datetime, key: rsa.RSAPrivateKey | None = None) -> Authority:
    """Return a fresh root authority, valid from a year ago for twenty years; `key`: one that is there already."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(_name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + timedelta(days=365 * 20))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # An authority that answers SCEP itself signs messages and opens requests: RFC 8894, section 2.1.2.
        .add_extension(_usage(signs=True, authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def load_or_create(path: Path | None, common_name: str, clock: Clock, issued: str = "") -> Authority:
    """Return the authority kept in a PEM file (key and certificate, 0600), made on first use.

    `issued`: what it has issued that is in use, empty for nothing; without it that is worth nothing.

    Raises:
        Damaged: the file holds something else, or is missing although something in use was issued.

    """
    if path is not None and (issued or os.path.lexists(path)):
        remedy = COPY_OR_NEW_LAB if issued else "delete it for a new one: nothing in use was issued by it"
        with reading(path, f"key and certificate of the authority that issued {issued or 'nothing yet'}", remedy):
            key, certificate = read_identity(path.read_bytes())
        return Authority(certificate, key)
    authority = new_authority(common_name, clock.now())
    if path is not None:
        pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
        private_file.replace(path, private_pem(authority.key) + pem)
    return authority


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return a key as unencrypted PKCS#8 PEM, for files only their owner may read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
