"""What every component of the emulator shares: aggregates of the store, clocks, randomness, journal, authorities."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from pfxlab.emulator.clock import LabClock, WallClock
from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.faults.plan import Faults
from pfxlab.emulator.journal.conversations import Conversations
from pfxlab.emulator.journal.journal import Journal
from pfxlab.emulator.pki import Authority, load_or_create
from pfxlab.emulator.seeded_random import SeededRandom
from pfxlab.emulator.store.connectors import Connectors
from pfxlab.emulator.store.database import Store
from pfxlab.emulator.store.deliveries import Deliveries
from pfxlab.emulator.store.device_configurations import AssignmentFilters, DeviceConfigurations
from pfxlab.emulator.store.devices import Devices
from pfxlab.emulator.store.directory import Directory, Secrets
from pfxlab.emulator.store.kept_state import KeptState
from pfxlab.emulator.store.lists.lists import Lists
from pfxlab.emulator.store.mdm_commands import MdmCommands
from pfxlab.emulator.store.pfx_certificates import PfxCertificates
from pfxlab.emulator.store.tickets import Tickets
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.files.damaged import DamagedEntry
from pfxlab.emulator.wire.numbers import counted

T = TypeVar("T")


class Cloud:
    """One emulated cloud: all tenants, in memory or in a folder that outlives the process."""

    def __init__(self, config: Config, clock: LabClock, folder: Path | None = None, wall: Clock | None = None) -> None:
        """`clock`: what Microsoft's side plans by; `wall`: what clients measure by, the machine's time if left out."""
        self.config, self.clock = config, clock
        self.wall: Clock = WallClock() if wall is None else wall
        self.stopping = False
        self._folder = folder
        self._components: dict[type, Any] = {}
        self.on_restore: list[Callable[[], None]] = []
        """What components remember beside the store, to be forgotten when that is put back to another state."""

        self.conversations = Conversations()
        self.on_restore.append(self.conversations.clear)
        self.damaged: Callable[[], Sequence[DamagedEntry]] = tuple
        """Return the entries of the lab's folder that are damaged, for pages and answers; told by who opens them."""

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
        self.tickets = Tickets(self.store)
        self.secrets = Secrets()
        self.faults = Faults(config.seed)
        self.kept = KeptState(self.store, clock, self.faults)
        self.config = self.kept.load(config)
        self.certificates = PfxCertificates(self.store)
        self.profiles = DeviceConfigurations(self.store)
        self.filters = AssignmentFilters(self.store)
        self.devices = Devices(self.store)
        self.connectors = Connectors(self.store)
        self.deliveries = Deliveries(self.store)
        self.commands = MdmCommands(self.store)
        self.lists = Lists(self.store)
        self.limit_waits()
        clock.on_change.append(self._clock_changed)
        self.faults.on_change = self.kept.keep_faults
        for name in self.kept.unreadable:
            reason = f"expected the {name} of an earlier run, got what this version does not read"
            self.journal.record("lab", "kept state dropped", outcome="failed", reason=reason)
        for name, value in self.kept.overruled.items():
            now = str(getattr(self.config.switches, name))
            self.journal.record("lab", "switch overruled", switch=name, value=now, kept=str(value))

    @cached_property
    def device_ca(self) -> Authority:
        """Return the authority that issues devices' management identities."""
        issued = _identities(self.devices.count(), "device")
        return load_or_create(self.file("device-ca.pem"), "PFX Lab MDM Device CA", self.clock, issued)

    @cached_property
    def connector_ca(self) -> Authority:
        """Return the authority that issues connectors' identities."""
        issued = _identities(self.connectors.count(), "connector")
        return load_or_create(self.file("connector-ca.pem"), "PFX Lab Connector CA", self.clock, issued)

    def component(self, kind: type[T], make: Callable[[], T]) -> T:
        """Return what a component of the emulator keeps for this cloud, by its class; made on first use."""
        if kind not in self._components:
            self._components[kind] = make()
        return cast("T", self._components[kind])

    def file(self, name: str) -> Path | None:
        """Return a file of the cloud's own folder, None for a cloud that lives in memory."""
        return None if self._folder is None else self._folder / name

    def next_exchange(self) -> int:
        """Return the number of the next request that an observer hears of, from 1."""
        self._exchanges += 1
        return self._exchanges

    def set_switches(self, switches: Switches, changes: Mapping[str, object]) -> None:
        """Set switches from the next request on; `changes` are those that were requested."""
        with self.store.atomic():
            self.kept.set_switches({name: getattr(switches, name) for name in changes})
            self._note_switches(changes)
        self.config = self.config.with_switches(switches)

    def _note_switches(self, changes: Mapping[str, object]) -> None:
        self.journal.record("lab", "switches set", **{name: str(value) for name, value in changes.items()})

    def limit_waits(self) -> None:
        """Let nothing wait longer from now on than the switches say, whatever the clock has done."""
        switches = self.config.switches
        lease, retry = switches.connector_lease_seconds, switches.connector_retry_seconds
        self.deliveries.limit_waits(self.clock.now(), timedelta(seconds=lease), timedelta(seconds=retry))

    def _clock_changed(self, back: timedelta) -> None:
        with self.store.atomic():
            if back:
                self.deliveries.move_back(back)
                self.connectors.move_back(back)
            self.kept.keep_clock()

    def close(self) -> None:
        """Close the store."""
        self.clock.on_change.remove(self._clock_changed)
        self.journal.flush()
        self.store.close()


def _identities(count: int, owner: str) -> str:
    return f"the identities of {counted(count, owner)}" if count else ""
