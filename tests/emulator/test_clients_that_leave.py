"""Clients that go away before they have their answer: no noise, and the journal says so."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire.omadm import mde2
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.graph.client import PFX, record
from tests.emulator.raw_wire import RawWire


async def sent(lab: Lab, data: bytes) -> None:
    """Send bytes on a connection of their own, then break it off."""
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    _, writer = await asyncio.open_connection("127.0.0.1", lab.emulator.port, ssl=tls, server_hostname="localhost")
    writer.write(data)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()


async def until_journal_has(lab: Lab, rule: str) -> list[str]:
    """Wait for entries with a rule; return their outcomes."""
    for _ in range(200):
        if entries := lab.cloud.journal.entries(rule=rule):
            return [entry.outcome for entry in entries]
        await asyncio.sleep(0.05)
    return []


def head(lab: Lab, token: str, length: int) -> bytes:
    """Return the head of an import."""
    return (
        f"POST {PFX} HTTP/1.1\r\nHost: localhost:{lab.emulator.port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def signed_in(lab: Lab) -> str:
    """Return an administrator's token."""
    async with lab.graph() as client:
        return await client.sign_in(lab.admin_form())


async def test_upload_that_is_cut_off_imports_nothing(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """An import whose client goes away half way is in the journal as refused, stores nothing and logs nothing."""
    body = json.dumps(record(lab)).encode()
    await sent(lab, head(lab, await signed_in(lab), len(body)) + body[: len(body) // 2])
    assert await until_journal_has(lab, "ClientGone") == ["refused"]
    assert len(lab.cloud.certificates.rows()) == 0
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == []


async def test_work_done_after_the_client_left_is_told(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An import that is stored after its client went away is in the journal, with a note that nobody got the answer."""
    body, token, read = json.dumps(record(lab)).encode(), await signed_in(lab), web.Request.read

    async def late(request: web.Request) -> bytes:
        whole = await read(request)
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return whole

    monkeypatch.setattr(web.Request, "read", late)
    await sent(lab, head(lab, token, len(body)) + body)
    assert await until_journal_has(lab, "ClientGone") == ["ok"]
    assert len(lab.cloud.certificates.rows()) == 1
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("line", ["GET /\xb2 HTTP/1.1", "GET / NONSENSE", "GET / HTTP/1.1\r\nContent-Length: x"])
async def test_message_that_is_no_http_is_refused_quietly(
    lab: Lab, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that are no HTTP/1.1 get 400 and an entry in the journal, and no traceback in the log."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", lab.emulator.port, ssl=RawWire(lab).tls, server_hostname="localhost"
    )
    writer.write(line.encode("latin-1") + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] == b"400"
    assert b"Traceback" not in answer
    assert await until_journal_has(lab, "BadMessage") == ["refused"]
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("value", [b"\xed\xa0\x80", b"200-ok", b"\xff"])
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("GET", "/lab/v1/health", 200), ("GET", "/none", 404), ("CONNECT", "/beta/users", 400)],
)
async def test_odd_expectation_is_ignored(lab: Lab, method: str, path: str, expected: int, value: bytes) -> None:
    """An Expect header that names nothing known is ignored (RFC 9110, section 10.1.1), without a route as well."""
    wire = RawWire(lab)
    assert (await wire(method, path, b"", b"Accept: */*"))[0] == expected
    assert (await wire(method, path, b"", b"Expect: " + value))[0] == expected


async def trickled(lab: Lab, first: bytes, pieces: int, pause: float, piece: bytes = b" ") -> bytes:
    """Send a head and then a piece at a time; return what comes until the server ends the connection."""
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.emulator.port, ssl=tls, server_hostname="localhost")

    async def send() -> None:
        writer.write(first)
        with contextlib.suppress(ConnectionError):
            for _ in range(pieces):
                await asyncio.sleep(pause)
                writer.write(piece)
                await writer.drain()

    sending = asyncio.create_task(send())
    try:
        return await reader.read()
    finally:
        sending.cancel()
        writer.close()


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Lab]:
    """Give a lab that waits a quarter of a second for bodies."""
    lab = new_lab(tmp_path / "lab")
    lab.emulator.body_seconds = 0.25
    async with lab:
        yield lab


@pytest.mark.parametrize("pieces", [0, 500], ids=["nothing", "a byte now and then"])
async def test_body_that_does_not_come_is_408(impatient: Lab, pieces: int, caplog: pytest.LogCaptureFixture) -> None:
    """A client that sends a head and then hardly anything is answered 408, its connection ends, nothing is stored."""
    request = head(impatient, await signed_in(impatient), 1000)
    answer = await trickled(impatient, request, pieces, 0.02)
    assert answer.split()[1] == b"408"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "RequestTimeout"
    (entry,) = impatient.cloud.journal.entries(rule="SlowBody")
    assert (entry.party, entry.outcome) == ("graph", "refused")
    assert len(impatient.cloud.certificates.rows()) == 0
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/common/oauth2/v2.0/token", "application/x-www-form-urlencoded"),
        ("/common/oauth2/v2.0/token", "multipart/form-data; boundary=x"),
        (mde2.ENROLLMENT_PATH, "application/soap+xml"),
        (contract.ENROLL_PATH, "application/json"),
        ("/lab/v1/clock", "application/json"),
    ],
)
async def test_every_component_ends_slow_bodies(
    impatient: Lab, path: str, content_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Sign-in, enrolment, connector channel and control API end a chunked body that stops, and write it down."""
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost:{impatient.emulator.port}\r\nContent-Type: {content_type}\r\n"
        f"Authorization: Bearer {impatient.emulator.control_token}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n--x\r"
    )
    answer = await trickled(impatient, request.encode(), 0, 0)
    assert answer.split()[1] in (b"408", b"500"), answer  # SOAP reports every fault with 500
    assert [one.outcome for one in impatient.cloud.journal.entries(rule="SlowBody")] == ["refused"]
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_body_at_a_usual_rate_may_take_its_time(impatient: Lab) -> None:
    """A body that takes longer than the limit, but comes at more than 500 bytes a second, is read to its end."""
    piece = b" " * 1000
    request = head(impatient, await signed_in(impatient), 3 * len(piece))
    answer = await trickled(impatient, request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 3, 0.15, piece)
    assert answer.split()[1] == b"400"
    assert impatient.cloud.journal.entries(rule="SlowBody") == []
