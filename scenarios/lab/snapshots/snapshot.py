"""A snapshot of the whole lab: the cloud's state, devices, connectors' keys and identities, the names in use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.lab import snapshot as cloud_snapshot
from pfxlab.emulator.lab.snapshot import BadSnapshot, CloudState
from pfxlab.scenarios.lab import file_switch

if TYPE_CHECKING:
    from pfxlab.scenarios.lab.lab import Lab

FOLDERS: Final = ("devices", "connector", "connectors", "operator")
"""Folders of a lab whose files are part of its state, beside the cloud's database."""


@dataclass(frozen=True)
class Names:
    """What the names of a world stand for. Certificates read from a file are in the form that `saved` returns."""

    certificates: Mapping[str, Any] = field(default_factory=dict, repr=False)
    profiles: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A running connector: name, requests per lease, whether it has a key store of its own."""

    name: str
    batch: int
    own_keys: bool


@dataclass(frozen=True)
class Snapshot:
    """What `take` returns. `files`: path in the lab's folder → content; `running`: connectors with their settings."""

    cloud: CloudState
    files: Mapping[str, bytes] = field(repr=False)
    devices: tuple[str, ...]
    running: tuple[Running, ...]
    names: Names = field(default_factory=Names)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for name in FOLDERS
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and path.name != "ready.json"
    }


def take(lab: "Lab", names: Names) -> Snapshot:
    """Return the state of a lab."""
    running = tuple(Running(one.name, one.batch, one.own_keys) for one in lab.connectors())
    return Snapshot(cloud_snapshot.take(lab.cloud), _files(lab.folder), tuple(lab.devices), running, names)


async def restore(lab: "Lab", state: Snapshot) -> None:
    """Restore a lab to a state. Connectors whose files have not changed keep running; devices are opened again.

    Raises:
        BadSnapshot: it is damaged; nothing was changed.

    """
    cloud_snapshot.verify(lab.cloud, state.cloud)
    present = _files(lab.folder)
    changed = {path for path in present.keys() | state.files.keys() if present.get(path) != state.files.get(path)}
    keys_changed = any(path.startswith("connector") for path in changed)
    stopped = [
        running
        for one in lab.connectors()
        if (running := Running(one.name, one.batch, one.own_keys)) not in state.running or keys_changed
    ]
    for connector in stopped:
        # Before the cloud is restored: their last heartbeats belong to the state that is replaced.
        await lab.stop_connector(connector.name)
    try:
        switch = _switch(lab, {path: state.files.get(path) for path in sorted(changed)}, state.cloud)
    except BadSnapshot:
        await _start(lab, stopped)
        raise
    switch.finish(lab.cloud.store)
    lab.forget_devices()
    for name in state.devices:
        lab.reopen_device(name)
    lab.reload()
    await _start(lab, state.running)
    for started in lab.connectors():
        # It no longer works on what it had leased when the snapshot was taken.
        deliveries.release(lab.cloud, started.connector_id)


def _switch(lab: "Lab", changes: Mapping[str, bytes | None], state: CloudState) -> file_switch.FileSwitch:
    """Stage files, and commit the database they belong to.

    Raises:
        BadSnapshot: there is no space; nothing was changed.

    """
    try:
        file_switch.recover(lab.folder, lab.cloud.store)
        switch = file_switch.prepare(lab.folder, changes)
    except OSError as error:
        raise BadSnapshot(f"expected space for the snapshot's files, got: {error.strerror}") from None
    try:
        cloud_snapshot.restore(lab.cloud, state, switch.note)
    except BaseException:
        # A switch that was committed is completed.
        file_switch.recover(lab.folder, lab.cloud.store)
        raise
    return switch


async def _start(lab: "Lab", connectors: Iterable[Running]) -> None:
    for one in connectors:
        await lab.start_connector(one.name, one.batch, own_keys=one.own_keys)
