"""The padding schemes of imported passwords, and how long a password each admits (sources.md#oaep-length)."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pfxlab.connector_sim.errors import PaddingUnsupported
from pfxlab.emulator.wire.enums import PaddingScheme

_HASHES: dict[PaddingScheme, type[hashes.HashAlgorithm]] = {
    PaddingScheme.oaepSha256: hashes.SHA256,
    PaddingScheme.oaepSha384: hashes.SHA384,
    PaddingScheme.oaepSha512: hashes.SHA512,
}
SUPPORTED = tuple(_HASHES)
_PADDINGS = {
    int(scheme): padding.OAEP(padding.MGF1(algorithm()), algorithm(), None) for scheme, algorithm in _HASHES.items()
}


def oaep(scheme: PaddingScheme) -> padding.OAEP:
    """Return the OAEP padding of a scheme: the same hash for label and MGF1, as .NET's OaepSHA* do.

    Raises:
        PaddingUnsupported: none, pkcs1 and oaepSha1, which connectors no longer process.

    """
    found = _PADDINGS.get(int(scheme))
    if found is None:
        raise PaddingUnsupported(f"expected one of {', '.join(s.name for s in SUPPORTED)}, got {scheme.name}")
    return found


def longest_password(key_bits: int, scheme: PaddingScheme) -> int:
    """Return how many bytes fit under a key of that many bits."""
    return (key_bits + 7) // 8 - 2 * oaep(scheme).algorithm.digest_size - 2


def encrypt(key: rsa.RSAPublicKey, password: bytes, scheme: PaddingScheme) -> bytes:
    """Return the RSA ciphertext of a password.

    Raises:
        PaddingUnsupported: see `oaep`.
        ValueError: the password is longer than key and hash admit.

    """
    limit = longest_password(key.key_size, scheme)
    if len(password) > limit:
        raise ValueError(f"expected at most {limit} bytes under {scheme.name} and RSA-{key.key_size}, got more")
    return key.encrypt(password, oaep(scheme))
