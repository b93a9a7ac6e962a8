"""A process beside a load generator for CPU-bound work: RSA, CMS, TLS of devices.

Locust's users share one event loop of greenlets, where a tenth of a second of RSA would delay all of them. They send
a line over a Unix socket for each job instead, and get the measures back as JSON.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

from pfxlab.connector_sim import identity
from pfxlab.connector_sim.errors import ServiceRefused
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.recrypt import recrypt
from pfxlab.connector_sim.service import post
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.errors import EnrollmentRefused, SessionFailed
from pfxlab.device_sim.fleet import Fleet, Member
from pfxlab.device_sim.keys import KeyPool
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire import jsontext
from pfxlab.scenarios.load.drive.kit import Kit
from pfxlab.scenarios.load.judge.measured import PATH, STAGE
from pfxlab.scenarios.parties.fleet import FleetUsers, open_fleet
from pfxlab.scenarios.parties.hardware import hardware_of

_ROUNDS: Final = 40
_PAUSE: Final = 0.25
"""How often a new device checks in until its certificates are installed, and the seconds between check-ins."""

_LEASE_WAIT: Final = 5
_TOKENS_LAST: Final = 2400.0
"""Seconds after which users' tokens, which last an hour, are fetched again."""

Measure = dict[str, Any]
Job = Callable[[], Awaitable[list[Measure]]]


