"""Connections to the emulator's port when it stops."""

import asyncio
import gc
import socket
import ssl
import time
import warnings
from pathlib import Path

import pytest

from pfxlab.emulator import server
from pfxlab.emulator.connections import ending
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab

LIMIT = 60.0
_REQUEST = b"GET /lab/v1/health HTTP/1.1\r\nHost: localhost\r\n%s\r\n"


async def stop_with_silent_clients(folder: Path) -> list[ssl.SSLSocket]:
    """Run a lab until clients have their responses, and stop it; no client responds to the end of its TLS session."""
    async with new_lab(folder) as lab:
        return [
            await asyncio.to_thread(_connected, lab.emulator.port, request)
            for request in (b"", _REQUEST % b"", _REQUEST % b"Connection: close\r\n")
        ]


def _connected(port: int, request: bytes) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    if request:
        client.sendall(request)
        assert client.recv(12) == b"HTTP/1.1 200"
    return client


def test_stop_closes_connections_of_clients_that_do_not_answer(tmp_path: Path) -> None:
    """A stopped emulator keeps no connection, whether its clients end their TLS sessions or not."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        clients = asyncio.run(stop_with_silent_clients(tmp_path / "lab"))
        gc.collect()
    for client in clients:
        client.close()
    assert [str(one.message) for one in seen] == []


def _deaf(port: int) -> ssl.SSLSocket:
    """Return a client that asks for much more than fits into buffers, and reads the first bytes only."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = socket.create_connection(("127.0.0.1", port))
    client = context.wrap_socket(sock, server_hostname="localhost")
    client.sendall(b"GET /beta/$metadata HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


async def until_stuck(lab: Lab) -> None:
    """Wait until a connection has bytes to send that its client does not take."""
    running = lab.emulator._runner
    assert running is not None
    assert running.server is not None
    sizes: list[int] = []
    while not sizes or sizes[-1] == 0 or sizes[-5:] != sizes[-1:] * 5:
        await asyncio.sleep(0.05)
        sizes += [one.transport.get_write_buffer_size() for one in running.server.connections if one.transport]


async def test_client_that_reads_nothing_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that leaves its answers unread is cut off a second after the end began, long before requests are."""
    monkeypatch.setattr(server, "_SHUTDOWN_SECONDS", LIMIT)
    async with new_lab(tmp_path / "lab") as lab:
        client = await asyncio.to_thread(_deaf, lab.emulator.port)
        await until_stuck(lab)
        begin = time.monotonic()
    assert time.monotonic() - begin < LIMIT
    client.close()


class Transport:
    """Stands in for a connection: how many bytes are unsent at each look."""

    def __init__(self, *unsent: int) -> None:
        self._unsent, self.aborted = list(unsent), False

    def get_write_buffer_size(self) -> int:
        """Return the bytes of the next look."""
        return self._unsent.pop(0) if len(self._unsent) > 1 else self._unsent[0]

    def abort(self) -> None:
        """Keep in mind that it was cut off."""
        self.aborted = True


async def test_client_that_reads_gets_its_answer_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is cut off when nothing was taken between two looks, not while its client reads, however slowly."""
    monkeypatch.setattr(ending, "_UNREAD_SECONDS", 0)
    deaf, slow, idle = Transport(9000, 9000), Transport(9000, 8999, 8000, 0), Transport(0)
    watch = asyncio.create_task(ending._abort_unread([deaf, slow, idle]))  # type: ignore[list-item]
    for _ in range(10):
        await asyncio.sleep(0)
    watch.cancel()
    assert (deaf.aborted, slow.aborted, idle.aborted) == (True, False, False)
