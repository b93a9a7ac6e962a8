"""Which PKCS#12 containers a version of iOS or macOS opens. A table, since Apple documents none.

Sources: sources.md#apple-pkcs12-payload (one certificate on iOS), sources.md#chain-on-a-mac, sources.md#pkcs12-on-apple
(older versions call a container with newer algorithms a wrong password).
"""

from dataclasses import dataclass
from typing import Final

from asn1crypto import pkcs12

_SHROUDED: Final = "pkcs8_shrouded_key_bag"


@dataclass(frozen=True)
class Pkcs12Policy:
    """`modern`: PBES2 and MACs other than SHA-1 open. `chain`: certificates beside the identity's own are tolerated."""

    modern: bool
    chain: bool


_MODERN_SINCE: Final = {"ios": 18, "macos": 15}
"""Platform → first major version taken to open PBES2; where the boundary really lies is unknown (B11)."""


def policy_of(platform: str, os_version: str) -> Pkcs12Policy:
    """Return what a device opens, by platform and version such as `17.6.1`; an unreadable version counts as old."""
    major = os_version.partition(".")[0]
    number = int(major) if major.isascii() and major.isdigit() else 0
    return Pkcs12Policy(modern=number >= _MODERN_SINCE.get(platform, 0), chain=platform == "macos")


def is_modern(data: bytes) -> bool:
    """Return whether a container uses PBES2 or a MAC other than SHA-1; one that cannot be read is not called modern."""
    try:
        pfx = pkcs12.Pfx.load(data)
        mac = pfx["mac_data"]
        if mac.native is not None and mac["mac"]["digest_algorithm"]["algorithm"].native != "sha1":
            return True
        return any(_is_modern_content(content) for content in pfx.authenticated_safe)
    except (ValueError, TypeError, KeyError):
        return False


def _is_modern_content(content: pkcs12.ContentInfo) -> bool:
    if content["content_type"].native == "encrypted_data":
        algorithm = content["content"]["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"]
        return bool(algorithm.native == "pbes2")
    if content["content_type"].native != "data":
        return False
    bags = pkcs12.SafeContents.load(content["content"].native)
    return any(
        bag["bag_id"].native == _SHROUDED and bag["bag_value"]["encryption_algorithm"]["algorithm"].native == "pbes2"
        for bag in bags
    )
