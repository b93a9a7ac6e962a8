"""A lab for tests: one server for the whole session, in a thread of its own, brought back to its beginning each time.

`pytest_plugin.py` makes fixtures of it; other test frameworks can use `LabSession` themselves. Every verb works from
ordinary and, awaited through `aio`, from async tests.
"""

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from pfxlab.device_sim.keys import KeyPool
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.config import Config, switches_with
from pfxlab.emulator.entra import grants
from pfxlab.emulator.faults.plan import Planned
from pfxlab.emulator.graph.dispatch import dispatch
from pfxlab.emulator.graph.request import Incoming
from pfxlab.emulator.journal.near_misses import near_misses
from pfxlab.emulator.lab.explain import Explanation
from pfxlab.emulator.lab.moments import read_duration, read_moment
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.control.driver import LabDriver
from pfxlab.scenarios.lab.key_cache import key_pool, lay_out
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.lab.ready_file import environment, ready, write_ready_file
from pfxlab.scenarios.lab.snapshot import Snapshot
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.mail.authority import CertificatePlan
from pfxlab.scenarios.mail.certificate import IssuedCertificate
from pfxlab.scenarios.scenario import steps
from pfxlab.scenarios.testing_values import Answer, Certificate, Finding

T = TypeVar("T")
_LOOKED_AT: Final = 1000


@dataclass(frozen=True)
class DeviceHandle:
    """One device of the lab."""

    lab: "TestLab" = field(repr=False)
    name: str

    def has(self, certificate: "Certificate | str") -> Finding:
        """Say whether the device holds a certificate, by itself or by name or thumbprint; and if not, why."""
        return self.lab.run(self.lab.has(self.name, certificate))

    def holds(self) -> list[str]:
        """Return the names, or thumbprints, of what the device holds."""
        return self.lab.run(self.lab.held_by(self.name))

    def check_in(self) -> int:
        """Let the device check in now; return how many messages it sent."""
        return self.lab.run(self.lab.world.check_in(self.name)).messages

    def lock(self, *, locked: bool = True) -> None:
        """Lock or unlock it."""
        self.lab.call(lambda: self.lab.world.lock(self.name, locked=locked))


class Journal:
    """The lab's journal: what happened, with the true reasons."""

    def __init__(self, lab: "TestLab") -> None:
        self._lab = lab

    @property
    def _journal(self) -> Any:
        return self._lab.world.lab.emulator.cloud.journal

    def find(self, **wanted: str) -> list[Entry]:
        """Return the entries since the test began; conditions as in the control API."""
        after = self._lab.world.began_at
        found: list[Entry] = self._lab.call(lambda: self._journal.entries(after=after, limit=100_000, **wanted))
        return found

    def count(self, **wanted: str) -> int:
        """Return how many entries there are."""
        return len(self.find(**wanted))

    def near_misses(self, **wanted: str) -> list[str]:
        """Return what nearly fits, and in what it differs, one sentence for each."""
        entries = self._lab.call(lambda: self._journal.entries(limit=_LOOKED_AT, newest=True))
        return [f"{miss.entry.event}: {dict(miss.differs)}" for miss in near_misses(entries, wanted)]

    def wait_for(self, seconds: float = 5.0, **wanted: str) -> Entry:
        """Return the first entry that fits, as soon as it is there.

        Raises:
            AssertionError: it did not come in so many real seconds; with what nearly fits.

        """
        deadline = threading.Event()
        for _ in range(max(1, int(seconds / 0.02))):
            found = self.find(**wanted)
            if found:
                return found[0]
            deadline.wait(0.02)
        near = "; ".join(self.near_misses(**wanted)) or "nothing"
        raise AssertionError(f"expected a journal entry with {wanted}, got none in {seconds} s; nearest: {near}")


