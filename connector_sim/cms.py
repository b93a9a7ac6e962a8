"""CMS EnvelopedData for one device, built in one pass: AES-256-CBC, PKCS#1 v1.5, issuer and serial number.

What .NET's EnvelopedCms makes of a plaintext and one recipient (sources.md#recryption). The general builder of
`cryptography` gives the same structure and costs a good part of a private operation each time; here the parts that stay
the same for a device are made once. Format: sources.md#cms-enveloped-data.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK: Final = 16
_OCTETS, _SEQUENCE, _SET = 0x04, 0x30, 0x31
_CONTEXT_0, _CONTEXT_0_PRIMITIVE = 0xA0, 0x80
_INTEGER_0: Final = bytes.fromhex("020100")
_ENVELOPED_DATA: Final = bytes.fromhex("06092a864886f70d010703")
_DATA: Final = bytes.fromhex("06092a864886f70d010701")
_RSA_ENCRYPTION: Final = bytes.fromhex("300d06092a864886f70d0101010500")
_AES256_CBC: Final = bytes.fromhex("060960864801650304012a")
_PKCS1: Final = padding.PKCS1v15()
_FILLS: Final = tuple(bytes((size,)) * size for size in range(_BLOCK + 1))


class RecipientUnusable(ValueError):
    """The certificate is none, or has a key that nothing can be encrypted to this way."""


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def _tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((tag,)) + _length(len(body)) + body


def _elements(data: bytes) -> list[bytes]:
    """Return the DER elements inside the outermost one of `data`, each with its tag and length."""
    at, end = _inside(data, 0)
    found = []
    while at < end:
        _, after = _inside(data, at)
        found.append(data[at:after])
        at = after
    return found


def _inside(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the element at `at` begins and ends."""
    first = data[at + 1]
    if first < 0x80:
        return at + 2, at + 2 + first
    begin = at + 2 + (first & 0x7F)
    return begin, begin + int.from_bytes(data[at + 2 : begin], "big")


@dataclass(frozen=True)
class Recipient:
    """A device's certificate, ready to encrypt to: its key, and RecipientInfo up to the encrypted content key."""

    key: rsa.RSAPublicKey
    head: bytes


@lru_cache(maxsize=4096)
def recipient(certificate: bytes) -> Recipient:
    """Return the recipient of a DER certificate. Its dates are not looked at, as EnvelopedCms does not.

    Raises:
        RecipientUnusable: not a certificate, or its key is not RSA.

    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise RecipientUnusable("expected a DER certificate, got something else") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise RecipientUnusable(f"expected a certificate with an RSA key, got {type(key).__name__}")
    # version [0], serialNumber, signature, issuer, … in RFC 5280, 4.1: taken as they stand, never written anew.
    fields = [part for part in _elements(parsed.tbs_certificate_bytes) if part[0] != _CONTEXT_0]
    serial, issuer = fields[0], fields[2]
    return Recipient(key, _INTEGER_0 + _tlv(_SEQUENCE, issuer, serial) + _RSA_ENCRYPTION)


@dataclass(frozen=True)
class _Frame:
    """EnvelopedData for one recipient and one size of content: all but content key, IV and content."""

    key: rsa.RSAPublicKey
    before_key: bytes
    before_iv: bytes
    before_content: bytes


@lru_cache(maxsize=4096)
def _frame(certificate: bytes, size: int) -> _Frame:
    to = recipient(certificate)
    width = (to.key.key_size + 7) // 8
    info = _tlv(_SEQUENCE, to.head, _tlv(_OCTETS, bytes(width)))
    algorithm = _tlv(_SEQUENCE, _AES256_CBC, _tlv(_OCTETS, bytes(_BLOCK)))
    encrypted_content = _tlv(_SEQUENCE, _DATA, algorithm, _tlv(_CONTEXT_0_PRIMITIVE, bytes(size)))
    enveloped = _tlv(_SEQUENCE, _INTEGER_0, _tlv(_SET, info), encrypted_content)
    whole = _tlv(_SEQUENCE, _ENVELOPED_DATA, _tlv(_CONTEXT_0, enveloped))
    content = len(whole) - size
    iv = content - len(encrypted_content) + encrypted_content.index(_AES256_CBC) + len(_AES256_CBC) + 2 + size
    key = content + size - len(encrypted_content) - width
    return _Frame(to.key, whole[:key], whole[key + width : iv], whole[iv + _BLOCK : content])


RANDOM_BYTES: Final = 32 + _BLOCK
"""Random bytes that one envelope uses up: content key and IV."""


def envelop(content: bytes | bytearray, certificate: bytes, random: bytes | None = None) -> bytes:
    """Return DER ContentInfo with `content` encrypted for the key of a DER certificate.

    `random`: RANDOM_BYTES from the operating system, used for nothing else; a batch asks for its own at once.

    Raises:
        RecipientUnusable: see `recipient`.

    """
    fill = _BLOCK - len(content) % _BLOCK
    frame = _frame(certificate, len(content) + fill)
    secret = os.urandom(RANDOM_BYTES) if random is None else random
    content_key, iv = secret[:32], secret[32:]
    cipher = Cipher(algorithms.AES256(content_key), modes.CBC(iv)).encryptor()
    encrypted = cipher.update(content) + cipher.update(_FILLS[fill])
    encrypted_key = frame.key.encrypt(content_key, _PKCS1)
    return b"".join((frame.before_key, encrypted_key, frame.before_iv, iv, frame.before_content, encrypted))
