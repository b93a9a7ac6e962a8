"""RSAES-OAEP decoding for tokens that only do raw RSA (CKM_RSA_X_509): sources.md#oaep-decoding.

One error for everything that can be wrong, after the same work: whoever sees refusals learns nothing of the padding.
"""

import hashlib
import hmac
from typing import Final

from pfxlab.emulator.wire.enums import PaddingScheme

_DIGESTS: Final = {
    PaddingScheme.oaepSha256: hashlib.sha256,
    PaddingScheme.oaepSha384: hashlib.sha384,
    PaddingScheme.oaepSha512: hashlib.sha512,
}


def _mask(seed: bytes, size: int, scheme: PaddingScheme) -> bytes:
    digest = _DIGESTS[scheme]
    width = digest().digest_size
    blocks = (digest(seed + count.to_bytes(4, "big")).digest() for count in range(-(-size // width)))
    return b"".join(blocks)[:size]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")


def decode(block: bytes, scheme: PaddingScheme) -> bytes | None:
    """Return the message of an encoded block as long as the modulus, or None when the block is not one."""
    digest = _DIGESTS[scheme]
    width = digest().digest_size
    if len(block) < 2 * width + 2:
        return None
    seed = _xor(block[1 : 1 + width], _mask(block[1 + width :], width, scheme))
    data = _xor(block[1 + width :], _mask(seed, len(block) - width - 1, scheme))
    good = hmac.compare_digest(data[:width], digest(b"").digest())
    good &= hmac.compare_digest(block[:1], b"\0")
    # The separator is the first byte that is not zero; looked for through the whole block.
    place, found, wrong = 0, 0, 0
    for index in range(width, len(data)):
        one, zero = int(data[index] == 1), int(data[index] == 0)
        first = one & (1 - found) & (1 - wrong)
        place += index * first
        found |= first
        wrong |= (1 - zero) & (1 - one) & (1 - found)
    good &= bool(found) & (not wrong)
    return data[place + 1 :] if good else None
