"""PFX files that a careful tool refuses."""

from asn1crypto import pkcs12


def with_two_keys(data: bytes) -> bytes:
    """Return a PKCS#12 that contains its private keys twice, under the same password, without a MAC."""
    contents = list(pkcs12.Pfx.load(data).authenticated_safe)
    keys = [content for content in contents if content["content_type"].native == "data"]
    safe = pkcs12.AuthenticatedSafe([*contents, *keys])
    return bytes(pkcs12.Pfx({"version": "v3", "auth_safe": {"content_type": "data", "content": safe.dump()}}).dump())
