"""The whole lab in one process: emulator, connector, devices, each with its own folder, speaking HTTPS only.

folder/cloud         the emulator's data
folder/connector     key store and identity of the connector
folder/devices/NAME  each device's identity and certificate store
folder/operator      what the administrator keeps: credentials, CA file, the connector's public key
"""

import asyncio
import contextlib
import hashlib
import json
import secrets
import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from filelock import FileLock, Timeout

from connector_sim import identity as connector_identity
from connector_sim.cmdlets import EncryptionKey, GraphClient
from connector_sim.errors import KeyNotFound
from connector_sim.eventlog import Event
from connector_sim.keys.provider import Providers
from connector_sim.keys.software import SoftwareKey, SoftwareKsp
from connector_sim.service import Connector, Settings, enroll
from device_sim.client import Device, DeviceClient
from device_sim.errors import SessionFailed
from device_sim.identity import Hardware
from device_sim.keys import NewKey, generate
from emulator.clock import LabClock
from emulator.config import Config, switches_with
from emulator.lab.journal import Entry
from emulator.pki import write_private
from emulator.seed import Credentials, add_user, restore, seed, seed_tenants
from emulator.server import Emulator
from emulator.wire.ids import check_upn
from scenarios.hardware import hardware_of

_EVENTS_KEPT: Final = 5000
KEY_NAME: Final = "PFXLabKey"


class DataUnusable(Exception):
    """The data folder cannot be used; the text says why and what to do."""


@dataclass
class Operator:
    """What the administrator knows: the seed's credentials and the passwords of users added later."""

    credentials: Credentials
    passwords: dict[str, str]

    def save(self, path: Path) -> None:
        """Keep it in a file only its owner may read."""
        body = {"credentials": asdict(self.credentials), "passwords": self.passwords}
        write_private(path, json.dumps(body, indent=2).encode())


