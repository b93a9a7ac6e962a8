"""The whole lab in one process: emulator, connector, devices, each with its own folder, speaking HTTPS only.

folder/cloud         the emulator's data
folder/connector     key store and identity of the connector
folder/connectors/NAME  those of further connectors, which share the first one's keys
folder/devices/NAME  each device's identity and certificate store
folder/operator      what the administrator keeps: credentials, CA file, the connector's public key
"""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from filelock import FileLock, Timeout

from pfxlab import private_file
from pfxlab.connector_sim import identity as connector_identity
from pfxlab.connector_sim.cmdlets import EncryptionKey, GraphClient
from pfxlab.connector_sim.errors import FileDamaged, KeyNotFound, KeyStoreError
from pfxlab.connector_sim.eventlog import Event
from pfxlab.connector_sim.keys.provider import KeyStorageProvider, Providers
from pfxlab.connector_sim.keys.software import SoftwareKey, SoftwareKsp
from pfxlab.connector_sim.service import Settings, enroll
from pfxlab.device_sim.client import Device, DeviceClient
from pfxlab.device_sim.errors import DeviceDamaged
from pfxlab.device_sim.identity import Hardware
from pfxlab.device_sim.keys import NewKey, generate
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config, switches_with
from pfxlab.emulator.entra.principals.users import state_of
from pfxlab.emulator.lab.seed import add_user, restore, seed, seed_tenants
from pfxlab.emulator.secret_words import secret_word
from pfxlab.emulator.server import Emulator
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.tickets import DEVICE_CODE
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.files.damaged import COPY_OR_NEW_LAB, Damaged
from pfxlab.emulator.wire.ids import check_upn
from pfxlab.scenarios.lab import file_switch
from pfxlab.scenarios.lab.operator import Operator, load_operator
from pfxlab.scenarios.lab.pushes import Pushes
from pfxlab.scenarios.parties import faulty_device
from pfxlab.scenarios.parties.damaged_entries import LOST_KEY, DamagedEntries, read_public_key
from pfxlab.scenarios.parties.faulty_connector import FaultyConnector
from pfxlab.scenarios.parties.hardware import hardware_of

_FOLDERS: Final = ("cloud", "connector", "devices", "operator")
_EVENTS_KEPT: Final = 5000
_STALLED: Final = 1.0
"""Real seconds without any journal entry after which connectors are taken not to get on."""

KEY_NAME: Final = "PFXLabKey"
FIRST: Final = "main"
"""Name of the connector that every lab has."""


class DataUnusable(Exception):
    """The data folder cannot be used; the text says why and what to do."""


def _lost(folder: Path, got: str) -> Damaged:
    return Damaged(
        folder / "cloud" / "cloud.db", "the database of the tenant in operator/credentials.json", got, COPY_OR_NEW_LAB
    )


