"""`pfxlab bench connector`: re-encryption as a ratio to OpenSSL's own rate of private operations in the same run.

Baseline and measurement alternate, and the median of their ratios counts, because the machine's speed changes over
time. End to end, the emulator runs in its own process and shares the cores with the connector.
"""

import asyncio
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim import eventlog, identity
from pfxlab.connector_sim.cms import envelop
from pfxlab.connector_sim.keys.installed import InstalledProviders, SoftwarePlace
from pfxlab.connector_sim.keys.padding import oaep
from pfxlab.connector_sim.keys.software import SoftwareKey, SoftwareKsp
from pfxlab.connector_sim.recrypt import partition, recrypt
from pfxlab.connector_sim.service import Connector, Settings, enroll
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.intune.connector_api import work_item
from pfxlab.emulator.wire.connector import WorkItem, read_completion, read_work, write_completion, write_work
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.files.key_pem import to_pem
from pfxlab.scenarios import ending
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.load.bench.children import running
from pfxlab.scenarios.load.bench.graph import resident_mb
from pfxlab.scenarios.load.drive.material import Material, apple, queue_up, windows
from pfxlab.scenarios.load.openssl_speed import private_operations

_BATCH: Final = 100
_LEASED: Final = 500

Progress = Callable[[str], None]


def _spin(pem: bytes, batches: list[list[WorkItem]], seconds: float, ready: Barrier, sender: Pipe) -> None:
    """Re-encrypt batches over and over for a number of seconds; send the results per second."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError
    software, done = SoftwareKey(KEY_NAME, key), 0
    recrypt(batches[0], lambda *_: software)
    ready.wait()
    begin = now = time.perf_counter()
    for batch in itertools.cycle(batches):
        done += len(recrypt(batch, lambda *_: software))
        now = time.perf_counter()
        if now - begin >= seconds:
            break
    sender.send(done / (now - begin))


def _rate(material: Material, items: list[WorkItem], processes: int, seconds: float) -> float:
    """Return results per second of a number of processes together, in batches of a hundred private operations.

    Processes that each run for the same time: as the connector's workers do, and as `openssl speed -multi` counts.
    """
    context = multiprocessing.get_context("spawn")
    batches, ready = partition(items, len(items) // _BATCH), context.Barrier(processes)
    receiver, sender = context.Pipe()
    pem = to_pem(material.key)
    spinning = [
        context.Process(target=_spin, args=(pem, batches[number::processes], seconds, ready, sender))
        for number in range(processes)
    ]
    with running(*spinning):
        return float(sum(receiver.recv() for _ in spinning))


def _stages(material: Material) -> dict[str, float]:
    """Return the microseconds of each stage of one request, in the emulator, on the wire and in the connector."""
    padding, (ciphertext,) = oaep(PaddingScheme.oaepSha512), material.ciphertexts(1)

    def micros(work: Callable[[], object], times: int) -> float:
        work()
        begin = time.perf_counter()
        for _ in range(times):
            work()
        return round((time.perf_counter() - begin) / times * 1e6, 1)

    with tempfile.TemporaryDirectory(prefix="pfxlab-bench-") as name:
        lab = Lab(Path(name))
        try:
            queue_up(lab, material, material.ciphertexts(4 * _LEASED))
            lease, parse, complete = _service_stages(lab, material)
        finally:
            lab.cloud.close()
            lab._lock.release()
    return {
        "lease_us": lease,
        "parse_us": parse,
        "private_op_us": micros(lambda: material.key.decrypt(ciphertext, padding), 1500),
        "envelope_us": micros(lambda: envelop(b"password 000000000", material.devices[0]), 5000),
        "complete_us": complete,
    }


def _service_stages(lab: Lab, material: Material) -> tuple[float, float, float]:
    """Return microseconds per request: to lease and encode it, to parse it, to parse and store its result."""
    cloud, tenant = lab.cloud, lab.operator.credentials.tenant_id
    times: dict[str, list[float]] = {"lease": [], "parse": [], "complete": []}
    for _ in range(4):
        marks = [time.perf_counter()]
        lease_id, rows = deliveries.lease(cloud, tenant, "bench", _LEASED)
        items = [item for row in rows if (item := work_item(cloud, row)) is not None]
        data = write_work(lease_id, 120, items)
        marks.append(time.perf_counter())
        work = read_work(data)
        marks.append(time.perf_counter())
        results = recrypt(work.items, material.open)
        marks.append(time.perf_counter())
        done = read_completion(write_completion(lease_id, results))
        deliveries.complete(cloud, "bench", done.lease_id, done.results)
        marks.append(time.perf_counter())
        for name, index in (("lease", 0), ("parse", 1), ("complete", 3)):
            times[name].append((marks[index + 1] - marks[index]) / len(items) * 1e6)
    lease, parse, complete = (round(statistics.median(values), 1) for values in times.values())
    return lease, parse, complete


def _serve(folder: str, pipe: Pipe) -> None:
    async def serve() -> None:
        async with Lab(Path(folder)) as lab:
            operator = lab.operator.credentials
            token = await lab.user_token(operator.operator_upn, operator.operator_password)
            pipe.send((lab.emulator.origin, str(lab.ca_file), token))
            await asyncio.to_thread(pipe.recv)

    with suppress(EOFError, BrokenPipeError):
        asyncio.run(serve())


def _children() -> list[int]:
    """Return the ids of this process's children."""
    return [int(child) for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()]


