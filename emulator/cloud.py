"""What every room of the emulator shares: the store's aggregates, clock, chance, journal, authorities, switches."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.entra.keys import SigningKey
from pfxlab.emulator.entra.tickets import Tickets
from pfxlab.emulator.faults.plan import Faults
from pfxlab.emulator.graph.throttling import DOCUMENTED, Throttle
from pfxlab.emulator.journal.conversations import Conversations
from pfxlab.emulator.journal.journal import Journal
from pfxlab.emulator.lru_cache import LruCache
from pfxlab.emulator.pki import load_or_create
from pfxlab.emulator.seeded_random import SeededRandom
from pfxlab.emulator.store.database import Store
from pfxlab.emulator.store.deliveries import Deliveries, MdmCommands
from pfxlab.emulator.store.device_configurations import DeviceConfigurations
from pfxlab.emulator.store.devices import Connectors, Devices
from pfxlab.emulator.store.directory import Directory, Secrets
from pfxlab.emulator.store.pfx_certificates import PfxCertificates

if TYPE_CHECKING:
    from pfxlab.emulator.graph.request import Caller


class Cloud:
    """One emulated cloud: all tenants, in memory or in a folder that outlives the process."""

    def __init__(self, config: Config, clock: LabClock, folder: Path | None = None) -> None:
        self.config, self.clock = config, clock
        self.stopping = False
        self.on_restore: list[Callable[[], None]] = []
        """What rooms remember beside the store, to be forgotten when that is put back to another state."""

        self.conversations = Conversations()
        self.on_restore.append(self.conversations.clear)
        self._exchanges = 0
        self.tls_root = b""
        """DER of the CA of the TLS port, which enrolment tells devices to trust."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.store = Store(None if folder is None else folder / "cloud.db")
        run = int(self.store.meta("runs") or 0) + 1
        self.store.set_meta("runs", str(run))
        self.chance = SeededRandom(config.seed, run, "records")
        self.traces = SeededRandom(config.seed, run, "traces")
        self.journal = Journal(self.store, clock, config.journal_entries)
        self.directory = Directory(self.store)
        self.secrets = Secrets()
        self.throttle = Throttle(DOCUMENTED)
        # A bulk import sends the same token each time: it is verified once.
        self.callers: LruCache[tuple[str, str], Caller] = LruCache(1000)
        self.faults = Faults(config.seed)
        self.ended_tokens: set[str] = set()
        """Digests of tokens that a fault has ended before their time."""

        self.last_served: dict[str, str] = {}
        """Tenant → the user whose turn at the connectors was last; a restart begins the round anew."""
        self.tickets = Tickets(self.store)
        self.certificates = PfxCertificates(self.store)
        self.profiles = DeviceConfigurations(self.store)
        self.devices = Devices(self.store)
        self.connectors = Connectors(self.store)
        self.deliveries = Deliveries(self.store)
        self.commands = MdmCommands(self.store)
        self.signing_key = SigningKey.load_or_create(_file(folder, "token-signing.pem"))
        self.device_ca = load_or_create(_file(folder, "device-ca.pem"), "PFX Lab MDM Device CA", clock)
        self.connector_ca = load_or_create(_file(folder, "connector-ca.pem"), "PFX Lab Connector CA", clock)

    def next_exchange(self) -> int:
        """Return the number of the next request that an observer hears of, from 1."""
        self._exchanges += 1
        return self._exchanges

    def set_switches(self, switches: Switches, told: Mapping[str, object]) -> None:
        """Let switches have other values from the next request on; `told` is what was asked for."""
        self.config = replace(self.config, switches=switches)
        self.journal.record("lab", "switches set", **{name: str(value) for name, value in told.items()})

    def close(self) -> None:
        """Close the store."""
        self.journal.flush()
        self.store.close()


def _file(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name
