"""A whole lab for a test. Every method works from ordinary tests and, awaited through `aio`, from async tests.

Methods that carry out a verb (emulator/lab/verbs.py) have its arguments and its docs; `do` carries out any verb.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pfxlab.emulator.config import switches_with
from pfxlab.emulator.entra.principals.users import SignInState
from pfxlab.emulator.faults.plan import Planned
from pfxlab.emulator.lab import verbs
from pfxlab.emulator.lab.explain import Explanation, explain
from pfxlab.emulator.lab.moments import read_duration, read_moment
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.lab.ready_file import environment, ready, write_ready_file
from pfxlab.scenarios.lab.snapshots.snapshot import Snapshot
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.mail.authority import CertificatePlan
from pfxlab.scenarios.mail.certificate import IssuedCertificate
from pfxlab.scenarios.scenario import steps
from pfxlab.scenarios.testing.documented import verb
from pfxlab.scenarios.testing.graph import Graph
from pfxlab.scenarios.testing.journal import Journal
from pfxlab.scenarios.testing.values import Certificate, Finding

T = TypeVar("T")
PFX_ENCRYPTIONS = {"3des": True, "aes": False}


@dataclass(frozen=True)
class DeviceHandle:
    """One device of the lab."""

    lab: "TestLab" = field(repr=False)
    name: str

    def has(self, certificate: "Certificate | str") -> Finding:
        """Say whether the device holds a certificate, given itself, its name or its thumbprint; and if not, why."""
        return self.lab.run(self.lab.has(self.name, certificate))

    def holds(self) -> list[str]:
        """Return the names, or thumbprints, of the certificates that the device holds."""
        return self.lab.run(self.lab.held_by(self.name))

    def check_in(self) -> int:
        """Let the device check in now; return how many messages it sent."""
        return self.lab.run(self.lab.world.check_in(self.name)).messages

    @verb("lock", given=("device",))
    def lock(self, *, locked: bool = True) -> None:
        """Locked means an Apple device's passcode, a PC without its user, a paused work profile."""
        self.lab.call(lambda: self.lab.world.devices.lock(self.name, locked=locked))


