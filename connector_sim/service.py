"""The certificate connector as a service: enrol once, then lease → re-encrypt → complete, with heartbeats.

Several batches are under way at once, so that one is computed while another travels. RSA runs in threads or processes
(pfxlab.connector_sim.workers), HTTP in the event loop. What is leased but not completed returns to the queue:
at once when the service stops or starts anew, else when its lease ends.
"""

import asyncio
import base64
import contextlib
import io
import logging
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from pfxlab.connector_sim import VERSION, identity
from pfxlab.connector_sim import eventlog as log
from pfxlab.connector_sim.errors import ServiceRefused
from pfxlab.connector_sim.eventlog import Event, EventSink
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.connector_sim.workers import Workers
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.text import describe_defect

_HEARTBEATS_LOST = 3
_FAREWELL_SECONDS = 5.0
_LOG = logging.getLogger(__name__)
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Settings:
    """Where the service is, whom to trust, how to poll and how much to do at once. Times in seconds.

    `proxy`: address of an outbound proxy, `http://host:port`. `batch`: requests in a lease. `slots`: batches under way.
    `threads` compute what is little, `processes` (none unless asked for) what is much, see workers.py.
    `renew_days`: how long before its end the client certificate is renewed.
    """

    service_url: str
    ca_file: Path
    poll_seconds: float = 30.0
    wait_seconds: float = 20.0
    heartbeat_seconds: float = 60.0
    proxy: str | None = None
    version: str = VERSION
    batch: int = 500
    slots: int = 3
    threads: int = os.cpu_count() or 1
    processes: int = 0
    renew_days: float = 30.0
    drain_seconds: float = 20.0


async def enroll(
    settings: Settings,
    admin_token: str,
    folder: Path,
    name: str,
    machine: str,
    make_key: identity.MakeKey = identity.new_key,
) -> identity.Identity:
    """Enrol with an Intune administrator's token and keep the identity in `folder`.

    An enrolment that was cut off before its answer came is repeated with the same key: the connector is the same.

    Raises:
        ServiceRefused: the service's reason.

    """
    key, request = identity.new_request(machine, lambda: identity.enrolment_key(folder, make_key))
    body = {
        "certificateRequest": base64.b64encode(request).decode("ascii"),
        "connectorName": name,
        "machineName": machine,
        "connectorVersion": settings.version,
    }
    tls = ssl.create_default_context(cafile=str(settings.ca_file))
    headers = {"Authorization": f"Bearer {admin_token}"}
    async with aiohttp.ClientSession(settings.service_url, headers=headers) as session:
        try:
            answer = await post(session, contract.ENROLL_PATH, jsontext.encode(body), tls, settings.proxy)
        except ServiceRefused as refused:
            if refused.reason:
                identity.answered(folder)
            raise
    enrolled = _checked("enrolled", answer)
    return identity.save(folder, enrolled["connectorId"], key, base64.b64decode(enrolled["certificate"]))


def _cause(error: Exception) -> str:
    """Return why there was no answer; what complains of an address repeats it, and a proxy's may hold a password."""
    return str(error) if isinstance(error, OSError) else type(error).__name__


def _reason(error: Exception) -> str:
    """Return why something failed: what a refusal says, else that it is a bug in the lab, and where."""
    if isinstance(error, (ServiceRefused, contract.ContractError)):
        return str(error)
    # A disk that is full, or a socket that is gone: whatever its text shows, it may be a path or an address.
    return type(error).__name__ if isinstance(error, OSError) else describe_defect(error)


def _no_work(error: Exception) -> Event:
    known = isinstance(error, (ServiceRefused, contract.ContractError))
    return Event(log.DOWNLOAD_FAILURE, f"the service gave no work: {error}" if known else _reason(error))


async def post(session: aiohttp.ClientSession, path: str, data: bytes, tls: ssl.SSLContext, proxy: str | None) -> bytes:
    """Return what the service answers to a message of the contract.

    Raises:
        ServiceRefused: it cannot be reached or refuses.

    """
    try:
        # A stream is sent piece by piece; megabytes at once would hold up the loop.
        async with session.post(path, data=io.BytesIO(data), headers=_JSON, ssl=tls, proxy=proxy) as response:
            answer = await response.read()
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ServiceRefused(f"expected an answer from the service at {path}, got none ({_cause(error)})") from None
    if response.status >= 400:
        raise _refusal(response.status, answer)
    return answer


def _refusal(status: int, answer: bytes) -> ServiceRefused:
    try:
        error = jsontext.decode(answer)["error"]
        return ServiceRefused(f"{error['code']}: {error['message']}", str(error["code"]))
    except (ValueError, KeyError, TypeError):
        return ServiceRefused(f"{status}: no reason given")


def _checked(name: str, data: bytes) -> dict[str, Any]:
    try:
        return contract.checked(name, jsontext.decode(data))
    except contract.ContractError:
        raise
    except ValueError as error:
        raise contract.ContractError(str(error)) from None


