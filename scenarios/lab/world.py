"""The lab with names for what is in it, and one verb for everything that can be done to it.

Scenarios in YAML, the control API, the pytest plugin and `pfxlab replay` all speak through here.
"""

import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pfxlab.connector_sim.cmdlets import COLLECTION, new_user_pfx_certificate
from pfxlab.connector_sim.errors import ConnectorError, GraphRefused
from pfxlab.connector_sim.keys import padding
from pfxlab.connector_sim.pfx import Pfx
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.emulator.config import switches_with
from pfxlab.emulator.faults.plan import Fault, Planned, read_fault
from pfxlab.emulator.lab.explain import Explanation, explain
from pfxlab.emulator.lab.moments import within
from pfxlab.emulator.lab.seed import stable_id
from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.emulator.store.database import to_text
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios.lab import schedule, snapshot
from pfxlab.scenarios.lab.administrator import AGENT, Administrator
from pfxlab.scenarios.lab.chain import PROFILES
from pfxlab.scenarios.lab.connector_keys import ConnectorKeys
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.lab.names import Unknown, named
from pfxlab.scenarios.mail.authority import CertificatePlan, MailAuthority
from pfxlab.scenarios.mail.certificate import IssuedCertificate

_DEVICES: Final = "/beta/deviceManagement/managedDevices"


@dataclass(frozen=True)
class Imported:
    """What came of an import: the record's id, or by which rule and why it was refused (rule of the journal)."""

    record_id: str | None
    rule: str = ""
    reason: str = ""
    status: int = 201


