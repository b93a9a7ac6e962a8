"""Random histories of imports, assignments, check-ins, losses and outages: in the end devices have the right certificates.

The oracle is a model of a few lines, made from the rules of docs/divergences.md and not from the code. Devices speak
their own protocols, SyncML and plists, straight to the service's functions; Graph is spoken over HTTP.

`PFXLAB_HISTORIES=600` tries that many of them.
"""

import asyncio
import os
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pfxlab.connector_sim.cmdlets import COLLECTION, EncryptionKey, new_user_pfx_certificate
from pfxlab.connector_sim.keys.software import SoftwareKey
from pfxlab.connector_sim.pfx import Pfx, open_pfx
from pfxlab.connector_sim.recrypt import recrypt
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.device_sim.identity import Enrolled, Hardware, Management, MdmIdentity
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.device_sim.omadm.windows import WindowsDevice
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config, switches_with
from pfxlab.emulator.intune import apple_mdm, deliveries, enrollment, omadm
from pfxlab.emulator.intune.connector_api import work_item
from pfxlab.emulator.lab.seed import Credentials, add_user, seed
from pfxlab.emulator.pki import thumbprint
from pfxlab.emulator.server import build_app
from pfxlab.emulator.store.database import to_text
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.emulator.wire.omadm import syncml
from pfxlab.scenarios.lab.chain import PROFILES
from pfxlab.scenarios.mail.authority import MailAuthority, MailCertificate

EXAMPLES = int(os.environ.get("PFXLAB_HISTORIES", "4"))
DEVICES = {"phone": "ios", "another phone": "ios", "PC": "windows", "work profile": "androidForWork"}
PLATFORMS = ("ios", "windows", "androidForWork")
ENCRYPTION, SIGNING = IntendedPurpose.smimeEncryption, IntendedPurpose.smimeSigning
TYPES = {
    "ios": "#microsoft.graph.iosImportedPFXCertificateProfile",
    "windows": "#microsoft.graph.windows10ImportedPFXCertificateProfile",
    "androidForWork": "#microsoft.graph.androidForWorkImportedPFXCertificateProfile",
}
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
ADDRESS = "https://localhost/omadm"
PROVIDER, KEY = "Microsoft Software Key Storage Provider", "PFXLabKey"


class Phone(AppleDevice):
    """An iPhone that calls the service's functions directly."""

    world: "World"

    async def _put(self, http: aiohttp.ClientSession, url: str, content_type: str, message: dict[str, Any]) -> bytes:
        """Hand a plist over."""
        data = self.world.plist(message)
        device = self.world.enrolled(self.identity)
        answer = apple_mdm.answer(self.world.cloud, device, data, "https://localhost")
        assert answer is not None
        self.world.pass_on()
        return answer


class Computer(WindowsDevice):
    """A PC that calls the service's functions directly."""

    world: "World"

    async def _post(self, http: aiohttp.ClientSession, message: syncml.Message) -> syncml.Message:
        """Hand a SyncML message over."""
        device = self.world.enrolled(self.identity)
        answer = omadm.answer(self.world.cloud, self.world.sessions, device, syncml.serialize(message), ADDRESS)
        assert answer is not None
        self.world.pass_on()
        return syncml.parse(answer)


class Agent(AndroidDevice):
    """An Android work profile that calls the service's functions directly."""

    world: "World"
    _post = Computer._post


