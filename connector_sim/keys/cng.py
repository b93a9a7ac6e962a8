"""CNG key blobs: RSAPUBLICBLOB, RSAPRIVATEBLOB and RSAFULLPRIVATEBLOB (BCRYPT_RSAKEY_BLOB).

Layout (sources.md#cng-key-blobs): six little-endian ULONGs (Magic, BitLength, cbPublicExp, cbModulus, cbPrime1,
cbPrime2), then big-endian fields of fixed width.
"""

import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

_HEADER: Final = struct.Struct("<4s5L")
_PUBLIC, _PRIVATE, _FULL = b"RSA1", b"RSA2", b"RSA3"
_LONGEST_EXPONENT = 8


class BlobError(ValueError):
    """The bytes are not a CNG RSA key blob."""


def _bytes(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big")


def _public_fields(numbers: rsa.RSAPublicNumbers) -> tuple[int, int, int, bytes]:
    bits = numbers.n.bit_length()
    exponent_width, modulus_width = (numbers.e.bit_length() + 7) // 8, (bits + 7) // 8
    body = _bytes(numbers.e, exponent_width) + _bytes(numbers.n, modulus_width)
    return bits, exponent_width, modulus_width, body


def public_blob(key: rsa.RSAPublicKey) -> bytes:
    """Return an RSAPUBLICBLOB."""
    bits, exponent_width, modulus_width, body = _public_fields(key.public_numbers())
    return _HEADER.pack(_PUBLIC, bits, exponent_width, modulus_width, 0, 0) + body


def private_blob(key: rsa.RSAPrivateKey, *, full: bool = True) -> bytes:
    """Return an RSAFULLPRIVATEBLOB, or an RSAPRIVATEBLOB when not `full`."""
    numbers = key.private_numbers()
    bits, exponent_width, modulus_width, body = _public_fields(numbers.public_numbers)
    p_width, q_width = (numbers.p.bit_length() + 7) // 8, (numbers.q.bit_length() + 7) // 8
    magic = _FULL if full else _PRIVATE
    head = _HEADER.pack(magic, bits, exponent_width, modulus_width, p_width, q_width)
    body += _bytes(numbers.p, p_width) + _bytes(numbers.q, q_width)
    if full:
        body += _bytes(numbers.dmp1, p_width) + _bytes(numbers.dmq1, q_width)
        body += _bytes(numbers.iqmp, p_width) + _bytes(numbers.d, modulus_width)
    return head + body


def _read(blob: bytes, magics: tuple[bytes, ...]) -> tuple[bytes, list[int], list[int]]:
    """Return magic, field widths and field values of a blob, its length checked against its header."""
    if len(blob) < _HEADER.size:
        raise BlobError(f"expected a header of {_HEADER.size} bytes, got {len(blob)}")
    magic, _bits, exponent, modulus, prime1, prime2 = _HEADER.unpack_from(blob)
    if magic not in magics:
        raise BlobError(f"expected magic {' or '.join(m.decode() for m in magics)}, got {magic!r}")
    if not 0 < exponent <= _LONGEST_EXPONENT:
        raise BlobError(f"expected a public exponent of 1 to {_LONGEST_EXPONENT} bytes, got {exponent}")
    widths = [exponent, modulus]
    if magic != _PUBLIC:
        widths += [prime1, prime2]
    if magic == _FULL:
        widths += [prime1, prime2, prime1, modulus]
    if len(blob) != _HEADER.size + sum(widths):
        raise BlobError(f"expected {_HEADER.size + sum(widths)} bytes by the header's widths, got {len(blob)}")
    values, at = [], _HEADER.size
    for width in widths:
        values.append(int.from_bytes(blob[at : at + width], "big"))
        at += width
    return magic, widths, values


def load_public(blob: bytes) -> rsa.RSAPublicKey:
    """Return the key of an RSAPUBLICBLOB.

    Raises:
        BlobError: another blob, a wrong length, or numbers that are no RSA key.

    """
    _, _, (exponent, modulus) = _read(blob, (_PUBLIC,))
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise BlobError(f"expected an RSA public key, got numbers that are none ({error})") from None


def load_private(blob: bytes) -> rsa.RSAPrivateKey:
    """Return the key of an RSAPRIVATEBLOB or RSAFULLPRIVATEBLOB; the CRT values are computed anew.

    Raises:
        BlobError: another blob, a wrong length, or numbers that are no RSA key.

    """
    _, _, values = _read(blob, (_PRIVATE, _FULL))
    exponent, modulus, p, q = values[:4]
    if p * q != modulus:
        raise BlobError("expected a modulus that is the product of both primes, got another")
    try:
        d = pow(exponent, -1, (p - 1) * (q - 1))
        numbers = rsa.RSAPrivateNumbers(
            p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q),
            rsa.RSAPublicNumbers(exponent, modulus),
        )  # fmt: skip
        return numbers.private_key()
    except ValueError as error:
        raise BlobError(f"expected an RSA private key, got numbers that are none ({error})") from None
