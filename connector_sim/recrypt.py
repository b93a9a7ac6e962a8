"""The hot path: decrypt an imported password with the on-premises key, encrypt it for a device. Pure.

Follows RecryptPfxImportMessage of Microsoft's PFXImport sources (reference graph-intune 2.4): OAEP decryption,
then CMS EnvelopedData for one recipient, by issuer and serial number. Apple devices get the whole payload array,
Windows devices the password alone.
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

from connector_sim.errors import ConnectorError
from connector_sim.keys.provider import DecryptionKey
from emulator.wire.apple import PlistError, fill_pkcs12_payload
from emulator.wire.connector import (
    RECIPIENT_UNUSABLE,
    TEMPLATE_UNUSABLE,
    NotRecrypted,
    PayloadEncryption,
    Recrypted,
    Result,
    WorkItem,
)


def as_ascii(password: bytes) -> str:
    """Return a password as the connector reads it: ASCII, every other byte a question mark, as .NET decodes it."""
    return "".join(chr(byte) if byte < 128 else "?" for byte in password)


def envelop(content: bytes, recipient_der: bytes) -> bytes:
    """Return DER CMS EnvelopedData of `content` for one certificate: AES-256-CBC, PKCS#1 v1.5, issuer and serial.

    Raises:
        ValueError: not a certificate.
        TypeError: its key is not RSA.

    """
    return (
        PKCS7EnvelopeBuilder()
        .set_data(content)
        .add_recipient(x509.load_der_x509_certificate(recipient_der))
        .set_content_encryption_algorithm(algorithms.AES256)
        .encrypt(Encoding.DER, [PKCS7Options.Binary])
    )


def recrypt(item: WorkItem, key: DecryptionKey) -> Result:
    """Return a work item's result; every failure comes back as a reason, none is raised."""
    try:
        password = as_ascii(key.decrypt(item.encrypted_pfx_password, item.padding_scheme))
    except ConnectorError as error:
        return NotRecrypted(item.request_id, error.code, str(error))
    content = password.encode("ascii")
    if isinstance(item, PayloadEncryption):
        try:
            content = fill_pkcs12_payload(
                item.plist_template, item.cert1_payload_uuid, item.encrypted_pfx_blob, password
            )
        except (PlistError, ValueError) as error:
            return NotRecrypted(item.request_id, TEMPLATE_UNUSABLE, _public_text(error))
    try:
        return Recrypted(item.request_id, envelop(content, item.device_certificate))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        message = "expected a device certificate with an RSA key, got one that nothing can be encrypted to"
        return NotRecrypted(item.request_id, RECIPIENT_UNUSABLE, message)


def _public_text(error: ValueError) -> str:
    # plistlib names the value it cannot write, and that value is the password.
    return str(error) if isinstance(error, PlistError) else "the password holds characters a plist cannot carry"
