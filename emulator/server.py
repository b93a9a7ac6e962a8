"""The emulator's one TLS port: Graph, sign-in, device and connector channels, control API."""

import asyncio
import errno
import secrets
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from pfxlab.emulator.admin import routes as admin
from pfxlab.emulator.azure import management
from pfxlab.emulator.boundary import (
    COMPONENTS,
    FALLBACK,
    SERVICES,
    ServerLog,
    boundary,
    ignore_other_expectations,
    record_defect,
    register,
)
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.connections.accepting import AcceptErrors
from pfxlab.emulator.connections.body_timeout import BODY_SECONDS, body_timeout
from pfxlab.emulator.connections.ending import end_connections
from pfxlab.emulator.connections.http_errors import QuietRunner
from pfxlab.emulator.edge import ADDRESS, CLOUD, CONNECTIONS, OBSERVER
from pfxlab.emulator.entra import routes as entra
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.graph import gateway
from pfxlab.emulator.graph.odata.query import LONGEST_URL
from pfxlab.emulator.intune import apple_enrollment, apple_mdm, connector_api, enrollment, mde2, omadm
from pfxlab.emulator.journal.exchanges import Exchange
from pfxlab.emulator.lab import control, http_faults
from pfxlab.emulator.lab.driver import CloudDriver, Driver
from pfxlab.emulator.lab.observer import observed as observer_middleware
from pfxlab.emulator.lab.openapi import document
from pfxlab.emulator.proxy import ConnectProxy
from pfxlab.emulator.tls import ServerTls
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.connector import LARGEST_BODY

_COMPONENTS: Final = (
    (gateway.COMPONENT, gateway.add_routes),
    (admin.COMPONENT, admin.add_routes),
    (control.COMPONENT, control.add_routes),
    (control.COMPONENT, lambda app: app.router.add_get(f"{control.PREFIX}/openapi.json", _openapi)),
    (mde2.COMPONENT, mde2.add_routes),
    (enrollment.COMPONENT, omadm.add_routes),
    (enrollment.COMPONENT, apple_enrollment.add_routes),
    (enrollment.COMPONENT, apple_mdm.add_routes),
    (connector_api.COMPONENT, connector_api.add_routes),
    (entra.COMPONENT, entra.add_routes),
    (management.COMPONENT, management.add_routes),
)
_SHUTDOWN_SECONDS = 3.0
_FLUSH_SECONDS = 0.5
_IDLE_SECONDS = 120.0
_BODY_SECONDS = 30.0

LOOPBACK = "127.0.0.1"
LOOPBACK_IPV6 = "::1"
_NO_IPV4: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class PortTaken(OSError):
    """The wanted port cannot be listened on."""


def build_app(
    cloud: Cloud,
    control_token: str,
    driver: Driver | None = None,
    observer: Callable[[Exchange], None] | None = None,
) -> web.Application:
    """Return the application with every room's routes. `driver` moves what is not the cloud itself."""
    middlewares = [body_timeout, observer_middleware, boundary, http_faults.faults]
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=middlewares)
    app[CLOUD], app[CONNECTIONS], app[ADDRESS], app[BODY_SECONDS] = cloud, {}, LOOPBACK, _BODY_SECONDS
    app[control.CONTROL_TOKEN] = control_token
    app[control.DRIVER] = driver or CloudDriver(cloud)
    if observer is not None:
        app[OBSERVER] = observer
    app[COMPONENTS], app[SERVICES], app[FALLBACK] = {}, {}, gateway.COMPONENT
    for component, add_routes in _COMPONENTS:
        register(app, component, add_routes)
    app.router.add_route("*", "/{tail:.*}", gateway.no_version)
    ignore_other_expectations(app)
    return app


