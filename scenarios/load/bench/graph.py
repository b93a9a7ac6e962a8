"""`pfxlab bench graph`: imports compared with a bare handler, lists and filters of a million records with a thousand.

Server and driver are separate processes; baseline and lab share machine, TLS, driver and run.
"""

import asyncio
import base64
import json
import multiprocessing
import os
import secrets
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.lab.seed import seed
from pfxlab.emulator.server import loopback
from pfxlab.emulator.store import synthetic
from pfxlab.emulator.tls import ServerTls
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.load.bench import bare
from pfxlab.scenarios.load.bench.children import running
from pfxlab.scenarios.load.bench.http_driver import Connection, Measurement, drive, request_bytes

COLLECTION: Final = "/beta/deviceManagement/userPfxCertificates"
_BLOB_BYTES: Final = 4096
_CONNECTIONS: Final = 8
_ROUNDS: Final = 30


def _record(upn: str, thumbprint: str) -> dict[str, Any]:
    return {
        "thumbprint": thumbprint,
        "intendedPurpose": "smimeEncryption",
        "userPrincipalName": upn,
        "startDateTime": "2026-01-05T07:00:00Z",
        "expirationDateTime": "2029-01-04T07:00:00Z",
        "providerName": "Microsoft Software Key Storage Provider",
        "keyName": "PFXLabKey",
        "paddingScheme": "oaepSha512",
        "encryptedPfxBlob": base64.b64encode(b"\x30" * _BLOB_BYTES).decode("ascii"),
        "encryptedPfxPassword": base64.b64encode(b"\x01" * 256).decode("ascii"),
    }


def _serve_bare(folder: str, pipe: Pipe) -> None:
    async def serve() -> None:
        path = Path(folder)
        tls = ServerTls()
        (path / "ca.pem").write_bytes(tls.ca_pem)
        runner = web.AppRunner(bare.build_app(path / "bare.db"), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, loopback(), 0, ssl_context=tls.server_context([]))
        await site.start()
        pipe.send((runner.addresses[0][1], str(path / "ca.pem"), "", ""))
        await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


def serve_lab(folder: str, pipe: Pipe) -> None:
    """Serve a lab over a folder until the pipe gets a message, then send the resident memory in MiB."""

    async def serve() -> None:
        async with Lab(Path(folder)) as lab:
            async with lab.graph() as client:
                token = await client.sign_in(lab.admin_form())
            pipe.send((lab.emulator.port, str(lab.ca_file), token, lab.operator.credentials.user_upn))
            await asyncio.to_thread(pipe.recv)
            pipe.send(resident_mb())

    with suppress(EOFError, BrokenPipeError):
        asyncio.run(serve())


