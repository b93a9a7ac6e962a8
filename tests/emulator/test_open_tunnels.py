"""CONNECT tunnels that are open when a lab ends: `pfxlab exec` after its command, `pfxlab up` at a signal."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONNECT = b"CONNECT graph.microsoft.com:443 HTTP/1.1\r\nHost: graph.microsoft.com:443\r\n\r\n"
REQUEST = b"%s HTTP/1.1\r\nHost: graph.microsoft.com\r\n%s\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The first bytes of a TLS 1.2 record that announces 512: RFC 5246, section 6.2.1."""

COMMAND = """
import os, pathlib, sys, time
new = pathlib.Path(sys.argv[1] + ".new")
new.write_text('{"proxy_url": "%s"}' % os.environ["HTTPS_PROXY"])
new.rename(sys.argv[1])
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
"""


def tunnel(port: int) -> socket.socket:
    """Return a tunnel to the lab's Graph."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(CONNECT)
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    return client


def in_tls(port: int, line: bytes, fields: bytes = b"", body: bytes = b"") -> ssl.SSLSocket:
    """Return a tunnel in which a request was sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_socket(tunnel(port), server_hostname="graph.microsoft.com")
    client.sendall(REQUEST % (line, fields) + body)
    return client


def held(port: int) -> list[socket.socket]:
    """Return connections to the proxy: silent, idle, in a handshake, between requests, unread, in an upload."""
    silent, half, answered = socket.create_connection(("127.0.0.1", port)), tunnel(port), in_tls(port, b"GET /v1.0/x")
    half.sendall(CLIENT_HELLO)
    assert answered.recv(12).startswith(b"HTTP/1.1")
    unread = in_tls(port, b"GET /v1.0/$metadata")
    for _ in range(200):
        unread.sendall(REQUEST % (b"GET /v1.0/$metadata", b""))
    upload = in_tls(port, b"POST /beta/users", b"Content-Length: 100000\r\n", b"half")
    return [silent, tunnel(port), half, answered, unread, upload]


@pytest.mark.parametrize(
    ("ended_by", "code"),
    [("exec", 0), (signal.SIGTERM, 0), pytest.param(signal.SIGINT, 0, marks=pytest.mark.campaign)],
)
def test_open_tunnels_end_quietly_with_the_lab(tmp_path: Path, ended_by: str | signal.Signals, code: int) -> None:
    """A lab with open tunnels ends with its own exit code, says nothing, and leaves no socket to the collector."""
    ready, leave = tmp_path / "ready.json", tmp_path / "leave"
    command = ["exec", "--", sys.executable, "-c", COMMAND, str(ready), str(leave)]
    arguments = command if ended_by == "exec" else ["up", "--ready-file", str(ready)]
    lab = subprocess.Popen(
        [sys.executable, "-W", "always::ResourceWarning", "-m", "pfxlab", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    clients: list[socket.socket] = []
    try:
        while not ready.exists():
            assert lab.poll() is None, lab.communicate()[1]
            time.sleep(0.05)
        clients = held(int(json.loads(ready.read_text())["proxy_url"].rpartition(":")[2]))
        if isinstance(ended_by, signal.Signals):
            os.kill(lab.pid, ended_by)
        else:
            leave.touch()
        _, errors = lab.communicate(timeout=60)
    finally:
        for client in clients:
            client.close()
        lab.kill()
        lab.wait()
    noise = [line for line in errors.splitlines() if "Traceback" in line or "Warning" in line or "Error" in line]
    assert (lab.returncode, noise) == (code, [])
