"""How a client really encrypted a PFX and its password, found out with the keys of the lab. Pure.

Tries every key and every padding, whatever was declared. Source: sources.md#secret-fields.
"""

import base64
import binascii
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pfxlab import pkcs12_process
from pfxlab.connector_sim.pfx import count_keys
from pfxlab.device_sim.apple.pkcs12 import is_modern
from pfxlab.emulator.wire.asn1.pkcs12_cost import CostlyPkcs12, check_cost

_HASHES: Final = {
    "oaepSha512": hashes.SHA512(), "oaepSha384": hashes.SHA384(), "oaepSha256": hashes.SHA256(),
    "oaepSha1": hashes.SHA1(),  # noqa: S303 - what old tools used
}  # fmt: skip
_AUTH_SAFES: Final = ("data", "signed_data")
PROCESSED: Final = ("oaepSha256", "oaepSha384", "oaepSha512")
"""Padding schemes that connectors process (sources.md#oaep-paddings)."""


@dataclass(frozen=True)
class Password:
    """An encrypted password: the ciphertext, the key and padding that open it, and its bytes. None: unknown."""

    ciphertext: bytes | None
    encoded_twice: bool = False
    key_name: str | None = None
    padding: str | None = None
    clear: bytes | None = None
    in_clear: bool = False


@dataclass(frozen=True)
class Container:
    """What a PFX holds: whether it is one, whether the password opens it, its leaf, keys, further certificates."""

    is_pfx: bool = False
    opens: bool = False
    leaf: x509.Certificate | None = None
    keys: int = 0
    others: int = 0
    modern: bool = False
    encoded_twice: bool = False
    costly: str = ""
    """Why it was not opened: opening it would take too long."""


def decoded(value: Any) -> bytes | None:
    """Return the bytes of standard base64, None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _paddings() -> Iterator[tuple[str, padding.AsymmetricPadding]]:
    """Yield every OAEP by its name: those with one hash first, then those that mix two, as some libraries do."""
    for name, algorithm in _HASHES.items():
        yield name, padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    for name, algorithm in _HASHES.items():
        for other, mask in _HASHES.items():
            if other != name:
                yield f"{name} with the mask of {other}", padding.OAEP(padding.MGF1(mask), algorithm, None)


def _opened(ciphertext: bytes, key: rsa.RSAPrivateKey, likely: bytes) -> tuple[str, bytes] | None:
    """Return padding and plaintext; PKCS#1 v1.5 only when the likely plaintext comes out, since it never fails."""
    for name, scheme in _paddings():
        try:
            return name, key.decrypt(ciphertext, scheme)
        except ValueError:
            continue
    try:
        clear = key.decrypt(ciphertext, padding.PKCS1v15())
    except ValueError:
        return None
    return ("pkcs1", clear) if clear == likely else None


def examine_password(value: Any, keys: Mapping[str, rsa.RSAPrivateKey], likely: bytes) -> Password:
    """Return what a record's encryptedPfxPassword is; `keys`: name → key, `likely`: the password that was given."""
    ciphertext = decoded(value)
    if ciphertext is None:
        return Password(None, in_clear=isinstance(value, str) and likely != b"" and likely in value.encode())
    if ciphertext == likely:
        return Password(ciphertext, in_clear=True)
    for twice in (False, True):
        data = decoded(ciphertext.decode("ascii", "replace")) if twice else ciphertext
        for name, key in keys.items() if data is not None else ():
            if data is None or len(data) != key.key_size // 8:
                continue
            found = _opened(data, key, likely)
            if found is not None:
                return Password(data, twice, name, found[0], found[1])
    return Password(ciphertext)


def examine_pfx(value: Any, passwords: Sequence[bytes]) -> Container:
    """Return what a record's encryptedPfxBlob holds, opened with the first password that fits."""
    data = decoded(value)
    return Container() if data is None else _examined(data, tuple(passwords))


@lru_cache(maxsize=256)
def _examined(data: bytes, passwords: tuple[bytes, ...]) -> Container:
    """Cache what many rules ask about one file: opening a PFX is slow by design."""
    try:
        costly = check_cost(data).shown
        for number, password in enumerate(passwords):
            with contextlib.suppress(pkcs12_process.WrongPassword, pkcs12_process.NotPkcs12):
                return _container(data, pkcs12_process.load(data, password, costly), opens=number == 0)
    except (CostlyPkcs12, pkcs12_process.NotOpened) as error:
        return Container(is_pfx=_is_pkcs12(data), costly=str(error))
    twice = decoded(data.decode("ascii", "replace"))
    return Container(is_pfx=_is_pkcs12(data), encoded_twice=twice is not None and _is_pkcs12(twice))


def _container(data: bytes, opened: pkcs12_process.Opened, *, opens: bool) -> Container:
    return Container(
        is_pfx=True,
        opens=opens,
        leaf=opened.certificate,
        keys=_keys(data, has_key=opened.key is not None),
        others=len(opened.others),
        modern=is_modern(data),
    )


def _is_pkcs12(data: bytes) -> bool:
    """Return whether these are the bytes of a PFX (sources.md#pkcs12), and not of another DER structure."""
    try:
        pfx = asn1_pkcs12.Pfx.load(data)
        return bool(pfx["version"].native == "v3" and pfx["auth_safe"]["content_type"].native in _AUTH_SAFES)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _keys(data: bytes, *, has_key: bool) -> int:
    try:
        return count_keys(data)
    except (ValueError, TypeError, KeyError):
        return int(has_key)