class Emulator:
    """A running emulator. Loopback only; `folder` keeps its data over restarts."""

    def __init__(self, config: Config, clock: LabClock, folder: Path | None = None, wall: Clock | None = None) -> None:
        self.cloud = Cloud(config, clock, folder, wall)
        signing_key_of(self.cloud)
        self.tls = ServerTls(folder)
        self.cloud.tls_root = ssl.PEM_cert_to_DER_cert(self.tls.ca_pem.decode("ascii"))
        self.control_token = secrets.token_urlsafe(24)
        self.port = 0
        self._loopback = LOOPBACK
        self.observer: Callable[[Exchange], None] | None = None
        """Hears of every request but the control API's; to be set before the start."""

        self.driver: Driver | None = None
        """Moves connectors and devices for the control API; to be set before the start."""

        self.idle_seconds = _IDLE_SECONDS
        """How long a connection may be without a whole request; to be set before the start."""

        self.body_seconds = _BODY_SECONDS
        """How long a body may take that comes slower than 500 bytes a second; to be set before the start."""

        self._runner: web.AppRunner | None = None
        self._proxy: ConnectProxy | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._accept_errors: AcceptErrors | None = None

    @property
    def proxy_url(self) -> str:
        """Return the address of the CONNECT proxy for tools with built-in hosts."""
        return f"http://{self._address}:{self._proxy.port if self._proxy is not None else 0}"

    @property
    def _address(self) -> str:
        """Return the first address it listens on, as URLs have it."""
        return f"[{LOOPBACK_IPV6}]" if self._loopback == LOOPBACK_IPV6 else LOOPBACK

    @property
    def origin(self) -> str:
        """Return `https://localhost:port`."""
        return f"https://localhost:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one.

        Raises:
            PortTaken: the port is in use or not allowed.

        """
        listening = _listen(port)
        context = self.tls.server_context([self.cloud.device_ca.certificate, self.cloud.connector_ca.certificate])
        self._loopback, self.port = listening[0].getsockname()[:2]
        app = build_app(self.cloud, self.control_token, self.driver, self.observer)
        app[ADDRESS], app[BODY_SECONDS] = self._address, self.body_seconds
        self._runner = QuietRunner(
            app,
            access_log=None,
            logger=ServerLog(self.cloud),
            max_line_size=LONGEST_URL,
            keepalive_timeout=self.idle_seconds,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        for sock in listening:
            await web.SockSite(self._runner, sock, ssl_context=context).start()
        self._accept_errors = AcceptErrors(asyncio.get_running_loop())
        self._flushing = asyncio.create_task(self._flush_journal())
        address = (self._loopback, self.port)
        self._proxy = ConnectProxy(address, self._proxy_refused, self._proxy_defect, self.idle_seconds)
        await self._proxy.start()

    async def _flush_journal(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self.cloud.journal.flush()

    def _proxy_refused(self, target: str, reason: str) -> None:
        self.cloud.journal.record("proxy", "connection refused", outcome="refused", reason=reason, target=target[:200])

    def _proxy_defect(self, error: Exception) -> None:
        record_defect(self.cloud, "proxy", "connection", error)

    async def stop(self) -> None:
        """Finish running requests and close the store."""
        self.cloud.stopping = True
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._proxy is not None:
            await self._proxy.stop()
            self._proxy = None
        if self._runner is not None:
            await end_connections(self._runner, self._runner.app[CONNECTIONS].values())
            self._runner = None
        if self._accept_errors is not None:
            self._accept_errors.remove()
            self._accept_errors = None
        self.cloud.close()


async def _openapi(_: web.Request) -> web.Response:
    return web.json_response(document())


def loopback() -> str:
    """Return the address that a lab of this machine listens on first: 127.0.0.1, or ::1 where there is no IPv4."""
    try:
        with socket.create_server((LOOPBACK, 0)):
            return LOOPBACK
    except OSError as error:
        if error.errno not in _NO_IPV4:
            raise
        return LOOPBACK_IPV6


def _listen(port: int) -> list[socket.socket]:
    """Return listening sockets on 127.0.0.1 and ::1, or the one the machine has: `localhost` may mean either."""
    try:
        first = socket.create_server((LOOPBACK, port))
    except OSError as error:
        if error.errno not in _NO_IPV4:
            raise _taken(port, LOOPBACK, error) from None
        return [_listen_ipv6_only(port)]
    try:
        second = _on_ipv6(first.getsockname()[1])
    except OSError:
        return [first]
    return [first, second]


def _on_ipv6(port: int) -> socket.socket:
    return socket.create_server((LOOPBACK_IPV6, port), family=socket.AF_INET6)


def _listen_ipv6_only(port: int) -> socket.socket:
    try:
        return _on_ipv6(port)
    except OSError as error:
        raise _taken(port, LOOPBACK_IPV6, error) from None


def _taken(port: int, address: str, error: OSError) -> PortTaken:
    return PortTaken(f"expected port {port} to be free on {address}, got: {error.strerror}")