def resident_mb(process: int | None = None) -> float:
    """Return the resident memory of a process, by default this one, in MiB; 0 where /proc is missing."""
    statm = Path(f"/proc/{process or 'self'}/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if statm.exists() else 0.0


class Served:
    """A server in a process of its own."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.port, ca_file, self.token, self.upn = pipe.recv()
        self.ca_file = Path(ca_file)
        self._stopped = False

    def stop(self) -> None:
        """Let the server end, if it was not told to before."""
        if not self._stopped:
            self._stopped = True
            self._pipe.send("stop")

    def last_memory(self) -> float:
        """Stop a lab, and return its resident memory in MiB."""
        self.stop()
        return float(self._pipe.recv())


@contextmanager
def served(target: Callable[[str, Pipe], None], folder: Path) -> Iterator[Served]:
    """Run a server for the time of a block."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    with running(context.Process(target=target, args=(str(folder), theirs))):
        theirs.close()
        server = Served(pipe)
        yield server
        server.stop()


@contextmanager
def bench_folder() -> Iterator[Path]:
    """Yield a temporary folder for one measurement."""
    with tempfile.TemporaryDirectory(prefix="pfxlab-bench-") as name:
        yield Path(name)


def imports_into(server: Served, path: str, count: int) -> Measurement:
    """Measure imports; the first tenth of `count` are a warm-up."""
    bodies = [json.dumps(_record(server.upn or "x", secrets.token_hex(20))).encode() for _ in range(count)]
    requests = [request_bytes("POST", path, server.token, body) for body in bodies]
    drive(server.port, server.ca_file, requests[: count // 10], _CONNECTIONS, lambda status: status == 201)
    return drive(server.port, server.ca_file, requests[count // 10 :], _CONNECTIONS, lambda status: status == 201)


def fill(folder: Path, records: int, blob_bytes: int = 1) -> None:
    """Write records of many users straight into a lab's store, with blobs of one byte by default."""
    cloud = Cloud(Config(), LabClock(), folder / "cloud")
    tenant = seed(cloud).tenant_id
    synthetic.add_certificates(cloud.store, tenant, cloud.clock.now(), records, blob_bytes)
    cloud.close()


def _queries(server: Served, records: int) -> dict[str, bytes]:
    """Return the requests to time, after checking that each finds the right number of records."""
    upn = f"person{records // 6}@pfxlab.example"
    paths = {
        "list": f"{COLLECTION}?$top=100",
        "filter": f"{COLLECTION}?$filter={quote(f'tolower(userPrincipalName) eq {chr(39)}{upn}{chr(39)}')}",
    }
    requests = {name: request_bytes("GET", path, server.token) for name, path in paths.items()}
    for name, request in requests.items():
        connection = Connection(server.port, server.ca_file)
        found = len(json.loads(connection.exchange(request)[1])["value"])
        connection.close()
        if found != {"list": 100, "filter": 3}[name]:
            raise RuntimeError(f"expected {name} to find its records, got {found}")
    return requests


def _query_medians(servers: dict[int, Served]) -> dict[int, dict[str, float]]:
    """Return median milliseconds by size and query; the sizes alternate, so that noise affects all equally."""
    requests = {records: _queries(server, records) for records, server in servers.items()}
    seen: dict[tuple[int, str], list[float]] = {}
    for _ in range(_ROUNDS):
        for records, server in servers.items():
            for name, request in requests[records].items():
                measured = drive(server.port, server.ca_file, [request] * 20, 1, lambda status: status == 200)
                seen.setdefault((records, name), []).append(measured.median_ms)
    return {
        records: {name: statistics.median(seen[records, name]) for name in requests[records]} for records in servers
    }


def run(progress: Callable[[str], None], imports: int = 4000, large: int = 1_000_000, turns: int = 7) -> dict[str, Any]:
    """Return baseline, measurements and ratios; `progress` is called with each step."""
    rates: dict[str, list[Measurement]] = {"bare": [], "lab": []}
    for turn in range(turns):
        for name, target, path in (("bare", _serve_bare, "/record"), ("lab", serve_lab, COLLECTION)):
            with bench_folder() as folder, served(target, folder) as server:
                measured = imports_into(server, path, imports)
            rates[name].append(measured)
            progress(f"import, turn {turn + 1} of {turns}: {name} {measured.per_second:,.0f} per second")
    with bench_folder() as few, bench_folder() as many:
        for records, folder in ((1000, few), (large, many)):
            progress(f"filling a store with {records:,} records")
            fill(folder, records)
        with served(serve_lab, few) as small, served(serve_lab, many) as big:
            progress("timing lists and filters, both sizes in turn")
            medians = _query_medians({1000: small, large: big})
            resident = big.last_memory()
    for records, found in medians.items():
        progress(f"{records:,} records: list {found['list']:.2f} ms, filter {found['filter']:.2f} ms")
    return _report(rates, medians[1000], medians[large], resident)


def _report(
    rates: dict[str, list[Measurement]], small: dict[str, float], large: dict[str, float], resident: float
) -> dict[str, Any]:
    best = {name: max(turns, key=lambda m: m.per_second) for name, turns in rates.items()}
    ratios = [lab.per_second / plain.per_second for plain, lab in zip(rates["bare"], rates["lab"], strict=True)]
    return {
        "baseline": {
            "bare_handler": asdict(best["bare"]),
            "list_1k_ms": small["list"],
            "filter_1k_ms": small["filter"],
        },
        "lab": {"import": asdict(best["lab"]), "list_1m_ms": large["list"], "filter_1m_ms": large["filter"]},
        "ratios": {
            "import_vs_bare": round(statistics.median(ratios), 3),
            "list_1m_vs_1k": round(large["list"] / small["list"], 3),
            "filter_1m_vs_1k": round(large["filter"] / small["filter"], 3),
        },
        "rss_mb_1m": round(resident, 1),
    }