class World:
    """A cloud in memory, its Graph on a loopback port, a connector's key, and certificates to import."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = LabClock()
        self.clock.freeze(BEGIN)
        self.cloud = Cloud(Config(), self.clock)
        self.made: Credentials = seed(self.cloud)
        self.sessions = omadm.Sessions()
        self.key = SoftwareKey(KEY, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        self.to = EncryptionKey(self.key.public_key(), PROVIDER, KEY)
        self.issued: list[MailCertificate] = MailAuthority(self.clock.now()).history("user@pfxlab.example")
        self.opened: list[Pfx] = [open_pfx(one.pfx, one.password) for one in self.issued]
        # Making keys takes longer than a whole history: devices draw from these.
        self.keys = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(4)]
        self.lost_after: int | None = None
        """How many answers still arrive before one is lost; None: all do."""

        self.run(self._start())

    def pass_on(self) -> None:
        """Return a response, or lose it in transit."""
        if self.lost_after == 0:
            raise SessionFailed("the answer was lost")
        if self.lost_after is not None:
            self.lost_after -= 1

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine and return its result."""
        return self.loop.run_until_complete(work)

    async def _start(self) -> None:
        self._server = TestServer(build_app(self.cloud, "control"))
        await self._server.start_server()
        self._http = aiohttp.ClientSession(str(self._server.make_url("")).rstrip("/"))
        self._signed_in_at: datetime | None = None

    async def _sign_in(self) -> None:
        form = {
            "grant_type": "client_credentials", "client_id": self.made.admin_client_id,
            "client_secret": self.made.admin_client_secret, "scope": "https://graph.microsoft.com/.default",
        }  # fmt: skip
        async with self._http.post(f"/{self.made.tenant_id}/oauth2/v2.0/token", data=form) as response:
            self._token = (await response.json())["access_token"]
        self._signed_in_at = self.clock.now()

    def close(self) -> None:
        """Stop everything."""
        self.run(self._http.close())
        self.run(self._server.close())
        self.cloud.close()
        self.loop.close()

    def graph(self, method: str, path: str, body: Any = None) -> Any:
        """Return Graph's response to the administrator, which must not be an error."""

        async def call() -> Any:
            since = None if self._signed_in_at is None else self.clock.now() - self._signed_in_at
            if since is None or not timedelta() <= since < timedelta(minutes=30):
                await self._sign_in()
            headers = {"Authorization": f"Bearer {self._token}"}
            async with self._http.request(method, path, json=body, headers=headers) as response:
                text = await response.text()
                assert response.status < 400, text
                return await response.json() if text else None

        return self.run(call())

    @staticmethod
    def plist(message: dict[str, Any]) -> bytes:
        """Return a plist as it travels."""
        return mdm.serialize(message)

    def enrolled(self, identity: MdmIdentity) -> Device:
        """Return the service's record of the device that shows an identity, as TLS would have proved it."""
        found = self.cloud.devices.by_key(thumbprint(identity.certificate))
        assert found is not None
        return found

    def enroll(self, platform: str, user_id: str, number: int) -> Phone | Computer | Agent:
        """Return a new device of a user, with nothing on it."""
        udid = str(uuid.uuid4()).upper()
        hardware = Hardware(platform, "d", "18.1", "m", "m", "s", udid)
        now, device_id = self.clock.now(), self.cloud.chance.guid()
        certificate, key = self.identity(device_id, number)
        device = Device(
            device_id, self.made.tenant_id, user_id, platform, "d", "1", "m", "m", "s", udid,
            certificate.public_bytes(serialization.Encoding.DER), thumbprint(certificate), now, now,
        )  # fmt: skip
        with self.cloud.store.atomic():
            self.cloud.devices.save(device)
            deliveries.reconcile(self.cloud, device)
        enrolled = Enrolled(
            MdmIdentity(device_id, certificate, key), hardware, Management("https://localhost/mdm", access_rights=3)
        )
        made: Phone | Computer | Agent
        if platform == "ios":
            made = Phone(enrolled, self._ca())
        else:
            made = (Computer if platform == "windows" else Agent)(enrolled, self._ca(), self.clock)
        made.world = self
        return made

    def identity(self, device_id: str, number: int) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        """Return a certificate of the device CA, and its key."""
        key = self.keys[number % len(self.keys)]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        der = request.public_bytes(serialization.Encoding.DER)
        return self.cloud.device_ca.issue(der, device_id, self.clock.now()), key

    def _ca(self) -> bytes:
        return self.cloud.device_ca.certificate.public_bytes(serialization.Encoding.PEM)

    def connect(self, most: int, *, complete: bool = True) -> int:
        """Let a connector lease requests and, unless it dies, complete them; return how many it leased."""
        lease_id, rows = deliveries.lease(self.cloud, self.made.tenant_id, "connector", most)
        items = [item for item in (work_item(self.cloud, row) for row in rows) if item is not None]
        if complete and rows:
            deliveries.complete(self.cloud, "connector", lease_id, recrypt(items, lambda *_: self.key))
        return len(rows)


