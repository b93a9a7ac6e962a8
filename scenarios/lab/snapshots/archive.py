"""A snapshot as a file: one archive, 0600, with a digest of every part.

It holds the private keys of simulated devices and of the lab's connector. It is for the lab that took it; to pass a run
on, make a bundle (scenarios/control/bundle.py).
"""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pfxlab import private_file
from pfxlab.emulator.lab.snapshot import BadSnapshot, CloudState
from pfxlab.scenarios import bounded_zip
from pfxlab.scenarios.lab.snapshots.snapshot import FOLDERS, Names, Running, Snapshot

_ENDING: Final = ".snapshot"
_FORMAT: Final = "pfxlab snapshot 1"


def write(path: Path, state: Snapshot) -> None:
    """Write a snapshot's file, complete or not at all."""
    names = {
        "certificates": {name: made.saved() for name, made in state.names.certificates.items()},
        "profiles": dict(state.names.profiles),
        "groups": dict(state.names.groups),
    }
    facts = {
        "cloud": state.cloud.facts,
        "devices": state.devices,
        "running": [asdict(one) for one in state.running],
        "names": names,
    }
    parts = {"state.json": json.dumps(facts).encode(), "cloud.db": state.cloud.database}
    parts |= {f"files/{name}": data for name, data in state.files.items()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps({"format": _FORMAT, "parts": digests}))
        for name, data in parts.items():
            archive.writestr(name, data)
    private_file.replace(path, held.getvalue(), flush=True)


def read(path: Path) -> Snapshot:
    """Return the snapshot in a file.

    Raises:
        BadSnapshot: there is none, it is damaged, or of another version.

    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            parts = {name: archive.read(name) for name in manifest["parts"]}
        if manifest["format"] != _FORMAT:
            raise BadSnapshot(f"{path.name}: expected {_FORMAT!r}, got {manifest['format']!r}")
        for name, data in parts.items():
            if hashlib.sha256(data).hexdigest() != manifest["parts"][name]:
                raise BadSnapshot(f"{path.name}: expected {name} as it was written, got other bytes; take a new one")
        facts = json.loads(parts.pop("state.json"))
        state = CloudState(parts.pop("cloud.db"), facts["cloud"])
        files = {name.removeprefix("files/"): data for name, data in parts.items()}
        return Snapshot(
            state,
            _safe(files),
            tuple(facts["devices"]),
            tuple(Running(**one) for one in facts["running"]),
            Names(**facts["names"]),
        )
    except FileNotFoundError:
        raise BadSnapshot(f"{path.name}: expected a snapshot, got no such file") from None
    except (*bounded_zip.UNREADABLE, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, BadSnapshot):
            raise
        raise BadSnapshot(f"{path.name}: expected a snapshot, got a damaged file; take a new one") from None


class KeptSnapshots:
    """Snapshots as files of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of the snapshots."""
        return sorted(path.name.removesuffix(_ENDING) for path in self._folder.glob(f"*{_ENDING}"))

    def write(self, name: str, state: Snapshot) -> None:
        """Save a snapshot under a name; an earlier one of that name is replaced."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write(self._folder / f"{name}{_ENDING}", state)

    def read(self, name: str) -> Snapshot:
        """Return the snapshot with a name.

        Raises:
            BadSnapshot: there is none of that name, or it is damaged.

        """
        if name not in self.names():
            raise BadSnapshot.unknown(name, self.names())
        return read(self._folder / f"{name}{_ENDING}")

    def clear(self) -> None:
        """Remove all snapshots."""
        for name in self.names():
            (self._folder / f"{name}{_ENDING}").unlink()


def _safe(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files if all lie in the lab's own folders."""
    for name in files:
        parts = Path(name).parts
        if not parts or parts[0] not in FOLDERS or ".." in parts:
            raise BadSnapshot(f"expected files of the lab's own folders, got {name[:80]!r}")
    return files