class Graph:
    """Microsoft Graph of the lab, in process and without a socket, signed in as an application or a user."""

    def __init__(self, lab: "TestLab", form: Mapping[str, str]) -> None:
        self._lab, self._form = lab, dict(form)
        self._token = ""
        self._signed_in: datetime | None = None

    def as_user(self, upn: str) -> "Graph":
        """Return the same as a user of the lab sees it."""
        form = {"grant_type": "password", "username": upn, "password": self._lab.password_of(upn)}
        return Graph(self._lab, {**form, "client_id": self._lab.facts["public_application"]["client_id"]})

    def token(self) -> str:
        """Return an access token, got from the lab's Entra ID; a new one when the last has grown old."""
        cloud = self._lab.world.lab.emulator.cloud
        now, lifetime = cloud.clock.now(), cloud.config.switches.token_lifetime_seconds
        if self._signed_in is None or abs(now - self._signed_in) > timedelta(seconds=lifetime / 2):
            tenant = cloud.directory.tenant(self._lab.facts["tenant_id"])
            if tenant is None:
                raise LookupError("expected the lab's own tenant, got none")
            form = {"scope": "https://graph.microsoft.com/.default", **self._form}
            body = grants.token(cloud, grants.TokenRequest(tenant, form, self._lab.url, tenant["id"]))
            self._token, self._signed_in = str(body["access_token"]), now
        return self._token

    def request(
        self, method: str, path: str, json_body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer to a request; `path` begins with the version: `/beta/users?$top=1`."""
        return self._lab.call(lambda: self._dispatch(method, path, json_body, dict(headers or {})))

    def _dispatch(self, method: str, path: str, json_body: Any, headers: dict[str, str]) -> Answer:
        version, _, rest = path.lstrip("/").partition("/")
        place, _, query = rest.partition("?")
        sent = {"authorization": f"Bearer {self.token()}", "user-agent": "pfxlab tests"}
        sent |= {name.lower(): value for name, value in headers.items()}
        body = b""
        if json_body is not None:
            sent.setdefault("content-type", "application/json")
            body = json.dumps(json_body).encode()
        incoming = Incoming(method.upper(), self._lab.url, version.lower(), place, query, sent, body)
        answer = dispatch(self._lab.world.lab.emulator.cloud, incoming)
        got = {name.lower(): value for name, value in answer.headers.items()}
        if not answer.body:
            return Answer(answer.status, got, None)
        is_json = "json" in got.get("content-type", "")
        return Answer(answer.status, got, json.loads(answer.body) if is_json else answer.body.decode())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, json_body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a POST."""
        return self.request("POST", path, json_body, headers)

    def patch(self, path: str, json_body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a PATCH."""
        return self.request("PATCH", path, json_body, headers)

    def delete(self, path: str) -> Answer:
        """Return the answer to a DELETE."""
        return self.request("DELETE", path)


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
    """A whole lab in the hands of a test. Time stands still until it is told to pass."""

    __test__ = False

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self.world, self._loop, self.folder = world, loop, folder
        self.facts = ready(world.lab)
        self.journal = Journal(self)
        self.aio = Awaited(self)
        admin = self.facts["application"]
        self.graph = Graph(self, {"grant_type": "client_credentials", **admin})

    # How verbs reach the lab's own thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns that runs in the lab's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, work: Callable[[], T]) -> T:
        """Return what a function returns that runs in the lab's thread."""

        async def called() -> T:
            return work()

        return self.run(called())

    # Where tools find it

    @property
    def url(self) -> str:
        """Return the address of Graph, sign-in and all the rest: `https://localhost:port`."""
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
        return {**environment(self.facts), "PFXLAB_READY_FILE": str(ready_file)}

    def password_of(self, upn: str) -> str:
        """Return the password of a user of the lab."""
        return self.world.lab.password_of(upn)

    # What is in it

    def add_user(self, upn: str) -> str:
        """Add a user who is one of the mail users; return the name."""
        self.call(lambda: self.world.user(upn))
        return upn

    def add_group(self, name: str, members: Sequence[str] = ()) -> str:
        """Make a group of users; return its id."""
        return self.call(lambda: self.world.group(name, list(members)))

    def add_device(
        self, name: str = "phone", platform: str = "ios", user: str | None = None, os_version: str | None = None
    ) -> DeviceHandle:
        """Enrol a device of a user's, the lab's own unless named."""
        self.run(self.world.add_device(name, platform, user or self.user, os_version))
        return DeviceHandle(self, name)

    def device(self, name: str) -> DeviceHandle:
        """Return a device by its name.

        Raises:
            Unknown: there is none.

        """
        self.call(lambda: self.world.device(name))
        return DeviceHandle(self, name)

    def certificate(
        self,
        name: str = "mail",
        user: str | None = None,
        purpose: str = "smimeEncryption",
        *,
        padding: str = "oaepSha512",
        begins: datetime | None = None,
        days: int = 730,
        legacy: bool = True,
        chain: bool = False,
        password: str = "",
    ) -> Certificate:
        """Let the test CA issue a certificate; `legacy`: a PFX with 3DES, else AES. It is not imported by this."""
        plan = CertificatePlan(name, IntendedPurpose[purpose], PaddingScheme[padding], 1, days, legacy, chain, password)
        made: IssuedCertificate = self.call(lambda: self.world.certificate(name, user or self.user, plan, begins))
        issued = made.issued
        return Certificate(name, made.upn, made.thumbprint, issued.pfx, issued.password, issued.certificate)

    def import_certificate(self, certificate: "Certificate | str", **changes: Any) -> str:
        """Import a certificate as an administrator's tool does; return the record's id.

        Raises:
            AssertionError: it was refused, with the true reason.

        """
        name = certificate if isinstance(certificate, str) else certificate.name
        done = self.run(self.world.import_certificate(name, **changes))
        if done.record_id is None:
            raise AssertionError(f"expected {name} to be imported, got {done.rule}: {done.reason}")
        return done.record_id

    def profile(
        self,
        platform: str = "ios",
        purpose: str = "smimeEncryption",
        name: str | None = None,
        groups: Sequence[str] = ("Mail users",),
        excluded: Sequence[str] = (),
        **properties: Any,
    ) -> str:
        """Create a PKCS imported certificate profile and assign it; return its id."""
        shown = name or f"{platform} {purpose}"
        return self.run(self.world.profile(shown, platform, purpose, list(groups), list(excluded), properties))

    def assign(self, profile: str, groups: Sequence[str] = (), excluded: Sequence[str] = ()) -> None:
        """Assign a profile, by its name, to other groups; none takes it back."""
        self.run(self.world.assign(profile, list(groups), list(excluded)))

    def tell(self, *told: Mapping[str, Any]) -> list[str]:
        """Carry out steps of a scenario (docs/scenarios.md); return one sentence for each."""
        steps.check(list(told))
        return [self.run(steps.perform(self.world, step)) for step in told]

    async def has(self, device: str, certificate: "Certificate | str") -> Finding:
        """See DeviceHandle.has."""
        wanted = certificate if isinstance(certificate, str) else certificate.thumbprint
        known = self.world.certificates.get(wanted)
        thumbprint = (wanted if known is None else known.thumbprint).lower()
        store = self.world.device(device).store
        if any(one.thumbprint == thumbprint for one in store.identities()):
            return Finding(so=True, why=f"{device} holds {thumbprint}")
        return Finding(so=False, why=self._why(device, thumbprint))

    def _why(self, device: str, thumbprint: str) -> str:
        cloud, tenant = self.world.lab.emulator.cloud, self.facts["tenant_id"]
        device_id = self.world.device(device).identity.device_id
        record = cloud.devices.get(device_id)
        owner = None if record is None else cloud.directory.user(tenant, record.user_id)
        upn = self.user if owner is None else str(owner["user_principal_name"])
        told = self.world.explain_by_thumbprint(upn, device_id, thumbprint)
        broken = next((one.broken for one in told if one.broken is not None), None)
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
        """Put the clock; nothing happens in between."""
        at = read_moment(moment) if isinstance(moment, str) else read_moment(moment.isoformat())
        self.call(lambda: self.world.lab.clock.set(at))

    def advance(self, step: "timedelta | str") -> list[str]:
        """Let time pass; all that is scheduled in between happens, in order. Return who checked in."""
        span = read_duration(step) if isinstance(step, str) else step
        return [came.device for came in self.run(self.world.pass_time(span))]

    def settle(self) -> int:
        """Let everything happen that is due now, without time passing; return how many check-ins that took."""
        return self.run(self.world.settle())

    @contextlib.contextmanager
    def fault(self, kind: str, **settings: Any) -> Iterator[Callable[[], int]]:
        """Plan a fault (docs/faults.md) for the length of a `with` block; what it gives tells how often it struck."""
        block = self.world.fault(kind, **settings)
        struck = self.call(block.__enter__)
        try:
            yield struck
        finally:
            self.call(lambda: block.__exit__(None, None, None))

    @contextlib.contextmanager
    def switches(self, **values: Any) -> Iterator[None]:
        """Let switches of docs/divergences.md have other values within a `with` block."""
        cloud = self.world.lab.emulator.cloud
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
        """Bring the whole lab back to a state."""
        self.run(self.world.restore(state))

    def reset(self) -> None:
        """Bring the whole lab back to its beginning; takes a few milliseconds."""
        self.run(self.world.reset())
        self.call(self.world.forget)
        self.graph = Graph(self, {"grant_type": "client_credentials", **self.facts["application"]})

    def idle_faults(self) -> list[Planned]:
        """Return the faults that never struck: what they were meant for did not happen."""
        return self.call(self.world.idle_faults)


class LabSession:
    """One lab in a thread of its own, with a connector that works when told. Use it in a `with` block."""

    def __init__(self, seed: int = 7, at: datetime | None = None) -> None:
        self._seed, self._at = seed, at
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pfxlab", daemon=True)
        self._folder = tempfile.TemporaryDirectory(prefix="pfxlab-")

    def __enter__(self) -> TestLab:
        """Start it; with kept keys (scenarios/lab/key_cache.py) it is ready in a fraction of a second."""
        self._thread.start()
        try:
            return asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._end()
            raise

    async def _start(self) -> TestLab:
        folder = Path(self._folder.name)
        lay_out(folder)
        now = self._at or LabClock().now().replace(microsecond=0)
        lab = Lab(folder, replace(Config(), seed=self._seed), at=now, stepped=True)
        lab.new_key = key_pool()
        self._world = World(lab)
        lab.emulator.driver = LabDriver(self._world)
        await lab.start()
        await lab.start_connector()
        await lab.connectors_work()
        await self._world.begin_here()
        return TestLab(self._world, self._loop, folder)

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its folder."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    async def _stop(self) -> None:
        await self._world.close()
        await self._world.lab.stop()


__all__ = [
    "KEY_NAME",
    "Answer",
    "Certificate",
    "DeviceHandle",
    "Graph",
    "Journal",
    "KeyPool",
    "LabSession",
    "TestLab",
]