class Lab:
    """A lab over a folder; everything in it survives a restart."""

    def __init__(
        self,
        folder: Path,
        config: Config | None = None,
        *,
        at: datetime | None = None,
        stepped: bool = False,
        wall: Clock | None = None,
    ) -> None:
        """`at`: the clock stands still at this moment. `stepped`: connectors work on demand, not in the background.

        `wall`: the clock that clients measure by, the machine's if left out.

        Raises:
            DataUnusable: the folder is in use by another lab, or its data cannot be read.

        """
        self.folder, self.config, self.stepped = folder, config or Config(), stepped
        self.clock, self._wall = LabClock(at), wall
        for part in _FOLDERS:
            (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FileLock(folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DataUnusable(f"expected {folder} to be free, got a folder that another lab is using") from None
        try:
            self._open(folder)
        except sqlite3.Error as error:
            self._lock.release()
            raise DataUnusable(
                f"expected a lab's database in {folder}/cloud, got one that does not open ({error})"
            ) from None
        except Damaged as problem:
            self._lock.release()
            raise DataUnusable(str(problem)) from None
        except BaseException:
            self._lock.release()
            raise

    def _open(self, folder: Path) -> None:
        database = folder / "cloud" / "cloud.db"
        if (folder / "operator" / "credentials.json").exists() and not os.path.lexists(database):
            raise _lost(folder, "no such file")
        self.emulator = Emulator(self.config, self.clock, folder / "cloud", self._wall)
        try:
            file_switch.recover(folder, self.cloud.store)
            file_switch.tidy(folder / part for part in (*_FOLDERS, "connectors", "snapshots"))
        except file_switch.BadIntent as error:
            raise DataUnusable(str(error)) from None
        self.ksp = SoftwareKsp(folder / "connector" / "keys")
        self._exported: EncryptionKey | None = None
        self.connector: FaultyConnector | None = None
        self.installed: list[KeyStorageProvider] = []
        """Key storage providers of connectors beside the software provider, such as an HSM's."""

        self.further: dict[str, FaultyConnector] = {}
        """Further connectors, by name."""

        self.connector_events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self.devices: dict[str, Device] = {}
        self.new_key: NewKey = generate
        self.operator = self._operator()
        seed_tenants(self.cloud)
        self.pushes = Pushes(self.devices, self.check_in)
        self.damaged = self.cloud.damaged = DamagedEntries(self.cloud.journal, self.devices)

    def _operator(self) -> Operator:
        path = self.folder / "operator" / "credentials.json"
        operator = load_operator(path)
        if operator is None:
            operator = Operator(seed(self.cloud), {})
            made = operator.credentials
            operator.passwords[made.user_upn] = made.user_password
            operator.passwords[made.operator_upn] = made.operator_password
            operator.save(path)
        else:
            self._check_tenant(operator.credentials.tenant_id)
            restore(self.cloud, operator.credentials)
        return operator

    def _check_tenant(self, tenant_id: str) -> None:
        """Let a database pass that still has the operator's tenant: without it, everything in it is lost."""
        directory = self.cloud.directory
        if directory.tenant(tenant_id) is None and not directory.has_users(tenant_id):
            raise _lost(self.folder, f"one without the tenant {tenant_id}")

    def size(self) -> int:
        """Return the size of the cloud's database on disk, in bytes."""
        return sum(path.stat().st_size for path in (self.folder / "cloud").glob("cloud.db*"))

    @property
    def cloud(self) -> Cloud:
        """Return the emulated cloud, with internals that a tenant's administrator never sees."""
        return self.emulator.cloud

    @property
    def ca_file(self) -> Path:
        """Return the file with the CA that clients must trust."""
        return self.folder / "operator" / "ca.pem"

    @property
    def public_key_file(self) -> Path:
        """Return the PEM file with the public key that passwords are encrypted to."""
        return self.folder / "operator" / "connector-public-key.pem"

    @property
    def authority_url(self) -> str:
        """Return the sign-in address with the tenant."""
        return f"{self.emulator.origin}/{self.operator.credentials.tenant_id}"

    async def start(self, port: int = 0) -> None:
        """Start the emulator and write the operator's files.

        Raises:
            PortTaken: the port is in use.

        """
        private_file.replace_public(self.ca_file, self.emulator.tls.ca_pem)
        pem = self.encryption_key().key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private_file.replace_public(self.public_key_file, pem)
        await self.emulator.start(port)

    async def stop(self) -> None:
        """Stop every party; the data is kept."""
        self.pushes.cancel()
        try:
            for connector in self.connectors():
                await connector.stop()
            self.connector, self.further = None, {}
        finally:
            await self.emulator.stop()
            self._lock.release()

    async def __aenter__(self) -> "Lab":
        """Start on a free port."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    @contextlib.contextmanager
    def switched(self, **switches: object) -> Iterator[None]:
        """Change switches for the length of a `with` block: `with lab.switched(page_size=2): …`.

        Raises:
            ValueError: no such switch, or a value it does not take.

        """
        cloud = self.cloud
        before = cloud.config.switches
        cloud.config = replace(cloud.config, switches=switches_with(before, switches))
        try:
            yield
        finally:
            cloud.config = replace(cloud.config, switches=before)

    def connector_key(self) -> SoftwareKey:
        """Return the PFX-encryption key, made on first use."""
        try:
            return self.ksp.open(KEY_NAME)
        except KeyNotFound:
            return self.ksp.add(KEY_NAME)

    def encryption_key(self) -> EncryptionKey:
        """Return the public key, with the provider and key names for records.

        As on an administrator's workstation, it is exported once and does not follow later changes of the key.
        """
        if self._exported is None:
            self._exported = EncryptionKey(self._public_key(), self.ksp.name, KEY_NAME)
        return self._exported

    def _public_key(self) -> rsa.RSAPublicKey:
        """Return the public half of the connector's key, or what was exported of one that is lost since."""
        try:
            return self.ksp.open(KEY_NAME).public_key()
        except KeyStoreError as error:
            exported = read_public_key(self.public_key_file)
            if exported is None:
                return self.connector_key().public_key()
            path = self.ksp.path(KEY_NAME)
            missing = Damaged(path, f"the RSA key {KEY_NAME!r}", "no such file", LOST_KEY)
            self.damaged.note("key", KEY_NAME, error if isinstance(error, FileDamaged) else missing)
            return exported

    def graph(self) -> GraphClient:
        """Return a Graph client for this lab that is not signed in."""
        return GraphClient(self.emulator.origin, self.authority_url, self.ca_file)

    def admin_form(self) -> dict[str, str]:
        """Return the form of the token request of the administrator's application."""
        made = self.operator.credentials
        return {
            "grant_type": "client_credentials",
            "client_id": made.admin_client_id,
            "client_secret": made.admin_client_secret,
        }

    async def user_token(self, upn: str, password: str) -> str:
        """Return a signed-in user's token. One who must show a second factor shows it, as on a device."""
        cloud, made = self.cloud, self.operator.credentials
        form = {"grant_type": "password", "username": upn, "password": password}
        user = cloud.directory.user(made.tenant_id, upn)
        if user is not None and state_of(user) == "mfa" and cloud.secrets.matches(password, user["password_hash"]):
            code = cloud.tickets.issue(
                DEVICE_CODE, cloud.wall.now(), 60, tenant_id=made.tenant_id, app_id=made.public_client_id, scope="",
                user_id=user["id"], facts={"user_code": "", "second_factor": True},
            )  # fmt: skip
            form = {"grant_type": "device_code", "device_code": code}
        async with self.graph() as client:
            return await client.sign_in({**form, "client_id": self.operator.credentials.public_client_id})

    def add_user(self, upn: str) -> None:
        """Make sure a user exists, is a member of the mail users' group, and can sign in."""
        made, cloud = self.operator.credentials, self.cloud
        known = cloud.directory.user(made.tenant_id, check_upn(upn))
        if known is None or known["user_principal_name"] not in self.operator.passwords:
            password = secret_word(18)
            add_user(cloud, made.tenant_id, upn, password)
            self.operator.passwords[upn if known is None else str(known["user_principal_name"])] = password
            self.operator.save(self.folder / "operator" / "credentials.json")
        user = cloud.directory.user(made.tenant_id, upn)
        if user is not None:
            cloud.directory.add_member(made.group_id, str(user["id"]))

    def password_of(self, upn: str) -> str:
        """Return the password of a user of this lab, whatever the case of the name."""
        return self.operator.password_of(upn)

    def connectors(self) -> list[FaultyConnector]:
        """Return the running connectors."""
        return [*([] if self.connector is None else [self.connector]), *self.further.values()]

    def key_store(self, name: str = FIRST) -> SoftwareKsp:
        """Return the software provider of a connector's own server."""
        return self.ksp if name == FIRST else SoftwareKsp(self.folder / "connectors" / name / "keys")

    async def start_connector(self, name: str = FIRST, batch: int = 500, *, own_keys: bool = False) -> FaultyConnector:
        """Start a connector, enrolled on first use; one that already runs is returned as it is.

        `batch`: how many requests it leases at once. `own_keys`: it does not share the first connector's key store.
        """
        running = self.connector if name == FIRST else self.further.get(name)
        if running is not None:
            return running
        folder = self.folder / "connector" if name == FIRST else self.folder / "connectors" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        wait = 0 if self.stepped else 10
        settings = Settings(self.emulator.origin, self.ca_file, wait_seconds=wait, batch=batch)
        try:
            who = connector_identity.find(folder)
        except FileDamaged as problem:
            self.damaged.note("connector", name, problem, problem.path.stem.removeprefix("connector-"))
            raise
        self.damaged.forget("connector", name)
        if who is not None and self.cloud.connectors.get(who.connector_id) is None:
            # It was deleted in the tenant: enrol again, as an administrator would.
            who.path.unlink()
            who = None
        if who is None:
            made = self.operator.credentials
            token = await self.user_token(made.operator_upn, made.operator_password)
            shown = "PFX Lab connector" if name == FIRST else f"PFX Lab connector {name}"
            machine = "LAB-SERVER" if name == FIRST else f"LAB-{name}"[:64]
            who = await enroll(settings, token, folder, shown, machine, self.new_key)
        # Each connector has its own provider, as in separate processes, so that caches of keys are not shared.
        store = self.folder / "connector" / "keys" if name == FIRST or not own_keys else folder / "keys"
        providers = Providers([SoftwareKsp(store), *self.installed])
        made_connector = FaultyConnector(
            name, self.cloud, settings, who, providers, self.connector_events.append, own_keys=own_keys
        )
        if name == FIRST:
            self.connector = made_connector
        else:
            self.further[name] = made_connector
        await made_connector.start(background=not self.stepped)
        return made_connector

    async def stop_connector(self, name: str = FIRST) -> None:
        """Stop a connector gracefully, if it runs."""
        if name == FIRST:
            stopped, self.connector = self.connector, None
        else:
            stopped = self.further.pop(name, None)
        if stopped is not None:
            await stopped.stop()

    async def connectors_work(self, seconds: float = 20.0) -> bool:
        """Let connectors process what is due at the lab's present time; return whether nothing is left.

        In a stepped lab they work in turn. Otherwise this waits for progress, at most `seconds` of real time.
        """
        if self.stepped:
            while [one for one in self.connectors() if await one.step()]:
                pass
        elif self.connectors():
            await self._wait_for_connectors(seconds)
        return not self._due()

    def _due(self) -> bool:
        """Return whether a connector would get work now."""
        tenant = self.operator.credentials.tenant_id
        return self.cloud.deliveries.waiting(tenant, self.clock.now())

    async def _wait_for_connectors(self, seconds: float) -> None:
        cloud, tenant = self.cloud, self.operator.credentials.tenant_id
        loop = asyncio.get_running_loop()
        end, moved, seen = loop.time() + seconds, loop.time(), -1
        woken = False
        while self._due() or cloud.deliveries.count(tenant, State.LEASED):
            now, last = loop.time(), cloud.journal.last()
            if last != seen:
                moved, seen = now, last
            leased = bool(cloud.deliveries.count(tenant, State.LEASED))
            if now >= end or (now - moved > _STALLED and not leased):
                break
            if now - moved > _STALLED / 2 and not woken:
                # A connector backs off after a failure by the lab's clock, which may stand still.
                woken = True
                for connector in self.connectors():
                    connector.interrupt()
            await asyncio.sleep(0.02)

    def forget_devices(self) -> None:
        """Drop every device object; their folders are kept."""
        self.devices.clear()

    def reopen_device(self, name: str) -> None:
        """Open a device again from its folder, unless it is no longer managed, or damaged."""
        with contextlib.suppress(DeviceDamaged):
            device = self._open_device(name)
            if device is not None:
                self.devices[name] = device

    def _open_device(self, name: str, serial_number: str = "") -> Device | None:
        try:
            device = self.client.open(self.folder / "devices" / name)
        except DeviceDamaged as problem:
            known = self.cloud.devices.of_tenant(self.operator.credentials.tenant_id) if serial_number else []
            ids = [one.id for one in known if one.serial_number == serial_number]
            self.damaged.note("device", name, problem, ids[0] if ids else "")
            raise
        self.damaged.forget("device", name)
        return device

    def reload(self) -> None:
        """Read the operator's file again, after a snapshot was restored."""
        self.operator, self._exported = self._operator(), None

    @property
    def client(self) -> DeviceClient:
        """Return a client that opens and enrols devices of this lab."""
        return DeviceClient(self.emulator.origin, self.emulator.tls.ca_pem, self.clock, self.new_key)

    async def device(
        self, platform: str, upn: str, os_version: str | None = None, *, name: str | None = None
    ) -> Device:
        """Return the user's device of a platform and OS version, enrolled on first use.

        `name`: a further device with this name, which is also its device name.

        Raises:
            DeviceDamaged: its folder holds damaged files.
            EnrollmentRefused: the service's reason.

        """
        owner = upn.lower() if os_version is None else f"{upn.lower()} {os_version}"
        label = name or f"{platform}-{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
        if label in self.devices:
            return self.devices[label]
        hardware = self._hardware(platform, upn, os_version, name)
        device = self._open_device(label, hardware.serial_number)
        if device is None:
            token = await self.user_token(upn, self.password_of(upn))
            device = await self.client.enroll(self.folder / "devices" / label, token, upn, hardware)
        self.devices[label] = device
        return device

    def _hardware(self, platform: str, upn: str, os_version: str | None, name: str | None) -> Hardware:
        which = f"{platform}/{upn.lower()}/{os_version or ''}".rstrip("/")
        made = hardware_of(platform, upn, self.config.seed, which if name is None else f"{which}/{name}")
        if name is not None:
            made = replace(made, device_name=name)
        return made if os_version is None else replace(made, os_version=os_version)

    def name_of(self, device: Device) -> str:
        """Return a device's name in this lab, or else its device name."""
        return next((name for name, one in self.devices.items() if one is device), device.hardware.device_name)

    async def check_in(self, device: Device) -> int:
        """Let a device check in, with the faults planned for it; return the number of messages it sent.

        Raises:
            SessionFailed: the device is lost, or the service does not answer.
            DeviceDamaged: a file of it cannot be read or written.

        """
        name = self.name_of(device)
        try:
            return await faulty_device.check_in(self.cloud, device, name)
        except DeviceDamaged as problem:
            self.damaged.note("device", name, problem, device.identity.device_id)
            raise

    def push_when_due(self) -> None:
        """From now on, wake a device when the service has something for it."""
        self.cloud.journal.subscribe(self.pushes.on_entry)