class _EndToEnd:
    """A connector in this process over mutual TLS to an emulator in another, until its queue is empty."""

    def __init__(self, material: Material, folder: Path, ciphertexts: list[bytes]) -> None:
        self._folder, self._count, self._done = folder, len(ciphertexts), 0
        self.memory: dict[str, list[float]] = {}
        """Party → MiB in RAM after each tenth of the requests; the connector's with its worker processes."""
        SoftwareKsp(folder / "keys").store(KEY_NAME, material.key)
        lab = Lab(folder / "lab")
        queue_up(lab, material, ciphertexts)
        lab.cloud.close()
        lab._lock.release()

    def _note_memory(self, emulator: int | None) -> None:
        mine = [os.getpid(), *(child for child in _children() if child != emulator)]
        for name, processes in (("connector", mine), ("emulator", [emulator])):
            self.memory.setdefault(name, []).append(round(sum(map(resident_mb, processes)), 1))

    def _on_event(self, event: eventlog.Event) -> None:
        self._done += event.id in (eventlog.PKCS_IMPORT_SUCCESS, eventlog.PKCS_IMPORT_FAILURE)

    async def run(self) -> float:
        """Return requests per second."""
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(str(self._folder / "lab"), theirs))
        with running(process):
            theirs.close()
            rate = await self._measure(process, *await asyncio.to_thread(pipe.recv))
            pipe.send("stop")
        return rate

    async def _measure(self, emulator: BaseProcess, origin: str, ca_file: str, token: str) -> float:
        settings = Settings(origin, Path(ca_file), wait_seconds=1, processes=os.cpu_count() or 1)
        who: identity.Identity = await enroll(settings, token, self._folder / "identity", "bench", "BENCH")
        installed = InstalledProviders([SoftwarePlace(str(self._folder / "keys"))])
        connector = Connector(settings, who, installed, LabClock(), self._on_event)
        await connector.start()
        try:
            return await self._drain(emulator)
        finally:
            await connector.stop()

    async def _drain(self, emulator: BaseProcess) -> float:
        begin, warm = 0.0, self._count // 10
        tenth = 1
        while self._done < self._count:
            await asyncio.sleep(0.005)
            if self._done >= self._count * tenth // 10:
                tenth += 1
                self._note_memory(emulator.pid)
            if not begin and self._done >= warm:
                begin, warm = time.perf_counter(), self._done
        return (self._count - warm) / (time.perf_counter() - begin)


def _end_to_end(material: Material, ciphertexts: list[bytes], memory: dict[str, list[float]]) -> float:
    with tempfile.TemporaryDirectory(prefix="pfxlab-bench-") as name:
        measured = _EndToEnd(material, Path(name), ciphertexts)
        rate = ending.run(measured.run())
        memory |= measured.memory
        return rate


def run(progress: Progress, turns: int = 5, seconds: int = 2, requests: int = 20_000) -> dict[str, Any]:
    """Return baseline, ratios and stages; `progress` is called with each step.

    Raises:
        NoOpenSsl: `openssl speed` does not run, so there is no baseline.

    """
    cores = os.cpu_count() or 1
    material = Material()
    progress("creating ciphertexts")
    plain = material.ciphertexts(requests)
    some = plain[: _BATCH * 2 * cores]
    distinct, triple, payloads = windows(material, some), windows(material, some, 3), apple(material, some)
    seen: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    base: dict[int, list[float]] = {}
    work: dict[str, tuple[int, Callable[[], float]]] = {
        "recrypt_one_thread": (1, lambda: _rate(material, distinct, 1, seconds)),
        "recrypt_all_cores": (cores, lambda: _rate(material, distinct, cores, seconds)),
        "recrypt_fanout3": (cores, lambda: _rate(material, triple, cores, seconds)),
        "recrypt_apple": (cores, lambda: _rate(material, payloads, cores, seconds)),
        "end_to_end": (cores, lambda: _end_to_end(material, plain, memory)),
    }
    for turn in range(turns):
        last: tuple[int, float] = (0, 0.0)
        for name, (count, measure) in work.items():
            # The baseline is measured right before and right after, since the machine's speed changes within seconds.
            # One measurement's "after" is the next one's "before".
            before = last[1] if last[0] == count else private_operations(count, seconds)
            rate = measure()
            after = private_operations(count, seconds)
            last = (count, after)
            base.setdefault(count, []).extend((before, after))
            seen.setdefault(name, []).append(rate / ((before + after) / 2))
        shown = ", ".join(f"{name} {values[-1]:.2f}" for name, values in seen.items())
        progress(f"turn {turn + 1} of {turns}: {shown}")
    return {
        "baseline": {
            "openssl_one_core_per_second": statistics.median(base[1]),
            "openssl_all_cores_per_second": statistics.median(base[cores]),
            "cores": cores,
        },
        "ratios": {key: round(statistics.median(values), 3) for key, values in seen.items()},
        "stages": _stages(material),
        "memory_mb": memory,
    }
