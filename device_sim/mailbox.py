"""The mail program of a device: opens S/MIME mail with what the certificate store holds, and signs.

Sources: sources.md#smime-messages (media types), sources.md#smime-certificates (key usage).
"""

import email
import email.policy

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from cryptography.x509.oid import ExtendedKeyUsageOID

from pfxlab.device_sim.certstore import CertStore, Identity
from pfxlab.device_sim.cms import CannotDecrypt, decrypt, recipients_match

_ENVELOPED = ("application/pkcs7-mime", "application/x-pkcs7-mime")


class CannotOpen(Exception):
    """No identity of the device opens the mail."""


class NothingToSignWith(Exception):
    """The device holds no certificate that may sign mail."""


def open_mail(mail: bytes, store: CertStore) -> tuple[bytes, Identity]:
    """Return a mail's decrypted MIME entity, and the identity that opened it.

    Raises:
        CannotOpen: not an encrypted mail, or addressed to no identity of this device.

    """
    message = email.message_from_bytes(mail, policy=email.policy.default)
    content = message.get_payload(decode=True)
    if message.get_content_type() not in _ENVELOPED or not isinstance(content, bytes):
        raise CannotOpen(f"expected {_ENVELOPED[0]}, got {message.get_content_type()}")
    for identity in store.identities():
        try:
            if recipients_match(content, identity.certificate):
                return decrypt(content, identity.certificate, identity.key), identity
        except CannotDecrypt as error:
            raise CannotOpen(f"addressed to {identity.thumbprint}, but {error.detail}") from None
    raise CannotOpen(f"addressed to none of the {len(store.identities())} certificates on this device")


def may_sign(certificate: x509.Certificate) -> bool:
    """Return whether key usage and extended key usage let a certificate sign mail; absent ones allow everything."""
    extensions = certificate.extensions
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        if not (usage.digital_signature or usage.content_commitment):
            return False
    except x509.ExtensionNotFound:
        pass
    try:
        purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        return bool(purposes & {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
    except x509.ExtensionNotFound:
        return True


def sign_mail(text: bytes, store: CertStore, source: str | None = None) -> tuple[bytes, Identity]:
    """Return a multipart/signed mail and the identity that signed.

    `source` names the store entry that a mail account signs with; without one the latest that may sign does.

    Raises:
        NothingToSignWith: no certificate on the device may sign.

    """
    for identity in store.identities():
        if source in (None, identity.source) and may_sign(identity.certificate):
            builder = PKCS7SignatureBuilder().set_data(text)
            builder = builder.add_signer(identity.certificate, identity.key, hashes.SHA256())
            options = [PKCS7Options.DetachedSignature, PKCS7Options.Text]
            return builder.sign(Encoding.SMIME, options), identity
    raise NothingToSignWith(f"none of the {len(store.identities())} certificates on this device may sign")
