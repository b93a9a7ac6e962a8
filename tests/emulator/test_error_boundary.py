"""Requests without a handler: each component's own error, a journal entry, and no traceback for the client."""

import asyncio
import json
import logging
from collections.abc import Callable

import pytest

from pfxlab.emulator import proxy
from pfxlab.emulator.faults.plan import Faults
from pfxlab.emulator.lab import http_faults
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire import enrollment as paths
from pfxlab.emulator.wire.omadm import mde2, soap
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.raw_wire import RawWire

SECRET = "hunter2-of-the-defect"
JUNK = b"\x00\x01junk"


def fault_type(body: bytes) -> str:
    """Return the error type of a SOAP fault."""
    answer = soap.parse_response(body)
    assert isinstance(answer, soap.Fault)
    return answer.error_type


def json_code(body: bytes) -> str:
    """Return the code of an error as Graph and the lab's own services send it."""
    return str(json.loads(body)["error"]["code"])


def oauth_error(body: bytes) -> str:
    """Return the error of RFC 6749, section 5.2."""
    return str(json.loads(body)["error"])


def kind_of_page(body: bytes) -> str:
    """Return `page` for HTML."""
    return "page" if body.startswith(b"<!doctype html>") else body.decode()


Reader = Callable[[bytes], str]
SIGN_IN_PAGE = "/common/oauth2/v2.0/authorize"
PLACES: list[tuple[str, str, str, Reader, str]] = [
    ("GET", "/beta/users", "graph", json_code, "InternalServerError"),
    ("GET", "/no-such-version", "graph", json_code, "InternalServerError"),
    ("POST", "/common/oauth2/v2.0/token", "entra", oauth_error, "server_error"),
    ("GET", SIGN_IN_PAGE, "entra", kind_of_page, "page"),
    ("GET", "/admin", "admin", kind_of_page, "page"),
    ("GET", "/lab/v1/health", "lab", json_code, "Defect"),
    ("POST", mde2.DISCOVERY_PATH, "intune", fault_type, "Defect"),
    ("POST", paths.OMADM_PATH, "intune", bytes.decode, ""),
    ("GET", paths.APPLE_ENROLL_PATH, "intune", bytes.decode, ""),
    ("POST", f"{paths.APPLE_SCEP_PATH}?operation=PKIOperation", "intune", bytes.decode, ""),
    ("PUT", paths.APPLE_CHECKIN_PATH, "intune", bytes.decode, ""),
    ("PUT", paths.APPLE_COMMAND_PATH, "intune", bytes.decode, ""),
    ("POST", contract.ENROLL_PATH, "intune", json_code, "Defect"),
]
"""Method, path, party of the journal's entry, what reads the answer, and what it says. No body where bytes are read."""


