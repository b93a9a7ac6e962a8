"""The tenant's token-signing key and its JWKS."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_decode, base64url_encode

from pfxlab import private_file
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.pki import private_pem
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.emulator.wire.files.key_pem import read_key


def issuer(tenant_id: str) -> str:
    """Return the issuer of a tenant's access tokens (sources.md#access-tokens)."""
    return f"https://sts.windows.net/{tenant_id}/"


def _is_canonical(part: str) -> bool:
    try:
        return base64url_encode(base64url_decode(part)).decode("ascii") == part
    except ValueError:
        return False


@dataclass(frozen=True, repr=False)
class SigningKey:
    """Signs access and id tokens, RS256."""

    key: rsa.RSAPrivateKey
    key_id: str

    @classmethod
    def load_or_create(cls, path: Path | None) -> "SigningKey":
        """Return the key kept in a PEM file (0600), made on first use; without a path a fresh one.

        Raises:
            Damaged: the file holds something else.

        """
        if path is not None and os.path.lexists(path):
            remedy = "delete it for a new one: clients then sign in again"
            with reading(path, "the key that signs tokens", remedy):
                key = read_key(path.read_bytes())
        else:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if path is not None:
                private_file.replace(path, private_pem(key))
        spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(spki)
        return cls(key, digest.finalize().hex()[:32])

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a compact JWS of these claims."""
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.key_id})

    def verify(self, token: str, audiences: list[str]) -> dict[str, Any]:
        """Return the claims of a token this key signed, its lifetime not yet looked at.

        Raises:
            jwt.InvalidTokenError: another key, a broken token, another spelling of one, another audience or issuer.

        """
        if not all(_is_canonical(part) for part in token.split(".")):
            # The same bytes spelled otherwise, with padding for one, would be a second token beside one that was ended.
            raise jwt.DecodeError("expected base64url as it was issued")
        options: Any = {
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "require": ["exp", "nbf", "iss", "tid"],
        }
        claims: dict[str, Any] = jwt.decode(
            token, self.key.public_key(), algorithms=["RS256"], audience=audiences, options=options
        )
        if claims["iss"] != issuer(str(claims["tid"])):
            raise jwt.InvalidIssuerError("expected the issuer of the token's tenant")
        return claims

    def jwks(self) -> dict[str, Any]:
        """Return the public key set."""
        jwk: dict[str, Any] = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        public = {name: jwk[name] for name in ("kty", "n", "e")}
        return {"keys": [{**public, "use": "sig", "alg": "RS256", "kid": self.key_id}]}


def signing_key_of(cloud: Cloud) -> SigningKey:
    """Return the key that signs a cloud's tokens; a cloud with a folder keeps it there."""
    return cloud.component(SigningKey, lambda: SigningKey.load_or_create(cloud.file("token-signing.pem")))
