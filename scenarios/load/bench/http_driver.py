"""A plain HTTP/1.1 driver over TLS sockets, cheap enough not to limit what is measured, the server."""

import socket
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pfxlab.emulator.server import loopback

_PIECE = 65536


@dataclass(frozen=True)
class Measurement:
    """The result of a run: requests per second, and latencies in milliseconds."""

    requests: int
    per_second: float
    median_ms: float
    p95_ms: float


class Connection:
    """One kept-alive TLS connection."""

    def __init__(self, port: int, ca_file: Path) -> None:
        context = ssl.create_default_context(cafile=str(ca_file))
        self._socket = context.wrap_socket(socket.create_connection((loopback(), port)), server_hostname="localhost")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of its answer (Content-Length only)."""
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        status = int(head[9:12])
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        wanted = int(lengths[0]) if lengths else 0
        while len(body) < wanted:
            body += self._receive()
        return status, body

    def _receive(self) -> bytes:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("expected an answer, the server closed the connection")
        return piece


def request_bytes(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """Return a request with a bearer token and a JSON body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def drive(
    port: int, ca_file: Path, requests: Sequence[bytes], connections: int, accept: Callable[[int], bool]
) -> Measurement:
    """Send every request once, over a number of connections, and return the measurement.

    Raises:
        RuntimeError: an answer had a status that is not accepted.

    """
    shares = [requests[index::connections] for index in range(connections)]
    latencies: list[float] = []
    bad: list[str] = []
    opened = [Connection(port, ca_file) for _ in shares]

    def work(connection: Connection, share: Sequence[bytes]) -> None:
        mine = []
        for request in share:
            begin = time.perf_counter()
            try:
                status, _ = connection.exchange(request)
            except OSError as error:
                bad.append(str(error))
                break
            mine.append(time.perf_counter() - begin)
            if not accept(status):
                bad.append(f"status {status}")
                break
        latencies.extend(mine)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(opened, shares, strict=True)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    for connection in opened:
        connection.close()
    if bad:
        raise RuntimeError(f"expected every request to be accepted, got {bad[0]}")
    cuts = statistics.quantiles(latencies, n=20) if len(latencies) > 1 else latencies * 19
    return Measurement(len(latencies), len(latencies) / took, statistics.median(latencies) * 1000, cuts[-1] * 1000)