async def test_defect_is_the_protocols_own_error_and_an_entry(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lab itself breaks, the client gets its protocol's error, and the journal an entry `Defect`."""

    def broken(_: Faults) -> bool:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(http_faults, "LABS_OWN", ())
    monkeypatch.setattr(Faults, "any", property(broken))
    wire = RawWire(lab)
    for method, path, party, read, expected in PLACES:
        before = lab.cloud.journal.last()
        status, body = await wire(method, path, b"{}")
        assert (path, status, read(body)) == (path, 500, expected)
        assert not any(word in body for word in (SECRET.encode(), b"Traceback"))
        (entry,) = wire.entries("Defect", before)
        assert (entry.party, entry.outcome, entry.fields["path"]) == (party, "failed", path.partition("?")[0])
        assert (entry.reason or "").startswith("bug in the lab: RuntimeError in broken, line")
        assert SECRET not in str(entry)


async def test_defect_behind_graphs_dispatch_is_reported_alike(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resource that breaks, alone or in a batch, is Graph's 500 with the rule `Defect` in the journal."""

    def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("pfxlab.emulator.graph.dispatch._throttle", broken)
    async with lab.graph() as client:
        token = await client.sign_in(lab.admin_form())
    wire, authorization = RawWire(lab), f"Authorization: Bearer {token}".encode()
    status, body = await wire("GET", "/beta/users", b"", authorization)
    assert (status, json_code(body)) == (500, "InternalServerError")
    batch = json.dumps({"requests": [{"id": "1", "method": "GET", "url": "/users"}]}).encode()
    status, body = await wire("POST", "/beta/$batch", batch, authorization, b"Content-Type: application/json")
    assert [answer["status"] for answer in json.loads(body)["responses"]] == [500]
    assert [entry.reason.partition(",")[0] for entry in wire.entries("Defect")] == [
        "bug in the lab: RuntimeError in broken"
    ] * 2


async def test_defect_of_the_proxy_ends_one_connection(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection on which the proxy breaks is closed and is one `Defect` in log and journal; the next one works."""
    sound = proxy.decide

    def broken(_: str) -> None:
        monkeypatch.setattr(proxy, "decide", sound)
        raise RuntimeError(SECRET)

    monkeypatch.setattr(proxy, "decide", broken)
    answers = []
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(lab.emulator.proxy_url.rpartition(":")[2]))
        writer.write(b"CONNECT graph.microsoft.com:443 HTTP/1.1\r\n\r\n")
        answers.append(await reader.read(12))
        writer.close()
    assert answers == [b"", b"HTTP/1.1 200"]
    (entry,) = RawWire(lab).entries("Defect")
    assert (entry.party, entry.event, entry.outcome) == ("proxy", "connection", "failed")
    assert (entry.reason or "").startswith("bug in the lab: RuntimeError in broken, line")
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == ["unexpected error"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_junk_under_a_content_encoding_is_a_bad_request(lab: Lab, coding: str) -> None:
    """A body that does not match its Content-Encoding is refused in the protocol's form."""
    wire = RawWire(lab)
    token = f"Authorization: Bearer {lab.emulator.control_token}".encode()
    encoding = f"Content-Encoding: {coding}".encode()
    read: list[tuple[str, str, Reader, int, str | None]] = [("POST", "/beta/users", json_code, 400, "BadRequest"),
            ("POST", "/common/oauth2/v2.0/token", oauth_error, 400, "invalid_request"),
            ("POST", SIGN_IN_PAGE, bytes.decode, 400, None),
            ("POST", "/admin/sign-in", kind_of_page, 400, "page"),
            ("POST", "/lab/v1/clock", json_code, 400, "BadEncoding"),
            ("POST", mde2.ENROLLMENT_PATH, fault_type, 500, "BadEncoding"),
            ("PUT", paths.APPLE_CHECKIN_PATH, bytes.decode, 400, ""),
            ("POST", contract.ENROLL_PATH, json_code, 400, "BadEncoding")]  # fmt: skip
    for method, path, reader, status, expected in read:
        got, body = await wire(
            method, path, JUNK * 3, token, encoding, b"Content-Type: application/x-www-form-urlencoded"
        )
        assert (path, got) == (path, status)
        if expected is not None:
            assert reader(body) == expected
    assert wire.entries("Defect") == []


@pytest.mark.parametrize(
    "host",
    [
        b"\xff\xfe",
        b"\xed\xa0\x80:1",
        b"a b",
        b"[::1",
        b":x",
        b"localhost:99999",
        b"a:b:c",
        b"x@y",
        b"a/b",
        b"\xc2\xb2:1",
    ],
)
async def test_invalid_host_is_a_bad_request(lab: Lab, host: bytes) -> None:
    """A Host header without a valid name and port gets 400 from every component: RFC 9112, section 3.2."""
    wire = RawWire(lab)
    for method, path, _, _, _ in PLACES:
        status, body = await wire(method, path, b"", host=host)
        expected = 500 if path == mde2.DISCOVERY_PATH else 400
        assert (path, status) == (path, expected)
        assert b"Traceback" not in body
    assert len(wire.entries("BadHost")) == len(PLACES)


async def test_control_body_over_the_limit_is_too_large(lab: Lab) -> None:
    """A control request over the size limit gets 413 and a code."""
    token = f"Authorization: Bearer {lab.emulator.control_token}".encode()
    body = b" " * (contract.LARGEST_BODY + 1)
    status, answer = await RawWire(lab)("POST", "/lab/v1/clock", body, token)
    assert (status, json_code(answer)) == (413, "BodyTooLarge")