def _load_operator(path: Path) -> Operator | None:
    if not path.exists():
        return None
    try:
        body = json.loads(path.read_text())
        names = {field.name for field in fields(Credentials)}
        if not names <= set(body["credentials"]):
            return None  # of an earlier version: the seed adds what is new and gives fresh secrets
        return Operator(Credentials(**{n: v for n, v in body["credentials"].items() if n in names}), body["passwords"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataUnusable(
            f"expected credentials in {path.name}, got something else; delete that file to get new ones"
        ) from None


class Lab:
    """A lab over a folder; everything in it survives a restart."""

    def __init__(self, folder: Path, config: Config | None = None) -> None:
        self.folder, self.config = folder, config or Config()
        self.clock = LabClock()
        for part in ("cloud", "connector", "devices", "operator"):
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
        except BaseException:
            self._lock.release()
            raise

    def _open(self, folder: Path) -> None:
        self.emulator = Emulator(self.config, self.clock, folder / "cloud")
        self.ksp = SoftwareKsp(folder / "connector" / "keys")
        self._exported: EncryptionKey | None = None
        self.connector: Connector | None = None
        self.connector_events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self.devices: dict[str, Device] = {}
        self.new_key: NewKey = generate
        self.operator = self._operator()
        seed_tenants(self.emulator.cloud)
        self._pushes: set[asyncio.Task[None]] = set()
        self._woken: set[str] = set()

    def _operator(self) -> Operator:
        path = self.folder / "operator" / "credentials.json"
        operator = _load_operator(path)
        if operator is None:
            operator = Operator(seed(self.emulator.cloud), {})
            made = operator.credentials
            operator.passwords[made.user_upn] = made.user_password
            operator.passwords[made.operator_upn] = made.operator_password
            operator.save(path)
        else:
            restore(self.emulator.cloud, operator.credentials)
        return operator

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
            PortTaken: the port cannot be had.

        """
        self.ca_file.write_bytes(self.emulator.tls.ca_pem)
        pem = self.encryption_key().key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public_key_file.write_bytes(pem)
        await self.emulator.start(port)

    async def stop(self) -> None:
        """Stop every party; data stays."""
        for task in list(self._pushes):
            task.cancel()
        try:
            if self.connector is not None:
                await self.connector.stop()
                self.connector = None
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
        """Let switches have other values within a `with` block: `with lab.switched(page_size=2): …`.

        Raises:
            ValueError: no such switch, or a value it does not take.

        """
        cloud = self.emulator.cloud
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
        """Return the public key with the names to put into records.

        As on a workstation it is the one exported once, whatever has become of the connector's key since.
        """
        if self._exported is None:
            self._exported = EncryptionKey(self.connector_key().public_key(), self.ksp.name, KEY_NAME)
        return self._exported

    def graph(self) -> GraphClient:
        """Return a Graph client for this lab, not signed in yet."""
        return GraphClient(self.emulator.origin, self.authority_url, self.ca_file)

    def admin_form(self) -> dict[str, str]:
        """Return the token request of the administrator's application."""
        made = self.operator.credentials
        return {
            "grant_type": "client_credentials",
            "client_id": made.admin_client_id,
            "client_secret": made.admin_client_secret,
        }

    async def user_token(self, upn: str, password: str) -> str:
        """Return a signed-in user's token."""
        form = {"grant_type": "password", "username": upn, "password": password}
        async with self.graph() as client:
            return await client.sign_in({**form, "client_id": self.operator.credentials.public_client_id})

    def add_user(self, upn: str) -> None:
        """Make sure a user of that name exists, is in the mail users' group, and can sign in."""
        made, cloud = self.operator.credentials, self.emulator.cloud
        known = cloud.directory.user(made.tenant_id, check_upn(upn))
        if known is None or known["user_principal_name"] not in self.operator.passwords:
            password = secrets.token_urlsafe(18)
            add_user(cloud, made.tenant_id, upn, password)
            self.operator.passwords[upn if known is None else str(known["user_principal_name"])] = password
            self.operator.save(self.folder / "operator" / "credentials.json")
        user = cloud.directory.user(made.tenant_id, upn)
        if user is not None:
            cloud.directory.add_member(made.group_id, str(user["id"]))

    def password_of(self, upn: str) -> str:
        """Return the password of a user of this lab, whatever the case of the name."""
        return next(secret for name, secret in self.operator.passwords.items() if name.lower() == upn.lower())

    def _connector_settings(self) -> Settings:
        return Settings(self.emulator.origin, self.ca_file, wait_seconds=10)

    async def start_connector(self) -> None:
        """Enrol the connector on first use, then let it work; one that works already is left alone."""
        if self.connector is not None:
            return
        settings, folder = self._connector_settings(), self.folder / "connector"
        who = connector_identity.find(folder)
        if who is not None and self.emulator.cloud.connectors.get(who.connector_id) is None:
            # It was deleted in the tenant: like an administrator, enrol anew.
            who.path.unlink()
            who = None
        if who is None:
            made = self.operator.credentials
            token = await self.user_token(made.operator_upn, made.operator_password)
            who = await enroll(settings, token, folder, "PFX Lab connector", "LAB-SERVER")
        self.connector = Connector(
            settings,
            who,
            Providers([SoftwareKsp(self.folder / "connector" / "keys")]),
            self.clock,
            self.connector_events.append,
        )
        await self.connector.start()

    async def device(self, platform: str, upn: str, os_version: str | None = None) -> Device:
        """Return the user's device of that platform, enrolled on first use; one for each version that is asked for."""
        owner = upn.lower() if os_version is None else f"{upn.lower()} {os_version}"
        name = f"{platform}-{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
        if name in self.devices:
            return self.devices[name]
        client = DeviceClient(self.emulator.origin, self.emulator.tls.ca_pem, self.clock, self.new_key)
        device = client.open(self.folder / "devices" / name)
        if device is None:
            token = await self.user_token(upn, self.password_of(upn))
            hardware = self._hardware(platform, upn, os_version)
            device = await client.enroll(self.folder / "devices" / name, token, upn, hardware)
        self.devices[name] = device
        return device

    def _hardware(self, platform: str, upn: str, os_version: str | None) -> Hardware:
        which = f"{platform}/{upn.lower()}/{os_version or ''}".rstrip("/")
        made = hardware_of(platform, upn, self.config.seed, which)
        return made if os_version is None else replace(made, os_version=os_version)

    def push_when_due(self) -> None:
        """From now on, wake a device when the service has something for it, as APNs and WNS do."""
        self.emulator.cloud.journal.subscribe(self._on_entry)

    def _on_entry(self, entry: Entry) -> None:
        asked_for = entry.event in ("sync asked for", "retire asked for", "wipe asked for")
        if not asked_for and entry.fields.get("state") not in ("wanted", "ready", "removing"):
            return
        device = next((d for d in self.devices.values() if d.identity.device_id == entry.fields.get("device")), None)
        if device is not None and device.identity.device_id not in self._woken:
            self._woken.add(device.identity.device_id)
            task = asyncio.get_running_loop().create_task(self._wake(device))
            self._pushes.add(task)
            task.add_done_callback(self._pushes.discard)

    async def _wake(self, device: Device) -> None:
        # Pushes that come close together wake a device once, after the transaction that caused them.
        await asyncio.sleep(0.05)
        self._woken.discard(device.identity.device_id)
        # A device that cannot reach the service comes again with the next push.
        with contextlib.suppress(SessionFailed):
            await device.check_in()
