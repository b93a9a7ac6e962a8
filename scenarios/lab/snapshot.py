"""A snapshot of the whole lab: the cloud's state, the devices, the connectors' keys and identities, the names in use.

As a file it is one archive, 0600, with a digest of every part: it holds the private keys of simulated devices and of
the lab's connector. It is for the lab that took it; a bundle (scenarios/control/bundle.py) is what can be passed on.
"""

import hashlib
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pfxlab import private_file
from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.lab import snapshot as cloud_snapshot
from pfxlab.emulator.lab.snapshot import BadSnapshot, CloudState

if TYPE_CHECKING:
    from pfxlab.scenarios.lab.lab import Lab

_FOLDERS: Final = ("devices", "connector", "connectors", "operator")
_ENDING: Final = ".snapshot"
_FORMAT: Final = "pfxlab snapshot 1"


@dataclass(frozen=True)
class Names:
    """What the names of a world stand for. Certificates from a file are what their `saved` told."""

    certificates: Mapping[str, Any] = field(default_factory=dict, repr=False)
    profiles: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A connector that runs: name, how many requests it takes at once, whether its key store is its own."""

    name: str
    batch: int
    own_keys: bool


@dataclass(frozen=True)
class Snapshot:
    """What `take` returned. `files`: path in the lab's folder → content; `running`: connectors with their settings."""

    cloud: CloudState
    files: Mapping[str, bytes] = field(repr=False)
    devices: tuple[str, ...]
    running: tuple[Running, ...]
    names: Names = field(default_factory=Names)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for name in _FOLDERS
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and path.name != "ready.json"
    }


def take(lab: "Lab", names: Names) -> Snapshot:
    """Return the state of a lab."""
    running = tuple(Running(one.name, one.batch, one.own_keys) for one in lab.connectors())
    return Snapshot(cloud_snapshot.take(lab.cloud), _files(lab.folder), tuple(lab.devices), running, names)


async def restore(lab: "Lab", state: Snapshot) -> None:
    """Bring a lab back to a state. Connectors whose files are as they were work on; devices are opened anew.

    Raises:
        BadSnapshot: it is damaged; nothing was changed.

    """
    cloud_snapshot.verify(lab.cloud, state.cloud)
    present = _files(lab.folder)
    changed = {path for path in present.keys() | state.files.keys() if present.get(path) != state.files.get(path)}
    keys_changed = any(path.startswith("connector") for path in changed)
    for one in lab.connectors():
        if Running(one.name, one.batch, one.own_keys) not in state.running or keys_changed:
            # Before the cloud goes back: their last words belong to the time that is over.
            await lab.stop_connector(one.name)
    cloud_snapshot.restore(lab.cloud, state.cloud)
    for path in changed:
        _put(lab.folder / path, state.files.get(path))
    lab.forget_devices()
    for name in state.devices:
        lab.reopen_device(name)
    lab.reload()
    for run in state.running:
        await lab.start_connector(run.name, run.batch, own_keys=run.own_keys)
    for connector in lab.connectors():
        # Whatever it was at work on then, it is not any more.
        deliveries.release(lab.cloud, connector.connector_id)


def _put(path: Path, data: bytes | None) -> None:
    if data is not None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_file.replace(path, data)
        return
    path.unlink(missing_ok=True)
    if path.parent.parent.name == "devices" and not any(path.parent.iterdir()):
        shutil.rmtree(path.parent, ignore_errors=True)


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
    private_file.replace(path, held.getvalue())


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
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
        if isinstance(error, BadSnapshot):
            raise
        raise BadSnapshot(f"{path.name}: expected a snapshot, got a damaged file; take a new one") from None


class KeptSnapshots:
    """Snapshots as files of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of what is kept."""
        return sorted(path.name.removesuffix(_ENDING) for path in self._folder.glob(f"*{_ENDING}"))

    def write(self, name: str, state: Snapshot) -> None:
        """Keep a snapshot under a name; another of that name is replaced."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write(self._folder / f"{name}{_ENDING}", state)

    def read(self, name: str) -> Snapshot:
        """Return the snapshot of a name.

        Raises:
            BadSnapshot: there is none of that name, or it is damaged.

        """
        if name not in self.names():
            raise BadSnapshot(f"expected a snapshot ({', '.join(self.names()) or 'none'}), got {name[:80]!r}")
        return read(self._folder / f"{name}{_ENDING}")

    def clear(self) -> None:
        """Remove what is kept."""
        for name in self.names():
            (self._folder / f"{name}{_ENDING}").unlink()


def _safe(files: dict[str, bytes]) -> dict[str, bytes]:
    """Let files pass that lie in the lab's own folders."""
    for name in files:
        parts = Path(name).parts
        if not parts or parts[0] not in _FOLDERS or ".." in parts:
            raise BadSnapshot(f"expected files of the lab's own folders, got {name[:80]!r}")
    return files
