"""SCEP messages (RFC 8894): how an Apple device gets its identity at enrolment without anybody else knowing the key.

A request is SignedData by the requester around EnvelopedData for the authority around a PKCS#10; the answer is
SignedData by the authority around EnvelopedData for the requester around a certificates-only message.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asn1crypto import core
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import pkcs7

from pfxlab.emulator.wire.signed_data import SignatureProblem, sign, verify

CONTENT_TYPE: Final = "application/x-pki-message"
CA_CONTENT_TYPE: Final = "application/x-x509-ca-cert"
CAPABILITIES: Final = "AES\nPOSTPKIOperation\nSCEPStandard\nSHA-256\n"

_MESSAGE_TYPE: Final = "2.16.840.1.113733.1.9.2"
_STATUS: Final = "2.16.840.1.113733.1.9.3"
_FAIL_INFO: Final = "2.16.840.1.113733.1.9.4"
SENDER_NONCE: Final = "2.16.840.1.113733.1.9.5"
_RECIPIENT_NONCE: Final = "2.16.840.1.113733.1.9.6"
_TRANSACTION: Final = "2.16.840.1.113733.1.9.7"
_PKCS_REQ, _CERT_REP = "19", "3"


class FailInfo(StrEnum):
    """Why a request is refused: RFC 8894, section 3.2.1.4 (sources.md#scep)."""

    BAD_ALGORITHM = "0"
    BAD_MESSAGE_CHECK = "1"
    BAD_REQUEST = "2"
    BAD_TIME = "3"
    BAD_CERTIFICATE = "4"


class ScepError(ValueError):
    """Not the SCEP message that was expected; the text says why."""


@dataclass(frozen=True, repr=False)
class PkcsReq:
    """A request: the PKCS#10 in DER, who signed it, what the answer must repeat."""

    request: bytes
    signer: x509.Certificate
    transaction_id: str
    sender_nonce: bytes


def _envelop(content: bytes, recipient: x509.Certificate) -> bytes:
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content).add_recipient(recipient)
    builder = builder.set_content_encryption_algorithm(algorithms.AES256)
    return builder.encrypt(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _open(der: bytes, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    try:
        return pkcs7.pkcs7_decrypt_der(der, certificate, key, [])
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ScepError(f"expected EnvelopedData for {certificate.subject.rfc4514_string()} ({error})") from None


def pkcs_req(
    request: bytes,
    authority: x509.Certificate,
    signer: x509.Certificate,
    key: rsa.RSAPrivateKey,
    transaction_id: str,
    nonce: bytes,
) -> bytes:
    """Return a PKCSReq: `signer` is self-signed at enrolment, the present identity at renewal; `nonce` 16 bytes."""
    attributes = {
        _MESSAGE_TYPE: core.PrintableString(_PKCS_REQ),
        _TRANSACTION: core.PrintableString(transaction_id),
        SENDER_NONCE: core.OctetString(nonce),
    }
    return sign(_envelop(request, authority), signer, key, attributes)


def read_pkcs_req(data: bytes, authority: x509.Certificate, key: rsa.RSAPrivateKey) -> PkcsReq:
    """Return a request addressed to an authority.

    Raises:
        ScepError: no PKCSReq, a signature that does not verify, or encrypted to another.

    """
    try:
        signed = verify(data)
    except SignatureProblem as problem:
        raise ScepError(str(problem)) from None
    kind, transaction = signed.attributes.get(_MESSAGE_TYPE), signed.attributes.get(_TRANSACTION)
    nonce = signed.attributes.get(SENDER_NONCE)
    if kind != _PKCS_REQ or not isinstance(transaction, str) or not isinstance(nonce, bytes):
        raise ScepError(f"expected a PKCSReq with transaction id and nonce, got message type {kind}")
    return PkcsReq(_open(signed.content, authority, key), signed.signer, transaction, nonce)


def _reply(csr: PkcsReq, status: str) -> dict[str, core.Asn1Value]:
    return {
        _MESSAGE_TYPE: core.PrintableString(_CERT_REP),
        _STATUS: core.PrintableString(status),
        _TRANSACTION: core.PrintableString(csr.transaction_id),
        _RECIPIENT_NONCE: core.OctetString(csr.sender_nonce),
        SENDER_NONCE: core.OctetString(csr.sender_nonce[::-1]),
    }


def cert_rep(csr: PkcsReq, issued: x509.Certificate, authority: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    """Return the answer that carries the certificate, encrypted to whoever signed the request."""
    certificates = pkcs7.serialize_certificates([issued], serialization.Encoding.DER)
    return sign(_envelop(certificates, csr.signer), authority, key, _reply(csr, "0"))


def cert_rep_failure(csr: PkcsReq, why: FailInfo, authority: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    """Return the answer that refuses."""
    attributes = {**_reply(csr, "2"), _FAIL_INFO: core.PrintableString(why)}
    return sign(b"", authority, key, attributes)


def read_cert_rep(
    data: bytes,
    authority: x509.Certificate,
    certificate: x509.Certificate,
    key: rsa.RSAPrivateKey,
    transaction_id: str,
    nonce: bytes,
) -> x509.Certificate:
    """Return the issued certificate of an answer to one's own request.

    Raises:
        ScepError: refused, signed by another than the authority, or the answer to another request.

    """
    try:
        signed = verify(data)
    except SignatureProblem as problem:
        raise ScepError(str(problem)) from None
    facts = signed.attributes
    if signed.signer != authority or facts.get(_MESSAGE_TYPE) != _CERT_REP:
        raise ScepError("expected a CertRep signed by the authority, got another message")
    if facts.get(_TRANSACTION) != transaction_id or facts.get(_RECIPIENT_NONCE) != nonce:
        raise ScepError("expected the answer to this request, got one to another")
    if facts.get(_STATUS) != "0":
        raise ScepError(f"expected a certificate, got pkiStatus {facts.get(_STATUS)}, failInfo {facts.get(_FAIL_INFO)}")
    issued = pkcs7.load_der_pkcs7_certificates(_open(signed.content, certificate, key))
    if not issued:
        raise ScepError("expected a certificate, got none")
    return issued[0]
