"""A device's certificate store: identities (certificate with key), each known by what installed it. It remembers."""

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True, repr=False)
class Identity:
    """An installed certificate with its key. `source` names the CSP node or profile that brought it."""

    source: str
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    exportable: bool = False

    @property
    def thumbprint(self) -> str:
        """Return the certificate's SHA-1, lower-case hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - a name, not a protection


class CertStore:
    """Identities by source. With a folder they survive the process, in files only their owner may read."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._identities: dict[str, Identity] = {}
        if folder is not None and folder.exists():
            for path in sorted(folder.glob("*.json")):
                self._load(path)

    def _load(self, path: Path) -> None:
        facts = json.loads(path.read_text())
        pem = path.with_suffix(".pem").read_bytes()
        # Keys this store wrote itself: checking one again takes longer than a whole check-in.
        key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, rsa.RSAPrivateKey):
            certificate = x509.load_pem_x509_certificate(pem)
            self._identities[facts["source"]] = Identity(facts["source"], certificate, key, facts["exportable"])

    def _paths(self, source: str) -> tuple[Path, Path] | None:
        if self._folder is None:
            return None
        digest = hashes.Hash(hashes.SHA256())
        digest.update(source.encode())
        stem = digest.finalize().hex()[:32]
        return self._folder / f"{stem}.pem", self._folder / f"{stem}.json"

    def install(self, identity: Identity) -> None:
        """Put an identity in; one of the same source is replaced."""
        paths = self._paths(identity.source)
        if paths is not None:
            pem = identity.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ) + identity.certificate.public_bytes(serialization.Encoding.PEM)
            facts = json.dumps({"source": identity.source, "exportable": identity.exportable})
            for path, data in zip(paths, (pem, facts.encode()), strict=True):
                write_private(path, data)
        self._identities[identity.source] = identity

    def remove(self, source: str) -> bool:
        """Take out what a source installed, key included; return whether there was something."""
        for path in self._paths(source) or ():
            path.unlink(missing_ok=True)
        return self._identities.pop(source, None) is not None

    def get(self, source: str) -> Identity | None:
        """Return what a source installed."""
        return self._identities.get(source)

    def identities(self) -> list[Identity]:
        """Return all identities, latest start of validity first."""
        return sorted(self._identities.values(), key=lambda i: i.certificate.not_valid_before_utc, reverse=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    part.write_bytes(data)
    part.replace(path)