class World:
    """Verbs over one lab. Names given to devices, certificates, profiles and groups are those of the caller."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.certificates: dict[str, IssuedCertificate] = {}
        self.profiles: dict[str, str] = {}
        self.groups: dict[str, str] = {"Mail users": lab.operator.credentials.group_id}
        self._authority: MailAuthority | None = None
        self.administrator = Administrator(lab)
        self.keys = ConnectorKeys(lab)
        self._baseline: snapshot.Snapshot | None = None
        self._requests = 0
        lab.cloud.journal.subscribe(self._count)
        self.kept = snapshot.KeptSnapshots(lab.folder / "snapshots")

        self.parts: tuple[str, ...] = ()
        """What the lab was started with beside the cloud: connector, devices."""

        self.asked: list[Mapping[str, Any]] = []
        """What the control API was asked to change, for a bundle."""

        self.driven_by_command = False
        """The lab lives for one command, which is all that asks the control API."""

        self.began_at = 0
        """The last journal entry of the lab's start; what a tool does comes after."""

        self.over: list[Planned] = []
        """Faults that were taken back, as they were then."""

    # Graph, as an administrator's tool sees it

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["World"]:
        """Close what the verbs opened when the block ends."""
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection to Graph; the next call opens another."""
        await self.administrator.close()

    async def graph(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of Graph's answer to the administrator's application.

        Raises:
            GraphRefused: an error answer.

        """
        return await (await self.administrator.client()).call(method, path, body)

    # People, devices, profiles

    def user(self, upn: str) -> str:
        """Make sure a user exists who can sign in and is one of the mail users; return the id."""
        self.lab.add_user(upn)
        found = self.lab.cloud.directory.user(self.lab.operator.credentials.tenant_id, upn)
        if found is None:
            raise Unknown(f"expected the user {upn!r} to be there, got none")
        return str(found["id"])

    def users(self, count: int, prefix: str = "bulk") -> list[str]:
        """Make many users who receive certificates and never sign in; return their names."""
        cloud, made = self.lab.cloud, self.lab.operator.credentials
        names = [f"{prefix}-{number:05}@{cloud.config.domain}" for number in range(1, count + 1)]
        plain = {"tenant_id": made.tenant_id, "directory_roles": (), "properties": {}}
        with cloud.store.atomic():
            for upn in names:
                row = {
                    **plain,
                    "id": stable_id(cloud, f"user/{upn}"),
                    "user_principal_name": upn,
                    "display_name": upn.partition("@")[0],
                    "mail": upn,
                    "created": to_text(cloud.clock.now()),
                }
                cloud.directory.add_user(row)
        return names

    def group(self, name: str, members: list[str]) -> str:
        """Make a group of users, or set its members; return the id."""
        cloud, made = self.lab.cloud, self.lab.operator.credentials
        group_id = stable_id(cloud, f"group/{cloud.config.domain}/{name}")
        ids = [self.user(upn) for upn in members]
        cloud.directory.add_group(group_id, made.tenant_id, name, to_text(cloud.clock.now()))
        for member_id in cloud.directory.members_of(group_id):
            cloud.directory.remove_member(group_id, member_id)
        for member_id in ids:
            cloud.directory.add_member(group_id, member_id)
        self.groups[name] = group_id
        return group_id

    async def add_device(self, name: str, platform: str, upn: str, os_version: str | None = None) -> Device:
        """Enrol a device of a user's under a name.

        Raises:
            EnrollmentRefused: the service's reason.

        """
        self.user(upn)
        return await self.lab.device(platform, upn, os_version, name=name)

    def device(self, name: str) -> Device:
        """Return a device by its name.

        Raises:
            Unknown: there is none.

        """
        device: Device = named(self.lab.devices, name, "device")
        return device

    async def device_action(self, name: str, action: str) -> None:
        """Ask for an action in Graph: syncDevice, wipe, retire; or `delete` the device's record.

        Raises:
            GraphRefused: Graph's error.

        """
        path = f"{_DEVICES}/{self.device(name).identity.device_id}"
        if action == "delete":
            await self.graph("DELETE", path)
        else:
            await self.graph("POST", f"{path}/{action}", {})

    async def profile(
        self,
        name: str,
        platform: str,
        purpose: str,
        groups: list[str],
        excluded: list[str],
        properties: Mapping[str, Any] | None = None,
    ) -> str:
        """Create an imported-PFX profile and assign it; return its id.

        Raises:
            GraphRefused: Graph's error.
            Unknown: no such group.

        """
        body = {"@odata.type": PLATFORMS[platform].profile_type, "displayName": name, "intendedPurpose": purpose}
        if platform == "windows":
            body["keyStorageProvider"] = "useTpmKspOtherwiseUseSoftwareKsp"
        targets = self._targets(groups, excluded)
        made = await self.graph("POST", PROFILES, {**body, **(properties or {})})
        self.profiles[name] = str(made["id"])
        await self._assign(name, targets)
        return self.profiles[name]

    async def assign(self, name: str, groups: list[str], excluded: list[str]) -> None:
        """Assign a profile to other groups; none takes it back.

        Raises:
            GraphRefused: Graph's error.
            Unknown: no such profile or group.

        """
        await self._assign(name, self._targets(groups, excluded))

    async def _assign(self, name: str, targets: list[dict[str, str]]) -> None:
        path = f"{PROFILES}/{named(self.profiles, name, 'profile')}/assign"
        await self.graph("POST", path, {"assignments": [{"target": target} for target in targets]})

    def _targets(self, groups: list[str], excluded: list[str]) -> list[dict[str, str]]:
        kinds = {"groupAssignmentTarget": groups, "exclusionGroupAssignmentTarget": excluded}
        return [
            {"@odata.type": f"#microsoft.graph.{kind}", "groupId": named(self.groups, name, "group")}
            for kind, names in kinds.items()
            for name in names
        ]

    # Certificates

    def authority(self) -> MailAuthority:
        """Return the test CA, made at the lab's present moment when first asked for."""
        if self._authority is None:
            self._authority = MailAuthority(self.lab.clock.now(), self.lab.new_key)
        return self._authority

    def certificate(
        self, name: str, upn: str, plan: CertificatePlan, begins: datetime | None = None
    ) -> IssuedCertificate:
        """Let the test CA issue a certificate to a user; `begins` wins over the plan's days before now."""
        starts = self.lab.clock.now() - timedelta(days=plan.starts_days_ago) if begins is None else begins
        issued = self.authority().issue_from(upn, plan, starts)
        self.certificates[name] = IssuedCertificate(issued, Pfx(issued.pfx, issued.certificate, int(plan.chain)), upn)
        return self.certificates[name]

    def made(self, name: str) -> IssuedCertificate:
        """Return a certificate by its name.

        Raises:
            Unknown: there is none.

        """
        issued: IssuedCertificate = named(self.certificates, name, "certificate")
        return issued

    def record(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return the record to import a certificate with; `changes` may set upn, purpose, padding, key, raw_password.

        `raw_password`: take the password's UTF-8 bytes whatever they are, as tools do that do not look.

        Raises:
            ValueError: the password is not ASCII, or too long.
            PaddingUnsupported: a padding that connectors do not process.

        """
        made = self.made(name)
        scheme = PaddingScheme[changes.get("padding", made.issued.padding.name)]
        purpose = IntendedPurpose[changes.get("purpose", made.issued.purpose.name)]
        to, upn = self.keys.public(changes.get("key", KEY_NAME)), changes.get("upn", made.upn)
        if not changes.get("raw_password"):
            return new_user_pfx_certificate(made.pfx, made.issued.password, upn, purpose, to, scheme)
        record = new_user_pfx_certificate(made.pfx, "placeholder", upn, purpose, to, scheme)
        encrypted = padding.encrypt(to.key, made.issued.password.encode(), scheme)
        return {**record, "encryptedPfxPassword": base64.b64encode(encrypted).decode("ascii")}

    async def import_certificate(self, name: str, **changes: Any) -> Imported:
        """Import a certificate as an administrator's tool does, and return what came of it."""
        self.made(name)
        try:
            record = self.record(name, **changes)
        except ConnectorError as error:
            return Imported(None, error.code, str(error), 0)
        except ValueError as error:
            return Imported(None, "PasswordUnusable", str(error), 0)
        journal = self.lab.cloud.journal
        before = journal.last()
        try:
            entity = await self.graph("POST", COLLECTION, record)
        except GraphRefused as error:
            rule, reason = self._refusal_since(before)
            return Imported(None, rule or "NoAnswer", reason or str(error), error.status)
        return Imported(str(entity["id"]))

    def _refusal_since(self, before: int) -> tuple[str, str]:
        journal = self.lab.cloud.journal
        found = journal.entries(after=before, outcome="refused", party="graph", method="POST", newest=True, limit=1)
        return ("", "") if not found else (str(found[0].fields.get("rule", "")), found[0].reason or "")

    async def records(self, name: str) -> list[dict[str, Any]]:
        """Return the records that Graph has of a certificate."""
        made = self.made(name)
        return await (await self.administrator.client()).get_user_pfx_certificates(made.upn, made.thumbprint)

    async def delete_record(self, name: str) -> int:
        """Delete a certificate's records in Graph; return how many there were."""
        found = await self.records(name)
        for record in found:
            await (await self.administrator.client()).remove_user_pfx_certificate(record["id"])
        return len(found)

    # Time, faults, switches

    async def pass_time(self, step: timedelta, every: timedelta | None = None) -> list[schedule.CheckIn]:
        """Let time pass; everything that is scheduled in between happens, in order. The clock stands still afterwards.

        `every`: devices are switched off but for one check-in in so much time, in place of their schedule.

        Raises:
            ValueError: the clock would leave the years it may stand in.

        """
        if step < timedelta() or (every is not None and every <= timedelta()):
            raise ValueError(f"expected time to pass forward, got {step if every is None else min(step, every)}")
        within(self.lab.clock.now() + step)
        if every is not None:
            return await schedule.pass_time_seldom(self.lab, step, every)
        return await schedule.pass_time(self.lab, step)

    def left(self) -> int:
        """Return how many deliveries wait for a connector that does not take them."""
        return self.lab.cloud.deliveries.count(self.lab.operator.credentials.tenant_id, State.REQUESTED, State.LEASED)

    async def settle(self) -> int:
        """Let everything happen that is due now; return how many check-ins that took."""
        return await schedule.settle(self.lab)

    async def check_in(self, name: str) -> schedule.CheckIn:
        """Let a device check in now."""
        return await schedule.check_in(self.lab, self.device(name))

    def add_fault(self, kind: str, **settings: Any) -> Planned:
        """Plan a fault from now on.

        Raises:
            BadFault: it cannot be.

        """
        return self.plan_fault(read_fault({"kind": kind, **settings}))

    def plan_fault(self, fault: Fault) -> Planned:
        """Plan a fault from now on, and note it in the journal."""
        cloud = self.lab.cloud
        planned = cloud.faults.add(fault)
        cloud.journal.record("lab", "fault planned", fault=planned.id, kind=fault.kind)
        if fault.kind == "offline":
            for connector in self.lab.connectors():
                connector.interrupt()
        return planned

    @contextlib.contextmanager
    def fault(self, kind: str, **settings: Any) -> Iterator[Callable[[], int]]:
        """Plan a fault for the length of a `with` block; what it gives tells how often the fault has struck.

        Raises:
            BadFault: it cannot be.

        """
        faults = self.lab.cloud.faults
        last = self.add_fault(kind, **settings)

        def present() -> Planned | None:
            found = faults.get(last.id)
            return found if found is not None and found.serial == last.serial else None

        def struck() -> int:
            return (present() or last).struck

        try:
            yield struck
        finally:
            # After a restore within the block another fault may have its name.
            last = present() or last
            if present() is not None:
                faults.remove(last.id)
            self.over.append(last)

    def clear_faults(self) -> list[Planned]:
        """Take every fault back; return what had become of them."""
        faults = self.lab.cloud.faults
        ended = faults.all()
        self.over += ended
        faults.clear()
        return ended

    def idle_faults(self) -> list[Planned]:
        """Return the faults of this world that never struck: what they were meant for did not happen."""
        return [one for one in (*self.over, *self.lab.cloud.faults.all()) if not one.struck]

    def lock(self, name: str, *, locked: bool) -> None:
        """Lock or unlock a device: an Apple device's passcode, a PC's user session, a work profile."""
        device = self.device(name)
        if isinstance(device, AppleDevice):
            device.locked = locked
        elif isinstance(device, AndroidDevice):
            device.owner.work_profile_paused = locked
        else:
            device.user_active = not locked

    def set_switches(self, **values: Any) -> None:
        """Set switches of docs/divergences.md from now on.

        Raises:
            ValueError: an unknown switch, or a value it does not take.

        """
        cloud = self.lab.cloud
        cloud.set_switches(switches_with(cloud.config.switches, values), values)

    # Questions

    def explain(self, user: str, device: str | None = None, certificate: str | None = None) -> list[Explanation]:
        """Say why certificates of a user have, or have not, arrived; names as in this world."""
        thumbprint = None if certificate is None else self.made(certificate).thumbprint
        device_id = None if device is None else self.device(device).identity.device_id
        return explain(self.lab.cloud, self.lab.operator.credentials.tenant_id, user, device_id, thumbprint)

    def explain_by_thumbprint(self, user: str, device_id: str, thumbprint: str) -> list[Explanation]:
        """Say the same of a certificate that nobody gave a name."""
        tenant = self.lab.operator.credentials.tenant_id
        return explain(self.lab.cloud, tenant, user, device_id, thumbprint)

    def holds(self, device: str) -> list[str]:
        """Return the names of the certificates a device holds; a thumbprint where nobody gave one."""
        names = {made.thumbprint: name for name, made in self.certificates.items()}
        found = [one.thumbprint for one in self.device(device).store.identities()]
        return sorted(names.get(thumbprint, thumbprint) for thumbprint in found)

    # Snapshots

    def names(self) -> snapshot.Names:
        """Return what names stand for, for a snapshot."""
        return snapshot.Names(dict(self.certificates), dict(self.profiles), dict(self.groups))

    async def take(self) -> snapshot.Snapshot:
        """Return the state of the whole lab."""
        await self.lab.finish_pushes()
        if not self.lab.stepped:
            # What a connector is at work on belongs to no moment: it is waited for.
            await self.lab.connectors_work(seconds=5.0)
        return snapshot.take(self.lab, self.names())

    async def restore(self, state: snapshot.Snapshot) -> None:
        """Bring the whole lab back to a state.

        Raises:
            BadSnapshot: it is damaged; nothing was changed.

        """
        self.lab.forget_pushes()
        await snapshot.restore(self.lab, state)
        kept = state.names.certificates
        self.certificates = {
            name: one if isinstance(one, IssuedCertificate) else IssuedCertificate.of(one) for name, one in kept.items()
        }
        self.profiles, self.groups = dict(state.names.profiles), dict(state.names.groups)
        self.keys.forget()
        self.lab.installed.clear()
        await self.close()
        self.administrator.use_own_hosts()

    async def begin_here(self) -> None:
        """Let `reset` lead back to the present state."""
        self._baseline = await self.take()
        self.began_at = self.lab.cloud.journal.last()

    async def reset(self) -> None:
        """Bring the lab back to where `begin_here` was called."""
        if self._baseline is None:
            text = "expected a state to go back to, got none: the lab's data was too large to keep; take a snapshot"
            raise BadSnapshot(text)
        await self.restore(self._baseline)

    def requests(self) -> int:
        """Return how many requests to Graph there have been, but for this world's own; a reset does not lower it."""
        self.lab.cloud.journal.flush()
        return self._requests

    def _count(self, entry: Entry) -> None:
        if entry.event == "request" and entry.fields.get("client") != AGENT:
            self._requests += 1

    def forget(self) -> None:
        """Forget what was noted about a run that is over: faults taken back, snapshots, what was asked."""
        self.over.clear()
        self.kept.clear()
        self.asked.clear()
