"""`pfxlab bench admin`: pages of the admin centre with a large store, and the cost of open pages to imports.

Imports are measured alternately with and without fifty open overviews, each of which gets every change at once.
"""

import http.client
import json
import selectors
import ssl
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.store import synthetic
from pfxlab.scenarios.load.bench.graph import COLLECTION, Served, bench_folder, fill, imports_into, serve_lab, served
from pfxlab.scenarios.load.bench.http_driver import Measurement

_BLOB_BYTES: Final = 4096
_ROUNDS: Final = 20
_SETTLE_SECONDS: Final = 2.0
PAGES: Final = {
    "overview": "/admin",
    "certificates": "/admin/certificates",
    "certificates, last page": "/admin/certificates?skip={last}",
    "certificates, search": "/admin/certificates?search=person{middle}@",
    "devices": "/admin/devices",
    "journal": "/admin/journal",
}

Progress = Callable[[str], None]


def fill_with_devices(folder: Path, certificates: int, devices: int) -> None:
    """Write certificates of typical size, devices, and two deliveries for each device straight into a lab's store."""
    fill(folder, certificates, _BLOB_BYTES)
    cloud = Cloud(Config(), LabClock(), folder / "cloud")
    # Made before there are devices: a lab takes the authority of devices that it has for lost, not for new.
    _ = cloud.device_ca
    synthetic.add_devices(cloud.store, cloud.directory.tenants()[0]["id"], cloud.clock.now(), devices)
    cloud.close()


class _Browser:
    """Signs in to the admin centre and loads pages over one connection."""

    def __init__(self, server: Served, folder: Path) -> None:
        credentials = json.loads((folder / "operator" / "credentials.json").read_text())["credentials"]
        self._context = ssl.create_default_context(cafile=str(server.ca_file))
        self._port = server.port
        self._http = http.client.HTTPSConnection("localhost", server.port, context=self._context)
        operator = {"username": credentials["operator_upn"], "password": credentials["operator_password"]}
        form = urlencode({**operator, "to": "/admin"})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._http.request("POST", "/admin/sign-in", form, headers)
        answer = self._http.getresponse()
        answer.read()
        self.cookie = answer.getheader("Set-Cookie", "").partition(";")[0]

    def get(self, path: str) -> tuple[float, int]:
        """Load a page; return the milliseconds it took, and its size in bytes."""
        begin = time.perf_counter()
        self._http.request("GET", path, headers={"Cookie": self.cookie})
        answer = self._http.getresponse()
        size = len(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"expected the page {path}, got {answer.status}")
        return 1000 * (time.perf_counter() - begin), size

    def open_live(self) -> ssl.SSLSocket:
        """Open a live overview and return its connection."""
        connection = http.client.HTTPSConnection("localhost", self._port, context=self._context)
        connection.request("GET", "/admin/live?page=%2Fadmin", headers={"Cookie": self.cookie})
        opened = connection.sock
        if not isinstance(opened, ssl.SSLSocket):
            raise TypeError("expected a TLS connection")
        return opened


class _Viewers:
    """A number of open overviews, read continuously. `received`: bytes read."""

    def __init__(self, browser: _Browser, count: int) -> None:
        self.received = 0
        self._connections = [browser.open_live() for _ in range(count)]
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with selectors.DefaultSelector() as ready:
            for connection in self._connections:
                connection.setblocking(False)
                ready.register(connection, selectors.EVENT_READ, connection)
            while not self._over:
                for key, _ in ready.select(0.2):
                    with suppress(ssl.SSLWantReadError):
                        self.received += len(key.data.recv(1 << 16))

    def close(self) -> None:
        """Close every overview."""
        self._over = True
        self._thread.join()
        for connection in self._connections:
            connection.close()


def _measure(server: Served, browser: _Browser, count: int, imports: int) -> tuple[Measurement, int]:
    """Return imports per second while `count` overviews are open, and the bytes these received."""
    viewers = _Viewers(browser, count) if count else None
    time.sleep(_SETTLE_SECONDS)
    try:
        return imports_into(server, COLLECTION, imports), viewers.received if viewers else 0
    finally:
        if viewers is not None:
            viewers.close()


def run(
    progress: Progress,
    certificates: int = 100_000,
    devices: int = 10_000,
    viewers: int = 50,
    imports: int = 6000,
    turns: int = 5,
) -> dict[str, Any]:
    """Return the milliseconds of each page, and the ratio of imports with open pages to imports without."""
    with bench_folder() as folder:
        progress(f"filling a store with {certificates:,} certificates and {devices:,} devices")
        fill_with_devices(folder, certificates, devices)
        with served(serve_lab, folder) as server:
            browser = _Browser(server, folder)
            pages: dict[str, dict[str, float]] = {}
            for name, template in PAGES.items():
                path = template.format(last=max(0, certificates - 50), middle=certificates // 6)
                times = [browser.get(path) for _ in range(_ROUNDS)]
                pages[name] = {"ms": round(statistics.median(one for one, _ in times), 1), "bytes": times[-1][1]}
                progress(f"{name}: {pages[name]['ms']:.1f} ms")
            alone: list[Measurement] = []
            watched: list[Measurement] = []
            received = 0
            for turn in range(turns):
                alone.append(_measure(server, browser, 0, imports)[0])
                measured, read = _measure(server, browser, viewers, imports)
                watched.append(measured)
                received += read
                progress(
                    f"turn {turn + 1} of {turns}: {alone[-1].per_second:,.0f} imports per second alone,"
                    f" {measured.per_second:,.0f} with {viewers} open pages"
                )
    ratios = [one.per_second / other.per_second for one, other in zip(watched, alone, strict=True)]
    return {
        "baseline": {"imports": asdict(max(alone, key=lambda one: one.per_second))},
        "pages": pages,
        "viewers": viewers,
        "heard_bytes": received,
        "ratios": {"imports_with_open_pages": round(statistics.median(ratios), 3)},
    }
