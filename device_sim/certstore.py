"""A device's certificate store: identities (certificate with key), each known by what installed it. It remembers.

One whose files are damaged is shown as such and is not there for the device; the service, which asks what is
installed, has it installed again.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import private_file
from pfxlab.device_sim.errors import DeviceDamaged
from pfxlab.emulator.wire.files.damaged import Damaged, reading
from pfxlab.emulator.wire.files.key_pem import read_identity, to_pem

_SUFFIXES: Final = (".json", ".pem")
_REMEDY: Final = "let the device check in, which installs it again, or delete both files of that name"


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
        self.damaged: dict[str, Damaged] = {}
        """Name of an entry's files → what is wrong with one of them."""

        if folder is not None and folder.exists():
            with reading(folder, "a folder of certificates", f"delete {folder}", DeviceDamaged):
                stems = sorted({path.stem for path in folder.iterdir() if path.suffix in _SUFFIXES})
            for stem in stems:
                try:
                    self._load(folder / f"{stem}.json", folder / f"{stem}.pem")
                except Damaged as problem:
                    self.damaged[stem] = problem

    def _load(self, facts_file: Path, key_file: Path) -> None:
        with reading(facts_file, "what installed a certificate", _REMEDY, DeviceDamaged):
            facts = json.loads(facts_file.read_text("utf-8"))
            source, exportable = str(facts["source"]), bool(facts["exportable"])
        with reading(key_file, "an installed certificate with its key", _REMEDY, DeviceDamaged):
            key, certificate = read_identity(key_file.read_bytes())
        self._identities[source] = Identity(source, certificate, key, exportable)

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
            pem = to_pem(identity.key, identity.certificate)
            facts = json.dumps({"source": identity.source, "exportable": identity.exportable})
            for path, data in zip(paths, (pem, facts.encode()), strict=True):
                write_private(path, data)
            self.damaged.pop(paths[0].stem, None)
        self._identities[identity.source] = identity

    def remove(self, source: str) -> bool:
        """Take out what a source installed, key included; return whether there was something."""
        # What names the key goes first: a key that nothing names is no identity, a name without its key a damaged one.
        for path in reversed(self._paths(source) or ()):
            with reading(path, "a file that can be deleted", "delete it", DeviceDamaged):
                path.unlink(missing_ok=True)
            self.damaged.pop(path.stem, None)
        return self._identities.pop(source, None) is not None

    def get(self, source: str) -> Identity | None:
        """Return what a source installed."""
        return self._identities.get(source)

    def identities(self) -> list[Identity]:
        """Return all identities, latest start of validity first."""
        return sorted(self._identities.values(), key=lambda i: i.certificate.not_valid_before_utc, reverse=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, at once or not at all.

    Raises:
        DeviceDamaged: it cannot be written.

    """
    with reading(path, "a file that can be written", "make room for it", DeviceDamaged):
        private_file.replace(path, data)
