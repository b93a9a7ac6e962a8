"""What a PKCS#12 would cost to open, read from its structure before anything is computed.

Iterations stand in the clear beside each encrypted part and beside the MAC; the sizes of keys in certificates and key
bags that are not encrypted, and in the length of those that are (sources.md#pkcs12).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.wire.asn1 import ber
from pfxlab.emulator.wire.asn1.ber import Value

MOST_ITERATIONS: Final = 5_000_000
LARGEST_RSA: Final = 8192
_LONGEST_EXPONENT: Final = 32
_LARGEST_KEY: Final = 5200
"""Octets of an encrypted key: one of RSA-8192 has 4,700 with its padding, and may have attributes."""

_FEW_ITERATIONS: Final = 50_000
"""Computed in about 20 ms; exporters ask for 2,000 to 20,000."""

_SHORT_KEY: Final = 1700
"""Octets of RSA-2048 with its numbers, and some more: the check of its primes takes 40 ms, that of RSA-8192 4 s."""

_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_PBES: Final = bytes.fromhex("2a864886f70d0105")
_PKCS12_PBE: Final = bytes.fromhex("2a864886f70d010c01")
_RSA: Final = tuple(bytes.fromhex(f"2a864886f70d0101{last:02x}") for last in (1, 7, 10))


@dataclass(frozen=True)
class Cost:
    """What opening a container takes: `iterations` in total, `octets` of the longest thing that may hold a key."""

    iterations: int
    octets: int

    @property
    def shown(self) -> str | None:
        """Return the cost in words; None where it is low: tens of milliseconds, which an event loop can spare."""
        if self.iterations <= _FEW_ITERATIONS and self.octets <= _SHORT_KEY:
            return None
        return f"{self.iterations:,} iterations, keys of up to {self.octets:,} octets"


class CostlyPkcs12(ValueError):
    """A PKCS#12 that is not opened; `code` is the reason's stable name, the text a phrase to follow `holds`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def check_cost(data: bytes) -> Cost:
    """Return what opening a PKCS#12 takes, within bounds; other bytes cost nothing, since nothing opens them.

    Raises:
        CostlyPkcs12: TooManyIterations, RsaTooLong or RsaExponent.

    """
    total = longest = 0
    for value in _values(data):
        total += _iterations(value)
        if total > MOST_ITERATIONS:
            text = f"more iterations than can be computed ({MOST_ITERATIONS:,} in total are taken)"
            raise CostlyPkcs12("TooManyIterations", text)
        _check_rsa(value)
        longest = max(longest, _key_octets(value))
    return Cost(total, longest)


def check_rsa(modulus: int, exponent: int) -> None:
    """Let an RSA key pass of usual size and exponent.

    Raises:
        CostlyPkcs12: RsaTooLong or RsaExponent.

    """
    if modulus.bit_length() > LARGEST_RSA:
        text = f"an RSA key of {modulus.bit_length():,} bits ({LARGEST_RSA:,} are taken)"
        raise CostlyPkcs12("RsaTooLong", text)
    if exponent <= 1 or exponent % 2 == 0 or exponent.bit_length() > _LONGEST_EXPONENT:
        shown = f"{exponent}" if exponent.bit_length() <= _LONGEST_EXPONENT else f"of {exponent.bit_length():,} bits"
        text = f"an RSA key with the public exponent {shown} (an odd one from 3 to 32 bits is taken)"
        raise CostlyPkcs12("RsaExponent", text)


def _values(data: bytes) -> Iterator[Value]:
    """Yield every value of BER, those within octet strings and bit strings included."""
    try:
        waiting = ber.read(data)
    except ValueError:
        return
    while waiting:
        value = waiting.pop()
        yield value
        waiting += value.inside
        if value.tag in (ber.OCTET_STRING, ber.BIT_STRING) and value.content:
            waiting += _within(value)


