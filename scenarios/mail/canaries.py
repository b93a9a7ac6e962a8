"""Searches the cloud's files for secrets that must not be there: passwords and private keys, in common encodings."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

_KEY_SLICE = 24
SHORTEST = 8
"""Characters of a password that is worth searching for: shorter ones occur by chance."""


@dataclass(frozen=True)
class Canary:
    """A secret to search for: its name may be shown, its bytes may not."""

    name: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Finding:
    """A secret that was found: its canary, place and encoding."""

    canary: str
    place: str
    form: str


def of_password(name: str, password: str) -> Canary:
    """Return the canary of a password."""
    return Canary(f"password of {name}", password.encode())


def of_key(name: str, key: rsa.RSAPrivateKey) -> list[Canary]:
    """Return canaries of a private key: slices of both primes and of the private exponent."""
    numbers = key.private_numbers()
    parts = {"prime 1": numbers.p, "prime 2": numbers.q, "private exponent": numbers.d}
    return [
        Canary(f"{part} of {name}", value.to_bytes((value.bit_length() + 7) // 8, "big")[8 : 8 + _KEY_SLICE])
        for part, value in parts.items()
    ]


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the spellings under which a secret may hide: plain, UTF-16, hexadecimal, base64 at every alignment."""
    yield "plain", secret
    yield "reversed", secret[::-1]
    yield "utf-16", secret.decode("latin-1").encode("utf-16-le")
    yield "hexadecimal", secret.hex().encode()
    yield "HEXADECIMAL", secret.hex().upper().encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret)
        # Characters that depend on neighbouring bytes are left out at both ends.
        start = {0: 0, 1: 2, 2: 3}[shift]
        end = len(encoded) - (0 if (shift + len(secret)) % 3 == 0 else 4)
        yield f"base64+{shift}", encoded[start:end]


def search(canaries: Iterable[Canary], places: Iterable[tuple[str, bytes]]) -> list[Finding]:
    """Return every canary found in any place."""
    spelled = [(canary.name, form, text) for canary in canaries for form, text in forms(canary.secret)]
    return [Finding(name, place, form) for place, content in places for name, form, text in spelled if text in content]


def files_below(folder: Path) -> list[tuple[str, bytes]]:
    """Return every file of a folder with its content, write-ahead logs included."""
    return [(str(p.relative_to(folder)), p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()]
