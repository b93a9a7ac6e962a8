"""Connections to the emulator's port when it stops."""

import asyncio
import gc
import socket
import ssl
import warnings
from pathlib import Path

from tests.conftest import new_lab

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