def _within(value: Value) -> list[Value]:
    # The first octet of a bit string says how many bits of the last are unused.
    content = value.content if value.tag == ber.OCTET_STRING else value.content[1:]
    try:
        return ber.read(content)
    except ValueError:
        return []


def _algorithm(value: Value) -> bytes:
    """Return the object identifier an AlgorithmIdentifier begins with, or nothing."""
    parts = value.inside
    return parts[0].content if value.tag == ber.SEQUENCE and parts and parts[0].tag == ber.OBJECT_IDENTIFIER else b""


def _numbers(values: list[Value]) -> list[int]:
    return [abs(one.number) for one in values if one.tag == ber.INTEGER]


def _iterations(value: Value) -> int:
    """Return the iterations that one algorithm asks for, or the MAC of the whole."""
    parts, algorithm = value.inside, _algorithm(value)
    settings = _numbers(parts[1].inside) if algorithm and len(parts) > 1 else []
    if algorithm == _SCRYPT:
        cost, block, parallel = [*settings, 1, 1, 1][:3]
        return cost * block * parallel
    if algorithm == _PBKDF2 or algorithm.startswith((_PBES, _PKCS12_PBE)):
        return settings[0] if settings else 0
    is_mac = value.tag == ber.SEQUENCE and [one.tag for one in parts] == [ber.SEQUENCE, ber.OCTET_STRING, ber.INTEGER]
    return abs(parts[2].number) if is_mac else 0


def _key_octets(value: Value) -> int:
    """Return the octets of a private key, or of encrypted content, in which there may be one."""
    parts = value.inside if value.tag == ber.SEQUENCE else []
    match [one.tag for one in parts[:3]]:
        case [ber.INTEGER, ber.SEQUENCE, ber.OCTET_STRING]:
            return len(parts[2].content)
        case [ber.SEQUENCE, ber.OCTET_STRING, *_] if _algorithm(parts[0]).startswith((_PBES, _PKCS12_PBE)):
            return len(parts[1].content)
        case [ber.OBJECT_IDENTIFIER, ber.SEQUENCE, None] if _algorithm(parts[1]).startswith((_PBES, _PKCS12_PBE)):
            # In pieces, where its length is indefinite.
            return len(parts[2].content) + sum(len(piece.content) for piece in parts[2].inside)
    return 0


def _check_rsa(value: Value) -> None:
    """Check the RSA key that a SubjectPublicKeyInfo or a PrivateKeyInfo holds, or the length of an encrypted one."""
    tags = [one.tag for one in value.inside] if value.tag == ber.SEQUENCE else []
    if tags[:2] == [ber.SEQUENCE, ber.OCTET_STRING]:
        _check_encrypted(*value.inside[:2])
    elif tags[:2] == [ber.SEQUENCE, ber.BIT_STRING]:
        _check_plain(value.inside[0], value.inside[1], first=0)
    elif tags[:3] == [ber.INTEGER, ber.SEQUENCE, ber.OCTET_STRING]:
        # A private key begins with its version.
        _check_plain(value.inside[1], value.inside[2], first=1)


def _check_encrypted(algorithm: Value, encrypted: Value) -> None:
    size = len(encrypted.content)
    if _algorithm(algorithm).startswith((_PBES, _PKCS12_PBE)) and size > _LARGEST_KEY:
        text = f"a key of {size:,} encrypted octets, more than RSA with {LARGEST_RSA:,} bits has"
        raise CostlyPkcs12("RsaTooLong", text)


def _check_plain(algorithm: Value, key: Value, first: int) -> None:
    sequence = next((one for one in _within(key) if one.tag == ber.SEQUENCE), None)
    if sequence is None or _algorithm(algorithm) not in _RSA:
        return
    modulus, exponent = [*[one.number for one in sequence.inside if one.tag == ber.INTEGER][first:], 0, 0][:2]
    if modulus > 0:
        check_rsa(modulus, exponent)
