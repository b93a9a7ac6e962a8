"""What of a lab's folder is damaged, entry by entry: the control API and the admin centre show it, the rest goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim.client import Device
from pfxlab.emulator.journal.journal import Journal
from pfxlab.emulator.wire.files.damaged import UNREADABLE, Damaged, DamagedEntry

LOST_KEY: Final = (
    "put it back from a copy; or delete the file and operator/connector-public-key.pem for a new key, to which every"
    " certificate must be imported again"
)


def read_public_key(path: Path) -> rsa.RSAPublicKey | None:
    """Return the RSA public key of a PEM file; None if there is none."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, *UNREADABLE):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None


class DamagedEntries:
    """The damaged entries of one lab: those noted when they were opened, and certificates on its devices."""

    def __init__(self, journal: Journal, devices: Mapping[str, Device]) -> None:
        self._journal, self._devices = journal, devices
        self._noted: dict[tuple[str, str], DamagedEntry] = {}

    def note(self, kind: str, name: str, problem: Damaged, owner_id: str = "") -> None:
        """Show an entry as damaged from now on, and write that into the journal."""
        self._noted[kind, name] = DamagedEntry(kind, name, problem, owner_id)
        self._journal.record("lab", "entry damaged", outcome="failed", reason=str(problem), kind=kind, name=name)

    def forget(self, kind: str, name: str) -> None:
        """Show an entry as damaged no longer: it was opened."""
        self._noted.pop((kind, name), None)

    def __call__(self) -> list[DamagedEntry]:
        """Return every entry that is damaged now."""
        on_devices = [
            DamagedEntry("certificate", f"{stem[:8]} on {name}", problem, device.identity.device_id)
            for name, device in self._devices.items()
            for stem, problem in device.store.damaged.items()
        ]
        return [*self._noted.values(), *on_devices]