class Awaited:
    """Every verb of a `TestLab` as a coroutine: `await lab.aio.advance("1d")`. It runs beside the test's own loop."""

    def __init__(self, lab: "TestLab") -> None:
        self._lab = lab

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return a verb."""
        verb = getattr(self._lab, name)

        async def awaited(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(verb, *arguments, **named)

        return awaited


class TestLab:
    """A whole lab for a test. Its clock is frozen; `advance` lets time pass."""

    __test__ = False

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self.world, self._loop, self.folder = world, loop, folder
        self.facts = ready(world.lab)
        self.journal = Journal(world, self.call)
        self.aio = Awaited(self)
        self.graph = self._graph()

    def _graph(self) -> Graph:
        form = {"grant_type": "client_credentials", **self.facts["application"]}
        return Graph(self.world, self.call, self.facts, form)

    # How verbs reach the lab's own thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the lab's thread; return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, work: Callable[[], T]) -> T:
        """Call a function in the lab's thread; return its result."""

        async def called() -> T:
            return work()

        return self.run(called())

    # Addresses and credentials for tools

    @property
    def url(self) -> str:
        """Return the address of Graph, sign-in and everything else: `https://localhost:port`."""
        return self.world.lab.emulator.origin

    @property
    def user(self) -> str:
        """Return the user that every lab has."""
        return str(self.facts["mail_user"]["upn"])

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that point a tool at the lab, as `pfxlab exec` sets them."""
        ready_file = self.folder / "operator" / "ready.json"
        if not ready_file.exists():
            write_ready_file(ready_file, self.facts)
        return environment(self.facts, ready_file)

    def password_of(self, upn: str) -> str:
        """Return the password of a user of the lab."""
        return self.world.lab.password_of(upn)

    # What is in the lab

    @verb("user")
    def add_user(
        self,
        upn: str,
        sign_in: SignInState | None = None,
        *,
        licence: bool | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the name."""
        self.call(lambda: self.world.directory.user(upn, sign_in, licence=licence, properties=properties))
        return upn

    @verb("group")
    def add_group(self, name: str, members: Sequence[str] = ()) -> str:
        """Return its id."""
        return self.call(lambda: self.world.directory.group(name, list(members)))

    @verb("device")
    def add_device(
        self, name: str = "phone", platform: str = "ios", user: str | None = None, os_version: str | None = None
    ) -> DeviceHandle:
        """Its user is the lab's own unless another is given."""
        self.run(self.world.devices.enroll(name, platform, user or self.user, os_version))
        return DeviceHandle(self, name)

    def device(self, name: str) -> DeviceHandle:
        """Return a device by its name.

        Raises:
            Unknown: there is no device with that name.

        """
        self.call(lambda: self.world.devices.get(name))
        return DeviceHandle(self, name)

    @verb("certificate")
    def certificate(
        self,
        name: str = "mail",
        user: str | None = None,
        purpose: str = "smimeEncryption",
        *,
        padding: str = "oaepSha512",
        begins: "datetime | str | None" = None,
        lasts: "timedelta | str" = "730d",
        pfx: str = "3des",
        chain: bool = False,
        password: str = "",
    ) -> Certificate:
        """It is not imported yet. Its user is the lab's own unless another is given; by default it began a day ago."""
        days = (read_duration(lasts) if isinstance(lasts, str) else lasts).days
        starts = read_moment(begins) if isinstance(begins, str) else begins
        scheme, legacy = PaddingScheme[padding], PFX_ENCRYPTIONS[pfx]
        plan = CertificatePlan(name, IntendedPurpose[purpose], scheme, 1, days, legacy, chain, password)
        made: IssuedCertificate = self.call(
            lambda: self.world.certificates.issue(name, user or self.user, plan, starts)
        )
        issued = made.issued
        return Certificate(name, made.upn, made.thumbprint, issued.pfx, issued.password, issued.certificate)

    @verb("import")
    def import_certificate(self, certificate: "Certificate | str", **changes: Any) -> str:
        """Return the record's id, or an empty text if the refusal that `refused` names was expected.

        Raises:
            AssertionError: it was refused, with the true reason; or it was not refused as `refused` says.
            ValueError: an unknown argument.

        """
        name = certificate if isinstance(certificate, str) else certificate.name
        verbs.check("import", {"certificate": name, **changes})
        refused = changes.pop("refused", None)
        done = self.run(self.world.certificates.import_named(name, **changes))
        if refused is not None:
            if done.rule != refused:
                raise AssertionError(f"expected a refusal of {name} by {refused}, got {done.rule or 'an import'}")
            return ""
        if done.record_id is None:
            raise AssertionError(f"expected {name} to be imported, got {done.rule}: {done.reason}")
        return done.record_id

    @verb("profile")
    def profile(
        self,
        platform: str = "ios",
        purpose: str = "smimeEncryption",
        name: str | None = None,
        groups: Sequence[str] = ("Mail users",),
        excluded: Sequence[str] = (),
        **properties: Any,
    ) -> str:
        """`properties` become the `settings`. Return its id."""
        shown = name or f"{platform} {purpose}"
        return self.run(self.world.profiles.create(shown, platform, purpose, list(groups), list(excluded), properties))

    @verb("assign")
    def assign(self, profile: str, groups: Sequence[str] = (), excluded: Sequence[str] = ()) -> None:
        """Profile and groups are given by name."""
        self.run(self.world.profiles.assign(profile, list(groups), list(excluded)))

    def do(self, name: str, given: Any = None, /, **arguments: Any) -> str:
        """Carry out a verb as a step of a scenario does (docs/scenarios.md); return what happened in a sentence.

        `lab.do("check_in", "phone")`, `lab.do("lock", device="phone", locked=True)`.

        Raises:
            VerbFailed: it failed, or an expectation was not met.
            ValueError: an unknown verb, or arguments that it does not take.

        """
        wanted = arguments or given
        verbs.check(name, wanted)
        return self.run(steps.perform(self.world, {name: wanted}))

    async def has(self, device: str, certificate: "Certificate | str") -> Finding:
        """See DeviceHandle.has."""
        wanted = certificate if isinstance(certificate, str) else certificate.thumbprint
        known = self.world.certificates.issued.get(wanted)
        thumbprint = (wanted if known is None else known.thumbprint).lower()
        store = self.world.devices.get(device).store
        if any(one.thumbprint == thumbprint for one in store.identities()):
            return Finding(so=True, why=f"{device} holds {thumbprint}")
        return Finding(so=False, why=self._why(device, thumbprint))

    def _why(self, device: str, thumbprint: str) -> str:
        cloud, tenant = self.world.lab.cloud, self.facts["tenant_id"]
        device_id = self.world.devices.get(device).identity.device_id
        record = cloud.devices.get(device_id)
        owner = None if record is None else cloud.directory.user(tenant, record.user_id)
        upn = self.user if owner is None else str(owner["user_principal_name"])
        explanations = explain(cloud, tenant, upn, device_id, thumbprint)
        broken = next((one.broken for one in explanations if one.broken is not None), None)
        if broken is None:
            return f"{device} has lost {thumbprint}"
        return f"{broken.code}: {broken.remedy} ({broken.evidence})"

    async def held_by(self, device: str) -> list[str]:
        """See DeviceHandle.holds."""
        return self.world.holds(device)

    # Time, faults, switches, state

    @property
    def now(self) -> datetime:
        """Return the lab's time."""
        return self.world.lab.clock.now()

    def set_clock(self, moment: "datetime | str") -> None:
        """Set the clock; nothing happens in between."""
        at = read_moment(moment) if isinstance(moment, str) else read_moment(moment.isoformat())
        self.call(lambda: self.world.lab.clock.set(at))

    @verb("pass")
    def advance(
        self,
        time: "timedelta | str",
        check_in_every: "timedelta | str | None" = None,
        *,
        expire_tokens: bool = False,
    ) -> list[str]:
        """Return the names of the devices that checked in."""
        span = read_duration(time) if isinstance(time, str) else time
        every = read_duration(check_in_every) if isinstance(check_in_every, str) else check_in_every
        return [came.device for came in self.run(self.world.pass_time(span, every, expire_tokens=expire_tokens))]

    @verb("settle")
    def settle(self) -> int:
        """Return how many check-ins that took."""
        return self.run(self.world.settle())

    @verb("fault")
    @contextlib.contextmanager
    def fault(self, kind: str, **settings: Any) -> Iterator[Callable[[], int]]:
        """It lasts for a `with` block, which yields a function that returns how often the fault struck."""
        block = self.world.faults.during(kind, **settings)
        struck = self.call(block.__enter__)
        try:
            yield struck
        finally:
            self.call(lambda: block.__exit__(None, None, None))

    @verb("switches")
    @contextlib.contextmanager
    def switches(self, **values: Any) -> Iterator[None]:
        """They keep these values for a `with` block."""
        cloud = self.world.lab.cloud
        before = cloud.config.switches
        self.call(lambda: self.world.set_switches(**values))
        try:
            yield
        finally:
            changed = {name: getattr(before, name) for name in values}
            self.call(lambda: cloud.set_switches(switches_with(cloud.config.switches, changed), changed))

    def explain(self, user: str | None = None) -> list[Explanation]:
        """Say why certificates of a user have, or have not, arrived."""
        return self.call(lambda: self.world.explain(user or self.user))

    def snapshot(self) -> Snapshot:
        """Return the state of the whole lab."""
        return self.run(self.world.take())

    def restore(self, state: Snapshot) -> None:
        """Restore the whole lab to a state."""
        self.run(self.world.restore(state))

    def reset(self) -> None:
        """Reset the whole lab to its initial state; takes a few milliseconds."""
        self.run(self.world.reset())
        self.call(self.world.forget)
        self.graph = self._graph()

    def idle_faults(self) -> list[Planned]:
        """Return the faults that never struck, because no request or check-in matched them."""
        return self.call(self.world.faults.idle)
