"""Everything in a lab by name, and what happens to the lab as a whole: time, switches, snapshots.

Scenarios in YAML, the control API, the pytest plugin and `pfxlab replay` all work through here.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

from pfxlab.emulator.config import switches_with
from pfxlab.emulator.entra.token_checks import expire_tokens_of
from pfxlab.emulator.lab.explain import Explanation, explain
from pfxlab.emulator.lab.moments import within
from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.scenarios.lab import schedule
from pfxlab.scenarios.lab.faults import RunFaults
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.snapshots import snapshot
from pfxlab.scenarios.lab.snapshots.archive import KeptSnapshots
from pfxlab.scenarios.lab.tenant.administrator import AGENT, Administrator
from pfxlab.scenarios.lab.tenant.certificates import TenantCertificates
from pfxlab.scenarios.lab.tenant.connector_keys import ConnectorKeys
from pfxlab.scenarios.lab.tenant.devices import TenantDevices
from pfxlab.scenarios.lab.tenant.directory import TenantDirectory
from pfxlab.scenarios.lab.tenant.profiles import TenantProfiles
from pfxlab.scenarios.mail.certificate import IssuedCertificate


class World:
    """One lab with the names that a caller gave to groups, profiles, devices and certificates."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.administrator = Administrator(lab)
        self.keys = ConnectorKeys(lab)
        self.directory = TenantDirectory(lab)
        self.profiles = TenantProfiles(self.administrator, self.directory)
        self.devices = TenantDevices(lab, self.administrator, self.directory)
        self.certificates = TenantCertificates(lab, self.administrator, self.keys)
        self.faults = RunFaults(lab)
        self._baseline: snapshot.Snapshot | None = None
        self._requests = 0
        lab.cloud.journal.subscribe(self._count)
        self.kept = KeptSnapshots(lab.folder / "snapshots")

        self.parts: tuple[str, ...] = ()
        """Parts that were started beside the cloud: connector, devices."""

        self.asked: list[Mapping[str, Any]] = []
        """Changes requested through the control API, for a bundle."""

        self.driven_by_command = False
        """Whether the lab lives for one command, the only one that uses the control API."""

        self.began_at = 0
        """The last journal entry of the lab's start; what a tool does comes after."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["World"]:
        """Close the connection to Graph when the block ends."""
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection to Graph; the next call opens another."""
        await self.administrator.close()

    # Time and switches

    async def pass_time(
        self, step: timedelta, every: timedelta | None = None, *, expire_tokens: bool = False
    ) -> list[schedule.CheckIn]:
        """Let time pass; everything scheduled in between happens, in order. The clock stands still afterwards.

        `every`: devices check in once per this span, switched off in between, instead of by their schedule.
        `expire_tokens`: every access token that was issued so far is expired afterwards. Without it they stay valid,
        since clients go by their own clock.

        Raises:
            ValueError: a span is not positive, or the clock would leave its range of years.

        """
        if step < timedelta() or (every is not None and every <= timedelta()):
            raise ValueError(f"expected time to pass forward, got {step if every is None else min(step, every)}")
        within(self.lab.clock.now() + step)
        if every is not None:
            check_ins = await schedule.pass_time_seldom(self.lab, step, every)
        else:
            check_ins = await schedule.pass_time(self.lab, step)
        if expire_tokens:
            expire_tokens_of(self.lab.cloud)
        return check_ins

    async def settle(self) -> int:
        """Carry out everything that is due now; return the number of check-ins."""
        return await schedule.settle(self.lab)

    async def check_in(self, name: str) -> schedule.CheckIn:
        """Let a device check in now."""
        return await schedule.check_in(self.lab, self.devices.get(name))

    def set_switches(self, **values: Any) -> None:
        """Set switches of docs/divergences.md from now on.

        Raises:
            ValueError: an unknown switch, or a value it does not take.

        """
        cloud = self.lab.cloud
        cloud.set_switches(switches_with(cloud.config.switches, values), values)

    # Questions

    def explain(self, user: str, device: str | None = None, certificate: str | None = None) -> list[Explanation]:
        """Explain why certificates of a user have, or have not, arrived; device and certificate by name.

        Raises:
            Unknown: no such device or certificate.

        """
        thumbprint = None if certificate is None else self.certificates.get(certificate).thumbprint
        device_id = None if device is None else self.devices.get(device).identity.device_id
        return explain(self.lab.cloud, self.lab.operator.credentials.tenant_id, user, device_id, thumbprint)

    def holds(self, device: str) -> list[str]:
        """Return the names of the certificates on a device; the thumbprint of one without a name.

        Raises:
            Unknown: no such device.

        """
        names = {one.thumbprint: name for name, one in self.certificates.issued.items()}
        found = [one.thumbprint for one in self.devices.get(device).store.identities()]
        return sorted(names.get(thumbprint, thumbprint) for thumbprint in found)

    # Snapshots

    def names(self) -> snapshot.Names:
        """Return what names stand for, for a snapshot."""
        return snapshot.Names(dict(self.certificates.issued), dict(self.profiles.ids), dict(self.directory.groups))

    async def take(self) -> snapshot.Snapshot:
        """Return the state of the whole lab."""
        await self.lab.pushes.finish()
        if not self.lab.stepped:
            # What a connector is at work on belongs to no moment: it is waited for.
            await self.lab.connectors_work(seconds=5.0)
        return snapshot.take(self.lab, self.names())

    async def restore(self, state: snapshot.Snapshot) -> None:
        """Bring the whole lab back to a state.

        Raises:
            BadSnapshot: it is damaged; nothing was changed.

        """
        self.lab.pushes.cancel()
        await snapshot.restore(self.lab, state)
        kept = state.names.certificates
        self.certificates.issued = {
            name: one if isinstance(one, IssuedCertificate) else IssuedCertificate.of(one) for name, one in kept.items()
        }
        self.profiles.ids, self.directory.groups = dict(state.names.profiles), dict(state.names.groups)
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
            why = "the lab's data was too large to keep, or could not be read"
            raise BadSnapshot(f"expected a state to go back to, got none: {why}; take a snapshot")
        await self.restore(self._baseline)

    def requests(self) -> int:
        """Return the number of requests to Graph, without the lab's own; a reset does not lower it."""
        self.lab.cloud.journal.flush()
        return self._requests

    def _count(self, entry: Entry) -> None:
        if entry.event == "request" and entry.fields.get("client") != AGENT:
            self._requests += 1

    def forget(self) -> None:
        """Discard what a finished run left: removed faults, snapshots, noted requests to the control API."""
        self.faults.removed.clear()
        self.kept.clear()
        self.asked.clear()