class Connector:
    """A running connector."""

    def __init__(
        self, settings: Settings, who: identity.Identity, providers: Providers, clock: Clock, events: EventSink
    ) -> None:
        self._settings, self._who = settings, who
        self._clock, self._sink = clock, events
        self._workers = Workers(providers, settings.threads, settings.processes)
        self._tls = who.tls(settings.ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._heart: asyncio.Task[None] | None = None
        self._slots: list[asyncio.Task[None]] = []
        self._waiting: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._lost = 0
        self._unreported = log.PendingEvents(clock)
        self._last_heard: datetime | None = None
        self.dismissed = asyncio.Event()
        """Set once the service reports that this connector was deleted."""

    @property
    def connector_id(self) -> str:
        """Return the id that enrolment gave it."""
        return self._who.connector_id

    async def start(self, *, background: bool = True) -> None:
        """Begin to work: in the background, or, for a lab that goes step by step, by `step`."""
        self._session = aiohttp.ClientSession(self._settings.service_url)
        self._events(Event(log.SERVICE_STARTED, f"version {self._settings.version}"))
        if background:
            self._heart = asyncio.create_task(self._beat(), name=f"connector {self._who.connector_id}")

    def interrupt(self) -> None:
        """Cut short what is waited for, as a network does that goes down: the next call is tried anew."""
        for waiting in list(self._waiting):
            waiting.cancel()

    async def step(self) -> bool:
        """Do what is due now: a heartbeat when the last is old enough, then one batch; return whether there was work.

        What the service refuses, or a network that is down, goes to the event log, as when working in the background.
        """
        try:
            last, now = self._last_heard, self._clock.now()
            if last is None or abs(now - last) >= timedelta(seconds=self._settings.heartbeat_seconds):
                await self._beat_once()
                await self._renew_when_due()
            return await self.work_once()
        except Exception as error:
            self._events(_no_work(error))
            return False

    async def _beat_once(self) -> None:
        """Send a heartbeat, the first of a process as such."""
        first = self._last_heard is None
        answer = await self._heartbeat(started=first)
        self._take_status(_checked("alive", answer), first=first)
        self._last_heard = self._clock.now()

    async def stop(self) -> None:
        """Stop gracefully: take no more work, finish and upload what is at hand, give the rest back."""
        if self._session is None:
            return
        self._stopping = True
        if self._heart is not None:
            self._heart.cancel()
        for waiting in list(self._waiting):
            waiting.cancel()
        if self._slots:
            await asyncio.wait(self._slots, timeout=self._settings.drain_seconds)
        for task in (*self._slots, *([self._heart] if self._heart is not None else ())):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        self._events(Event(log.SERVICE_STOPPED, await self._farewell()))
        await self._session.close()
        self._session, self._heart, self._slots = None, None, []
        await self._workers.stop()

    async def _farewell(self) -> str:
        """Tell the service that this process ends; return how that went."""
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._heartbeat(stopping=True)
        except ServiceRefused as error:
            return f"stopped; the service did not take its last heartbeat: {error}"
        except TimeoutError:
            return "stopped; the service did not answer its last heartbeat"
        except Exception as error:
            return f"stopped without a last heartbeat: {_reason(error)}"
        return "drained"

    def _events(self, event: Event) -> None:
        """Log an event; a log that cannot be written, as on a full disk, stops no work."""
        self._unreported.add(event)
        try:
            self._sink(event)
        except OSError:
            return
        except Exception as error:
            _LOG.error("an event was not logged: %s", describe_defect(error))

    async def _heartbeat(self, **more: bool) -> bytes:
        """Say that this process lives, and what its event log has had since it last did."""
        events = self._unreported.lines()
        alive = {"connectorVersion": self._settings.version, "started": False, **more, "events": events}
        answer = await self.call(contract.HEARTBEAT_PATH, alive)
        self._unreported.drop_reported(events)
        return answer

    async def _beat(self) -> None:
        """Say that this process lives, first of all that it has just begun; then let the slots work."""
        while not self._stopping:
            try:
                await self._beat_once()
                if not self._slots:
                    self._slots = [asyncio.create_task(self._work()) for _ in range(self._settings.slots)]
                self._lost = 0
                await self._renew_when_due()
                await self._pause(self._settings.heartbeat_seconds)
            except Exception as error:
                # Without its heart a service looks alive and does nothing: what nobody foresaw is a lost heartbeat.
                if isinstance(error, ServiceRefused) and error.reason == contract.UNKNOWN_CONNECTOR:
                    self.dismissed.set()
                self._lost += 1
                final = self._lost >= _HEARTBEATS_LOST
                number = log.HEALTH_UPLOAD_FAILURE if final else log.HEALTH_UPLOAD_FAILED_ATTEMPT
                self._events(Event(number, f"heartbeat not taken: {_reason(error)}"))
                await self._pause(min(2.0**self._lost, self._settings.heartbeat_seconds, 30.0))

    def _take_status(self, status: dict[str, Any], *, first: bool) -> None:
        self._events(Event(log.HEALTH_UPLOAD_SUCCESS, "heartbeat accepted"))
        if first and status["versionStatus"] != "active":
            state, latest = status["versionStatus"], status["latestVersion"]
            text = f"version {self._settings.version} is {state}, the latest is {latest}"
            self._events(Event(log.VERSION_DEPRECATED, text))

    async def _renew_when_due(self) -> None:
        """Replace the client certificate in good time; the old one stays good until the new one was used."""
        if self._clock.now() < self._who.ends - timedelta(days=self._settings.renew_days):
            return
        key, request = identity.new_request(self._who.connector_id)
        body = {"certificateRequest": base64.b64encode(request).decode("ascii")}
        renewed = _checked("enrolled", await self.call(contract.RENEW_PATH, body))
        der = base64.b64decode(renewed["certificate"])
        self._who = identity.save(self._who.path.parent, self._who.connector_id, key, der)
        self._tls = self._who.tls(self._settings.ca_file)
        self._events(Event(log.CERTIFICATE_RENEWED, f"client certificate renewed until {self._who.ends.isoformat()}"))

    async def _work(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                worked = await self.work_once()
                failures = 0
            except Exception as error:
                # A service does not end because of one message it did not expect.
                self._events(_no_work(error))
                worked, failures = False, failures + 1
                await self._pause(min(2.0 ** (failures - 1), self._settings.poll_seconds))
            if not worked and not self._settings.wait_seconds:
                await self._pause(self._settings.poll_seconds)

    async def _pause(self, seconds: float) -> None:
        await self._interruptible(asyncio.create_task(self._clock.sleep(seconds)))

    async def _interruptible(self, task: asyncio.Task[Any]) -> Any:
        """Wait for something that stopping may cut short; None then."""
        self._waiting.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            here = asyncio.current_task()
            if self._stopping or here is None or not here.cancelling():
                return None
            task.cancel()
            raise
        finally:
            self._waiting.discard(task)

    async def call(self, path: str, body: dict[str, Any] | bytes) -> bytes:
        """Return the service's answer to a message.

        Raises:
            ServiceRefused: see `post`, or the connector was stopped.

        """
        if self._session is None:
            raise ServiceRefused("expected a started connector, got one that is stopped")
        data = body if isinstance(body, bytes) else jsontext.encode(body)
        return await post(self._session, path, data, self._tls, self._settings.proxy)

    async def work_once(self) -> bool:
        """Lease a batch, work on it and complete it; return whether there was work.

        Raises:
            ServiceRefused: the service cannot be reached or refuses.
            ContractError: its answer breaks the contract.

        """
        lease_request = {"max": self._settings.batch, "waitSeconds": self._settings.wait_seconds}
        answer = await self._interruptible(asyncio.create_task(self.call(contract.LEASE_PATH, lease_request)))
        if answer is None:
            return False
        try:
            work = contract.read_work(answer)
        except contract.ContractError:
            raise
        except ValueError as error:
            raise contract.ContractError(str(error)) from None
        items = work.items
        if work.lease_id is None or not items:
            return False
        self._events(Event(log.DOWNLOAD_SUCCESS, f"{len(items)} requests downloaded"))
        for item in items:
            self._events(Event(log.DOWNLOADED_REQUEST, "request downloaded", {"request": item.request_id}))
        for results in contract.split_results(await self.recrypt(items)):
            await self.upload(work.lease_id, results)
        return True

    async def recrypt(self, items: Sequence[contract.WorkItem]) -> list[contract.Result]:
        """Return the results of a batch."""
        return await self._workers.recrypt(items)

    async def upload(self, lease_id: str, results: Sequence[contract.Result]) -> None:
        """Upload the results of requests, and log what the service made of them."""
        for result in results:
            if isinstance(result, contract.Recrypted):
                size = {"request": result.request_id, "bytes": len(result.encrypted_blob)}
                self._events(Event(log.REENCRYPT_SUCCESS, "re-encrypted for the device", size))
        try:
            answer = await self.call(contract.COMPLETE_PATH, contract.write_completion(lease_id, results))
            outcomes = {one["requestId"]: one for one in jsontext.decode(answer)["results"]}
        except (ServiceRefused, ValueError, KeyError, TypeError) as error:
            self._events(Event(log.UPLOAD_FAILURE, f"results not taken: {error}"))
            return
        self._events(Event(log.UPLOAD_SUCCESS, f"{len(results)} results uploaded"))
        for result in results:
            self._settled(result, outcomes.get(result.request_id, {"outcome": "stale", "final": False}))

    def _settled(self, result: contract.Result, outcome: dict[str, Any]) -> None:
        """Log the service's outcome of a request."""
        which = {"request": result.request_id}
        if isinstance(result, contract.NotRecrypted):
            text, final = f"{result.code}: {result.message}", outcome["final"]
            self._events(Event(log.REENCRYPT_FAILURE if final else log.REENCRYPT_FAILED_ATTEMPT, text, which))
            if final:
                self._events(Event(log.PKCS_IMPORT_FAILURE, text, which))
            return
        self._events(Event(log.UPLOADED_REQUEST, outcome["outcome"], which))
        if outcome["outcome"] == "accepted":
            self._events(Event(log.PKCS_IMPORT_SUCCESS, "request processed", which))
