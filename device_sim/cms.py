"""Decrypts CMS EnvelopedData with a device's key: what connectors, old mail and other tools produce.

Wider than cryptography's PKCS#7 functions: AES-128/192/256-CBC and 3DES, PKCS#1 v1.5 and OAEP, recipients by issuer and
serial or by subject key identifier, DER and BER. Sources: sources.md#cms-enveloped-data, sources.md#cms-in-python.
"""

from collections.abc import Callable
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as asymmetric_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, algorithms, modes

from pfxlab.emulator.wire.asn1 import ber

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_CIPHERS: dict[str, tuple[Callable[[bytes], CipherAlgorithm], int]] = {
    "aes128_cbc": (algorithms.AES, 16),
    "aes192_cbc": (algorithms.AES, 24),
    "aes256_cbc": (algorithms.AES, 32),
    "tripledes_3key": (TripleDES, 24),
}


class CannotDecrypt(Exception):
    """The message is not for this key, or cannot be decrypted; `detail` is for traces, not for peers.

    That decryption succeeded proves nothing either: a wrong RSA key may yield garbage.
    """

    def __init__(self, detail: str) -> None:
        super().__init__("cannot decrypt")
        self.detail = detail


def _load(der: bytes) -> Any:
    try:
        # Of bounded size and depth; libraries work on whatever there is.
        ber.read(der)
        info = cms.ContentInfo.load(der)
        if info["content_type"].native != "enveloped_data":
            raise CannotDecrypt(f"expected enveloped_data, got {info['content_type'].native}")
        return info["content"]
    except (ValueError, TypeError, KeyError) as error:
        raise CannotDecrypt(f"expected CMS, got {len(der)} other bytes ({error})") from None


def _is_for(recipient: Any, certificate: x509.Certificate) -> bool:
    rid = recipient["rid"]
    if rid.name == "issuer_and_serial_number":
        same_issuer = bool(rid.chosen["issuer"].dump() == certificate.issuer.public_bytes())
        return same_issuer and rid.chosen["serial_number"].native == certificate.serial_number
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return bool(rid.chosen.native == own)


def _key_padding(algorithm: Any) -> asymmetric_padding.AsymmetricPadding:
    name = algorithm["algorithm"].native
    if name == "rsaes_pkcs1v15":
        return asymmetric_padding.PKCS1v15()
    if name == "rsaes_oaep":
        parameters = algorithm["parameters"]
        digest = _HASHES[parameters["hash_algorithm"]["algorithm"].native]
        mgf = _HASHES[parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native]
        return asymmetric_padding.OAEP(asymmetric_padding.MGF1(mgf()), digest(), None)
    raise CannotDecrypt(f"expected RSA key transport, got {name}")


def recipients_match(der: bytes, certificate: x509.Certificate) -> bool:
    """Return whether a message names this certificate among its recipients.

    Raises:
        CannotDecrypt: not CMS EnvelopedData.

    """
    infos = _load(der)["recipient_infos"]
    return any(info.name == "ktri" and _is_for(info.chosen, certificate) for info in infos)


def decrypt(der: bytes, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    """Return the content of CMS EnvelopedData addressed to `certificate`.

    Raises:
        CannotDecrypt: not CMS, not for this certificate, an unknown algorithm, or it does not decrypt.

    """
    enveloped = _load(der)
    try:
        ours = [i.chosen for i in enveloped["recipient_infos"] if i.name == "ktri" and _is_for(i.chosen, certificate)]
        if not ours:
            raise CannotDecrypt("no recipient matches the certificate")
        content_key = key.decrypt(ours[0]["encrypted_key"].native, _key_padding(ours[0]["key_encryption_algorithm"]))
        return _content(enveloped["encrypted_content_info"], content_key)
    except (ValueError, TypeError, KeyError) as error:
        raise CannotDecrypt(f"{type(error).__name__}: {error}") from None


def _content(info: Any, content_key: bytes) -> bytes:
    algorithm = info["content_encryption_algorithm"]
    name = algorithm["algorithm"].native
    if name not in _CIPHERS:
        raise CannotDecrypt(f"expected one of {', '.join(_CIPHERS)}, got {name}")
    cipher, length = _CIPHERS[name]
    if len(content_key) != length:
        raise CannotDecrypt(f"expected a key of {length} bytes, got {len(content_key)}")
    decryptor = Cipher(cipher(content_key), modes.CBC(algorithm["parameters"].native)).decryptor()
    padded = decryptor.update(info["encrypted_content"].native) + decryptor.finalize()
    block = len(algorithm["parameters"].native) * 8
    unpadder = padding.PKCS7(block).unpadder()
    return unpadder.update(padded) + unpadder.finalize()