class JobFailed(Exception):
    """The target did not do its part. The text says what failed; `name` is the kind of request."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name


_REFUSALS: Final = (ServiceRefused, SessionFailed, EnrollmentRefused, contract.ContractError, OSError)
"""Errors of a target that fails a request."""


def measure(kind: str, name: str, seconds: float, units: int = 0) -> Measure:
    """Return one measure as it is sent to the load generator."""
    return {"kind": kind, "name": name, "ms": seconds * 1000, "units": units}


class ConnectorCrew:
    """Leases, re-encrypts and completes as a connector, or re-encrypts prepared batches in memory."""

    def __init__(self, kit: Kit, number: int) -> None:
        self._kit, self._batch = kit, kit.plan.batch
        self._providers = Providers([SoftwareKsp(kit.keys)])
        self._batches: deque[list[contract.WorkItem]] = deque()
        self._session: aiohttp.ClientSession | None = None
        self._number = number
        self._core = ThreadPoolExecutor(1)

    async def start(self) -> None:
        """Load the prepared requests, or open the connection to the target.

        Raises:
            JobFailed: the kit has no connector for this load generator.

        """
        if self._kit.plan.path == "crypto":
            items = contract.read_work(self._kit.work.read_bytes()).items
            self._batches.extend(items[at : at + self._batch] for at in range(0, len(items), self._batch))
            return
        who = identity.find(self._kit.connectors / str(self._number))
        if who is None:
            raise JobFailed(f"expected the kit to hold a connector for load generator {self._number}, got none")
        self._tls = who.tls(self._kit.ca_file)
        self._session = aiohttp.ClientSession(self._kit.url)

    async def recrypt(self) -> list[Measure]:
        """Re-encrypt a prepared batch."""
        self._batches.rotate(-1)
        begin = time.perf_counter()
        results = recrypt(self._batches[0], self._providers.open)
        _all_recrypted(results)
        return [measure(PATH, "re-encrypt", time.perf_counter() - begin, len(results))]

    def _recrypt(self, items: list[contract.WorkItem]) -> tuple[list[contract.Result], float]:
        """Return results, and when this began. It runs in a thread, so that the event loop can read responses."""
        began = time.perf_counter()
        return recrypt(items, self._providers.open), began

    async def _post(self, path: str, data: bytes) -> bytes:
        if self._session is None:
            raise JobFailed("expected the crew to be started, it was not")
        return await post(self._session, path, data, self._tls, None)

    async def deliver(self) -> list[Measure]:
        """Lease a batch, re-encrypt it, complete it."""
        marks = [time.perf_counter()]
        body = jsontext.encode({"max": self._batch, "waitSeconds": _LEASE_WAIT})
        work = contract.read_work(await self._post(contract.LEASE_PATH, body))
        if work.lease_id is None:
            raise JobFailed("expected work in the queue, got none")
        marks.append(time.perf_counter())
        results, began = await asyncio.get_running_loop().run_in_executor(self._core, self._recrypt, work.items)
        _all_recrypted(results)
        marks += [began, time.perf_counter()]
        answer = await self._post(contract.COMPLETE_PATH, contract.write_completion(work.lease_id, results))
        accepted = sum(one["outcome"] == "accepted" for one in jsontext.decode(answer)["results"])
        marks.append(time.perf_counter())
        if accepted < len(results):
            raise JobFailed(f"expected {len(results)} results to be accepted, got {accepted}")
        stages = zip(("lease", "wait for a core", "re-encrypt", "complete"), marks, marks[1:], strict=False)
        return [
            measure(PATH, "deliver", marks[-1] - marks[0], accepted),
            *(measure(STAGE, name, end - begin) for name, begin, end in stages),
        ]


def _all_recrypted(results: list[contract.Result]) -> None:
    refused = next((one for one in results if isinstance(one, contract.NotRecrypted)), None)
    if refused is not None:
        raise JobFailed(f"expected every password to be re-encrypted, got {refused.code}")


class DeviceCrew:
    """Runs devices: this crew's share of those that the kit enrolled, or new ones."""

    def __init__(self, kit: Kit, number: int) -> None:
        self._kit, self._number = kit, number
        self._fleet: Fleet
        self._enrolled = 0
        weights = [platform for platform, weight in kit.plan.platforms.items() for _ in range(weight)]
        self._platforms = deque(weights)

    async def start(self) -> None:
        """Open the devices before anything is measured.

        Raises:
            JobFailed: there are fewer devices than load generators.

        """
        facts, plan = self._kit.facts(), self._kit.plan
        self._fleet = await open_fleet(self._kit.fleet, facts, KeyPool(self._kit.keys / "devices.pem", 32))
        mine = self._fleet.members()[self._number :: plan.processes]
        self._devices: deque[tuple[Member, Device]] = deque((member, self._fleet.open(member)) for member in mine)
        self._tokens: dict[str, str] = self._kit.tokens()
        self._tokens_until = time.monotonic() + _TOKENS_LAST
        self._signing_in = asyncio.Lock()
        if plan.path == "checkin" and not self._devices:
            raise JobFailed(f"expected at least {plan.processes} devices, one for each load generator")

    async def check_in(self) -> list[Measure]:
        """Let the device that has waited longest check in."""
        if not self._devices:
            raise JobFailed("expected more devices than simulated users; raise `devices` in the plan")
        member, device = self._devices.popleft()
        try:
            held, begin = len(device.store.identities()), time.perf_counter()
            await device.check_in()
            took = time.perf_counter() - begin
            installed = len(device.store.identities()) - held
            # A check-in that installs something costs more.
            kind = "delivery" if installed else "check-in"
            return [measure(PATH, f"{kind} {member.platform}", took, 1)]
        except _REFUSALS as error:
            raise JobFailed(_text(error), f"check-in {member.platform}") from None
        finally:
            self._devices.append((member, device))

    async def enroll(self) -> list[Measure]:
        """Enrol a new device and let it check in until its certificates are installed."""
        number, self._enrolled = self._enrolled, self._enrolled + 1
        self._platforms.rotate(-1)
        platform, names = self._platforms[0], list(self._tokens)
        upn = names[number % len(names)]
        name = f"wave-{self._number}-{number:06}"
        hardware = hardware_of(platform, upn, self._kit.plan.seed, name)
        kind, tokens = f"enroll {platform}", await self._users_tokens()
        begin = time.perf_counter()
        done = await self._fleet.enroll([(Member(name, platform, upn), hardware)], tokens)
        took = time.perf_counter() - begin
        if not done.done:
            raise JobFailed(next(iter(done.outcomes)), kind)
        device = self._fleet.open(Member(name, platform, upn))
        for _ in range(_ROUNDS):
            try:
                await device.check_in()
            except _REFUSALS as error:
                raise JobFailed(_text(error), kind) from None
            if len(device.store.identities()) >= self._kit.plan.certificates:
                arrived = measure(STAGE, f"until installed {platform}", time.perf_counter() - begin)
                return [measure(PATH, f"enroll {platform}", took, 1), arrived]
            await asyncio.sleep(_PAUSE)
        raise JobFailed(f"expected {self._kit.plan.certificates} certificates to arrive, they did not", kind)

    async def _users_tokens(self) -> dict[str, str]:
        """Return the users' tokens, fetched again before they expire."""
        async with self._signing_in:
            if time.monotonic() >= self._tokens_until:
                users = FleetUsers(self._kit.folder)
                self._tokens = await users.tokens(self._kit.facts(), list(self._tokens))
                self._tokens_until = time.monotonic() + _TOKENS_LAST
        return self._tokens


def _text(error: Exception) -> str:
    return str(error)[:300] or type(error).__name__


async def _answer(job: Job, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Run the job for each line received, until the other end closes."""
    with suppress(ConnectionError):
        while await reader.readline():
            try:
                reply: dict[str, Any] = {"measures": await job()}
            except JobFailed as failed:
                reply = {"error": _text(failed), "name": failed.name}
            except _REFUSALS as error:
                reply = {"error": _text(error)}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
    writer.close()


async def serve(kit: Kit, number: int, place: Path) -> None:
    """Serve jobs on a Unix socket for as long as standard input is open."""
    crew: ConnectorCrew | DeviceCrew
    if kit.plan.path in ("connector", "crypto"):
        crew = ConnectorCrew(kit, number)
        job: Job = crew.deliver if kit.plan.path == "connector" else crew.recrypt
    else:
        crew = DeviceCrew(kit, number)
        job = crew.check_in if kit.plan.path == "checkin" else crew.enroll
    await crew.start()
    server = await asyncio.start_unix_server(lambda reader, writer: _answer(job, reader, writer), str(place))
    print("ready", flush=True)  # noqa: T201 - the load generator waits for it
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Kit(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])))
