"""The certificate connector as a service: enrol once, then lease → re-encrypt → complete, with heartbeats.

RSA runs in threads (cryptography releases the interpreter lock there), HTTP in the event loop.
"""

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from connector_sim import eventlog as log
from connector_sim import identity
from connector_sim.errors import ConnectorError, ServiceRefused
from connector_sim.eventlog import Event, EventSink
from connector_sim.keys.provider import Providers
from connector_sim.recrypt import recrypt
from emulator.wire import connector as contract
from emulator.wire.clock import Clock

VERSION = "6.2607.0.1"
_BATCH = 50


@dataclass(frozen=True)
class Settings:
    """Where the service is, whom to trust, how to poll."""

    service_url: str
    ca_file: Path
    poll_seconds: float = 30.0
    wait_seconds: float = 20.0
    heartbeat_seconds: float = 60.0


async def enroll(settings: Settings, admin_token: str, folder: Path, name: str, machine: str) -> identity.Identity:
    """Enrol with an Intune administrator's token and keep the identity in `folder`.

    Raises:
        ServiceRefused: the service's reason.

    """
    key, request = identity.new_request(machine)
    body = {
        "certificateRequest": base64.b64encode(request).decode("ascii"),
        "connectorName": name,
        "machineName": machine,
        "connectorVersion": VERSION,
    }
    tls = ssl.create_default_context(cafile=str(settings.ca_file))
    headers = {"Authorization": f"Bearer {admin_token}"}
    async with aiohttp.ClientSession(settings.service_url, headers=headers) as session:
        answer = await _post(session, contract.ENROLL_PATH, body, tls)
    enrolled = contract.checked("enrolled", answer)
    return identity.save(folder, enrolled["connectorId"], key, base64.b64decode(enrolled["certificate"]))


async def _post(session: aiohttp.ClientSession, path: str, body: dict[str, Any], tls: ssl.SSLContext) -> Any:
    try:
        async with session.post(path, json=body, ssl=tls) as response:
            answer = await response.json()
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ServiceRefused(f"expected an answer from the service at {path}, got none ({error})") from None
    if response.status >= 400:
        told = answer.get("error", {}) if isinstance(answer, dict) else {}
        raise ServiceRefused(f"{told.get('code', response.status)}: {told.get('message', 'no reason given')}")
    return answer


class Connector:
    """A running connector."""

    def __init__(
        self, settings: Settings, who: identity.Identity, providers: Providers, clock: Clock, events: EventSink
    ) -> None:
        self._settings, self._who, self._providers = settings, who, providers
        self._clock, self._events = clock, events
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="recrypt")
        self._tls = who.tls(settings.ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to work in the background."""
        self._session = aiohttp.ClientSession(self._settings.service_url)
        self._task = asyncio.create_task(self._run(), name=f"connector {self._who.connector_id}")

    async def stop(self) -> None:
        """Stop; work leased but not completed returns to the queue when its lease ends."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _run(self) -> None:
        next_heartbeat, started = self._clock.now().timestamp(), True
        while True:
            try:
                if self._clock.now().timestamp() >= next_heartbeat:
                    await self._call(contract.HEARTBEAT_PATH, {"connectorVersion": VERSION, "started": started})
                    started = False
                    next_heartbeat = self._clock.now().timestamp() + self._settings.heartbeat_seconds
                    self._events(Event(log.HEALTH_UPLOAD_SUCCESS, "heartbeat accepted"))
                worked = await self.work_once()
            except (ServiceRefused, contract.ContractError) as error:
                self._events(Event(log.DOWNLOAD_FAILURE, f"the service gave no work: {error}"))
                worked = False
                await self._clock.sleep(1)
            except Exception as error:
                # A service does not end because of one message it did not expect.
                self._events(Event(log.DOWNLOAD_FAILURE, f"unexpected: {type(error).__name__}"))
                worked = False
                await self._clock.sleep(1)
            if not worked and not self._settings.wait_seconds:
                await self._clock.sleep(self._settings.poll_seconds)

    async def _call(self, path: str, body: dict[str, Any]) -> Any:
        if self._session is None:
            raise ServiceRefused("expected a started connector, got one that is stopped")
        return await _post(self._session, path, body, self._tls)

    async def work_once(self) -> bool:
        """Lease a batch, work on it and complete it; return whether there was work.

        Raises:
            ServiceRefused: the service cannot be reached or refuses.

        """
        answer = await self._call(contract.LEASE_PATH, {"max": _BATCH, "waitSeconds": self._settings.wait_seconds})
        work = contract.checked("work", answer)
        items = [contract.item_from_json(item) for item in work["items"]]
        if not items:
            return False
        self._events(Event(log.DOWNLOAD_SUCCESS, f"{len(items)} requests downloaded"))
        for item in items:
            self._events(Event(log.DOWNLOADED_REQUEST, "request downloaded", {"request": item.request_id}))
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.run_in_executor(self._pool, self._recrypt, item) for item in items))
        await self._upload(work["leaseId"], results)
        return True

    def _recrypt(self, item: contract.WorkItem) -> contract.Result:
        try:
            key = self._providers.open(item.provider_name, item.key_name)
        except ConnectorError as error:
            return contract.NotRecrypted(item.request_id, error.code, str(error))
        try:
            return recrypt(item, key)
        except Exception as error:
            return contract.NotRecrypted(item.request_id, "InternalError", type(error).__name__)

    async def _upload(self, lease_id: str, results: Sequence[contract.Result]) -> None:
        for result in results:
            if isinstance(result, contract.NotRecrypted):
                text = f"{result.code}: {result.message}"
                self._events(Event(log.REENCRYPT_FAILED_ATTEMPT, text, {"request": result.request_id}))
            else:
                size = {"request": result.request_id, "bytes": len(result.encrypted_blob)}
                self._events(Event(log.REENCRYPT_SUCCESS, "re-encrypted for the device", size))
        body = {"leaseId": lease_id, "results": [contract.result_to_json(result) for result in results]}
        try:
            answer = await self._call(contract.COMPLETE_PATH, body)
        except ServiceRefused as error:
            self._events(Event(log.UPLOAD_FAILURE, f"results not taken: {error}"))
            return
        self._events(Event(log.UPLOAD_SUCCESS, f"{len(results)} results uploaded"))
        for told in answer["results"]:
            self._events(Event(log.UPLOADED_REQUEST, told["outcome"], {"request": told["requestId"]}))
