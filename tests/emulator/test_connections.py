"""Connections that ask for nothing, and more of them than there are file descriptors."""

import asyncio
import json
import resource
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab

IDLE_SECONDS = 1.0
HEALTH = b"GET /lab/v1/health HTTP/1.1\r\nHost: localhost\r\n"


async def received(lab: Lab, data: bytes, *, proxy: bool = False) -> bytes:
    """Return everything that a connection brings until the other side ends it."""
    port = int(lab.emulator.proxy_url.rpartition(":")[2]) if proxy else lab.emulator.port
    tls = None if proxy else ssl.create_default_context(cafile=str(lab.ca_file))
    name = None if proxy else "localhost"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


async def test_connections_without_a_whole_request_are_closed(tmp_path: Path) -> None:
    """Nothing, half a head, and nothing after an answer: each connection is closed, the proxy's as well."""
    lab = new_lab(tmp_path / "lab")
    lab.emulator.idle_seconds = IDLE_SECONDS
    async with lab:
        silent, half, idle, proxied = await asyncio.gather(
            received(lab, b""),
            received(lab, HEALTH),
            received(lab, HEALTH + b"\r\n"),
            received(lab, b"CONNECT graph.microsoft.com:443 HTTP/1.1\r\nHost:", proxy=True),
        )
    assert (silent, half, proxied) == (b"", b"", b"")
    assert idle.startswith(b"HTTP/1.1 200")


async def test_client_that_offers_http_2_is_answered_by_http_1_1(lab: Lab) -> None:
    """HTTP/2 is not taken from a TLS client that offers both versions, and its HTTP/1.1 request is answered."""
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    tls.set_alpn_protocols(["h2", "http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.emulator.port, ssl=tls, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() in ("http/1.1", None)
    writer.write(HEALTH + b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


def few_files() -> None:
    """Let this process open no more than a hundred files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Return the facts of a `pfxlab up` that may open few files, and the file of its standard error."""
    ready, errors = tmp_path / "ready.json", tmp_path / "errors"
    command = [sys.executable, "-m", "pfxlab", "up", "--ready-file", str(ready)]
    with errors.open("wb") as sink:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sink, preexec_fn=few_files)
        try:
            while not ready.exists():
                assert process.poll() is None, errors.read_text()
                time.sleep(0.05)
            yield json.loads(ready.read_text()), errors
        finally:
            process.terminate()
            process.wait()


def test_more_connections_than_files_are_one_line_of_the_log(up: tuple[dict[str, Any], Path]) -> None:
    """A lab that can open no more files says so once, and goes on when connections are closed."""
    facts, errors = up
    port = int(facts["graph_url"].rpartition(":")[2].partition("/")[0])
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
    while not errors.stat().st_size:
        time.sleep(0.05)
    # The listening socket is tried again each second.
    time.sleep(2.5)
    for one in held:
        one.close()
    context = ssl.create_default_context(cafile=facts["ca_file"])
    health = f"{facts['control_url']}/health"
    with urllib.request.urlopen(health, context=context, timeout=60) as answer:  # noqa: S310 - the lab's https
        assert answer.status == 200
    lines = [line for line in errors.read_text().splitlines() if line]
    assert len([line for line in lines if "no new connection can be accepted (Too many open files)" in line]) == 1
    assert "Traceback" not in errors.read_text()
