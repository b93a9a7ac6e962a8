"""Where a device's identity keys come from: made anew, or drawn from a pool that was made once and is kept.

A pool lets thousands of devices enrol in seconds. Devices that share a key still have certificates of their own, and
messages are addressed to certificates; a pool is for load and tests, not for proving that devices are kept apart.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim.certstore import write_private
from pfxlab.emulator.wire.files.damaged import UNREADABLE
from pfxlab.emulator.wire.files.key_pem import read_key, to_pem

NewKey: TypeAlias = Callable[[], rsa.RSAPrivateKey]

_END = b"-----END PRIVATE KEY-----\n"


def generate() -> rsa.RSAPrivateKey:
    """Return a fresh RSA-2048 key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class KeyPool:
    """Up to `size` keys in one file (PEM, 0600), made when first needed, handed out in the same order each time.

    A damaged file begins anew: devices that were given a key have a copy of it.
    """

    def __init__(self, path: Path | None, size: int) -> None:
        self._path, self._size = path, size
        self._keys = [] if path is None or not path.exists() else _read(path)[:size]
        self._next, self._kept = 0, len(self._keys)

    def fill(self, progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Make what is missing and keep it; `progress` gets (keys made, keys wanted) after each."""
        while len(self._keys) < self._size:
            self._keys.append(generate())
            progress(len(self._keys), self._size)
        self.keep()

    def keep(self) -> None:
        """Write the keys that were made so far into the file, if they are more than it has."""
        if self._path is not None and len(self._keys) > self._kept:
            write_private(self._path, b"".join(to_pem(key) for key in self._keys))
            self._kept = len(self._keys)

    def begin_anew(self) -> None:
        """Hand out the first key next."""
        self._next = 0

    def __call__(self) -> rsa.RSAPrivateKey:
        """Return the next key."""
        if self._next >= len(self._keys) and len(self._keys) < self._size:
            self._keys.append(generate())
        key = self._keys[self._next % self._size]
        self._next += 1
        return key


def _read(path: Path) -> list[rsa.RSAPrivateKey]:
    try:
        return [read_key(part + _END) for part in path.read_bytes().split(_END) if part.strip()]
    except (OSError, *UNREADABLE):
        return []