@dataclass
class Model:
    """The expected state by the rules: existing records, and profiles that reach the user."""

    records: dict[int, str] = field(default_factory=dict)
    reaches: set[tuple[str, IntendedPurpose]] = field(default_factory=set)

    def expected(self, world: World, platform: str) -> set[str]:
        """Return the thumbprints that a device should have: all encryption certificates, the latest signing certificate."""
        wanted: set[str] = set()
        for purpose in (ENCRYPTION, SIGNING):
            if (platform, purpose) not in self.reaches:
                continue
            fitting = [index for index in self.records if world.issued[index].purpose is purpose]
            if purpose is SIGNING:
                fitting = sorted(fitting, key=lambda index: world.opened[index].start)[-1:]
            wanted |= {world.opened[index].thumbprint for index in fitting}
        return wanted


class History(RuleBasedStateMachine):
    """One user with two phones, a PC and a work profile, and the events that Hypothesis chooses."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.world.clock.freeze(BEGIN)
        self.number = uuid.uuid4().int % 1000
        tenant = self.world.made.tenant_id
        self.upn = f"u{uuid.uuid4().hex}@pfxlab.example"
        self.user = add_user(self.world.cloud, tenant, self.upn, "canary-password")
        self.group = str(uuid.uuid4())
        self.world.cloud.directory.add_group(self.group, tenant, f"g {self.group}", to_text(self.world.clock.now()))
        self.world.cloud.directory.add_member(self.group, self.user)
        self.devices = {name: self._enroll(name) for name in DEVICES}
        self.profiles: dict[tuple[str, IntendedPurpose], str] = {}

    def _enroll(self, name: str) -> Phone | Computer | Agent:
        self.number += 1
        return self.world.enroll(DEVICES[name], self.user, self.number)

    @initialize(
        records=st.sets(st.integers(0, 3), min_size=1),
        units=st.sets(st.tuples(st.sampled_from(PLATFORMS), st.sampled_from([ENCRYPTION, SIGNING])), min_size=1),
        at_rest=st.booleans(),
        unassigned=st.sampled_from(["documented", "removed"]),
    )
    def begin(self, records: set[int], units: set[tuple[str, IntendedPurpose]], at_rest: bool, unassigned: str) -> None:
        """Begin with some records and assigned profiles."""
        cloud = self.world.cloud
        cloud.config = replace(cloud.config, switches=switches_with(cloud.config.switches, {"unassigned": unassigned}))
        self.leaves = ("windows",) if unassigned == "documented" else ()
        for index in sorted(records):
            self.import_or_update(index)
        for platform, purpose in sorted(units):
            self.assign(platform, purpose, "group")
        if at_rest:
            self.come_to_rest()

    @rule(index=st.integers(0, 3))
    def import_or_update(self, index: int) -> None:
        """Import a certificate, or change the padding of its existing record."""
        made, pfx = self.world.issued[index], self.world.opened[index]
        record = new_user_pfx_certificate(pfx, made.password, self.upn, made.purpose, self.world.to, made.padding)
        if index in self.model.records:
            self.world.graph("PATCH", f"{COLLECTION}/{self.model.records[index]}", record)
        else:
            self.model.records[index] = self.world.graph("POST", COLLECTION, record)["id"]

    @precondition(lambda self: self.model.records)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a record."""
        index = data.draw(st.sampled_from(sorted(self.model.records)))
        self.world.graph("DELETE", f"{COLLECTION}/{self.model.records.pop(index)}")

    @rule(
        platform=st.sampled_from(PLATFORMS),
        purpose=st.sampled_from([ENCRYPTION, SIGNING]),
        whom=st.sampled_from(["group", "group", "users", "excluded", "nobody"]),
    )
    def assign(self, platform: str, purpose: IntendedPurpose, whom: str) -> None:
        """Assign a profile, made on first use: to the user's group, to all, to all but the group, or to nobody."""
        unit = (platform, purpose)
        if unit not in self.profiles:
            body = {"@odata.type": TYPES[platform], "displayName": self.group, "intendedPurpose": purpose.name}
            self.profiles[unit] = self.world.graph("POST", PROFILES, body)["id"]
        kinds = {
            "group": ["groupAssignmentTarget"],
            "users": ["allLicensedUsersAssignmentTarget"],
            "excluded": ["allLicensedUsersAssignmentTarget", "exclusionGroupAssignmentTarget"],
            "nobody": [],
        }[whom]
        targets = [
            {"@odata.type": f"#microsoft.graph.{kind}", **({"groupId": self.group} if "roup" in kind else {})}
            for kind in kinds
        ]
        assignments = {"assignments": [{"target": one} for one in targets]}
        self.world.graph("POST", f"{PROFILES}/{self.profiles[unit]}/assign", assignments)
        self.model.reaches.discard(unit)
        if whom in ("group", "users"):
            self.model.reaches.add(unit)

    @precondition(lambda self: self.profiles)
    @rule(data=st.data())
    def drop_profile(self, data: st.DataObject) -> None:
        """Delete a profile, assigned as it is."""
        unit = data.draw(st.sampled_from(sorted(self.profiles)))
        self.world.graph("DELETE", f"{PROFILES}/{self.profiles.pop(unit)}")
        self.model.reaches.discard(unit)

    @rule(name=st.sampled_from(sorted(DEVICES)))
    def check_in(self, name: str) -> None:
        """A device checks in."""
        self.world.run(self.devices[name].check_in())

    @rule(name=st.sampled_from(sorted(DEVICES)), after=st.integers(0, 4))
    def check_in_breaks(self, name: str, after: int) -> None:
        """A device checks in, and the response to one of its messages is lost."""
        self.world.lost_after = after
        with suppress(SessionFailed):
            self.world.run(self.devices[name].check_in())
        self.world.lost_after = None

    @rule(name=st.sampled_from(["phone", "another phone"]), locked=st.booleans())
    def lock(self, name: str, locked: bool) -> None:
        """A phone is restarted and not unlocked, or it is unlocked."""
        phone = self.devices[name]
        assert isinstance(phone, Phone)
        phone.locked = locked

    @rule(most=st.integers(1, 10))
    def connector_works(self, most: int) -> None:
        """A connector leases some requests and completes them."""
        self.world.connect(most)

    @rule(most=st.integers(1, 10))
    def connector_dies(self, most: int) -> None:
        """A connector leases some requests and dies."""
        self.world.connect(most, complete=False)

    @rule(minutes=st.sampled_from([1, 5, 60, 8 * 60, 3 * 24 * 60]))
    def time_passes(self, minutes: int) -> None:
        """The clock moves on."""
        self.world.clock.advance(timedelta(minutes=minutes))

    @rule(name=st.sampled_from(sorted(DEVICES)), data=st.data())
    def user_removes(self, name: str, data: st.DataObject) -> None:
        """The user removes a certificate from a device by hand."""
        store = self.devices[name].store
        held = sorted(identity.source for identity in store.identities())
        if held:
            store.remove(data.draw(st.sampled_from(held)))

    @rule(name=st.sampled_from(sorted(DEVICES)))
    def wipe(self, name: str) -> None:
        """A device is wiped and enrolled again: empty, with another key."""
        device = self.world.enrolled(self.devices[name].identity)
        with self.world.cloud.store.atomic():
            deliveries.device_gone(self.world.cloud, device)
        self.devices[name] = self._enroll(name)

    @rule(name=st.sampled_from(sorted(DEVICES)))
    def renew(self, name: str) -> None:
        """A device gets a new key and certificate, valid from their first use; deliveries for the old key are not."""
        device, cloud = self.devices[name], self.world.cloud
        before = self.world.enrolled(device.identity)
        self.number += 1
        certificate, key = self.world.identity(before.id, self.number)
        enrollment.renew(cloud, before, certificate)
        device.enrolled = device.enrolled.with_identity(MdmIdentity(before.id, certificate, key))
        if not isinstance(device, Phone):
            device.csp.identity = device.identity

    @rule()
    def come_to_rest(self) -> None:
        """Phones are unlocked, devices check in and a connector works until nothing changes any more."""
        for device in self.devices.values():
            if isinstance(device, Phone):
                device.locked = False
        for _ in range(8):
            for device in self.devices.values():
                self.world.run(device.check_in())
            self.world.clock.advance(timedelta(minutes=5))
            while self.world.connect(100):
                pass

    def teardown(self) -> None:
        """Let everything work until nothing changes; then devices, deliveries and Graph match the model."""
        try:
            self.come_to_rest()
            for name, device in self.devices.items():
                self._judge(DEVICES[name], device)
        finally:
            self._leave()

    def _leave(self) -> None:
        """Leave nothing behind that reaches the next history's user."""
        for profile in self.profiles.values():
            self.world.graph("DELETE", f"{PROFILES}/{profile}")
        with self.world.cloud.store.atomic():
            for device in self.devices.values():
                deliveries.device_gone(self.world.cloud, self.world.enrolled(device.identity))

    def _judge(self, platform: str, device: Phone | Computer | Agent) -> None:
        held = {identity.thumbprint for identity in device.store.identities()}
        known = self.world.cloud.deliveries.of_device(device.identity.device_id)
        # What a profile has left behind may still be there, or its user may have removed it since.
        left = {d.thumbprint for d in known if d.state is State.LEFT}
        assert platform in self.leaves or not left
        expected = self.model.expected(self.world, platform)
        assert expected <= held <= expected | left, platform
        shown = {d.thumbprint for d in known if d.state is State.INSTALLED}
        assert shown == expected, platform
        ended = (State.INSTALLED, State.REMOVED, State.SUPERSEDED, State.LEFT)
        odd = {str(d.state): d.reason for d in known if d.state not in ended}
        assert odd == {}, platform
        told: set[str] = set()
        ids = {d.id for d in known}
        for (its, _), profile in self.profiles.items():
            if its == platform:
                path = f"{PROFILES}/{profile}/{TYPES[platform].removeprefix('#')}/managedDeviceCertificateStates"
                rows = self.world.graph("GET", path)["value"]
                told |= {
                    row["certificateThumbprint"].lower()
                    for row in rows
                    if row["certificateIssuanceState"] == "installed" and row["id"] in ids
                }
        assert told == expected, platform


@pytest.fixture
def world() -> Iterator[World]:
    """Return a world that all histories of a test share, each with its own user."""
    made = World()
    yield made
    made.close()


def test_devices_have_the_right_certificates_after_any_history(world: World, *, whole: bool) -> None:
    """After any history devices have the certificates that the rules require, and Graph shows the same."""
    history = type("History", (History,), {"world": world})
    run_state_machine_as_test(
        history,
        settings=settings(
            max_examples=500 if whole else EXAMPLES, stateful_step_count=14, deadline=None,
            suppress_health_check=list(HealthCheck), print_blob=True, report_multiple_bugs=False,
        ),
    )  # fmt: skip
