"""What a client sends and nobody else may see: it stands in no log, no error and no journal entry."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from urllib.parse import quote

import pytest
import pytest_asyncio

from pfxlab.emulator.server import build_app
from pfxlab.emulator.wire.text import printable, quoted, shown
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.raw_wire import RawWire

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = "canary-4711-of-a-secret"
HIDDEN = CANARY.encode()
FORM = b"Content-Type: application/x-www-form-urlencoded"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Return one lab for all tests of this file."""
    async with new_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what is logged, at every level."""
    caplog.set_level(logging.DEBUG)
    return caplog


def journal(lab: Lab) -> str:
    """Return all that the journal has."""
    lab.cloud.journal.flush()
    return json.dumps([asdict(one) for one in lab.cloud.journal.entries(limit=10_000)])


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Bearer " + HIDDEN + b"\x01",
        b"Cookie: pfxlab_admin=" + HIDDEN + b"\x00",
        b"X\x01" + HIDDEN + b": 1",
        b"Content-Length: " + HIDDEN,
        b"Transfer-Encoding: " + HIDDEN,
        HIDDEN,
    ],
    ids=["token", "cookie", "name", "length", "encoding", "no header"],
)
async def test_what_is_no_http_is_not_repeated(lab: Lab, logged: pytest.LogCaptureFixture, line: bytes) -> None:
    """A header that cannot be read is answered with 400 and logged, and neither says what was in it."""
    status, body = await RawWire(lab)("GET", "/v1.0/me", b"", line)
    assert (status, HIDDEN in body, CANARY in logged.text) == (400, False, False)
    assert b"expected a request as HTTP/1.1 has it" in body
    assert "a request that is no HTTP" in logged.text


async def test_address_that_is_none_is_not_repeated(lab: Lab, logged: pytest.LogCaptureFixture) -> None:
    """A request line that cannot be read is answered without it, and not logged."""
    status, body = await RawWire(lab)("GET", f"/v1.0/me?access_token={CANARY}\x01")
    assert (status, HIDDEN in body, CANARY in logged.text) == (400, False, False)


def addresses(lab: Lab) -> list[tuple[str, str]]:
    """Return method and path of every route the server has."""
    found = []
    for route in build_app(lab.cloud, "x").router.routes():
        path = "" if route.resource is None else str(route.resource.canonical)
        for name, value in (("{version:(?i:beta|v1\\.0)}{tail:/.*|$}", "/Beta/me"), ("{tail:.*}", "me")):
            path = path.replace(name, value)
        path = path.replace("{tenant}", "common").replace("{tail}", "me").replace("{version}", "v1.0")
        method = "PATCH" if route.method == "*" else route.method
        if not path.endswith("/live") and method != "HEAD":
            found.append((method, path.replace("{", "x").replace("}", "x")))
    return found


async def test_credentials_are_repeated_nowhere(lab: Lab, logged: pytest.LogCaptureFixture) -> None:
    """Whichever route gets them, a token, a cookie, a code or the secrets of a form come back in no error, log or entry."""
    wire = RawWire(lab)
    secrets = ("password", "client_secret", "client_assertion", "assertion", "code", "device_code", "refresh_token",
               "code_verifier", "user_code", "csrf")  # fmt: skip
    fields = {"client_id": lab.operator.credentials.admin_client_id, "username": "a@pfxlab.example"}
    form = "&".join([*(f"{name}={quote(value)}" for name, value in fields.items()),
                     *(f"{name}={CANARY}" for name in secrets)]).encode()  # fmt: skip
    tried = 0
    for grant in ("password", "client_credentials", "authorization_code", "refresh_token", "device_code",
                  "urn:ietf:params:oauth:grant-type:jwt-bearer"):  # fmt: skip
        body = form + f"&grant_type={quote(grant)}&requested_token_use=on_behalf_of".encode()
        status, answer = await wire("POST", "/common/oauth2/v2.0/token", body, FORM)
        assert (400 <= status < 500, HIDDEN in answer) == (True, False), (grant, answer)
    for method, path in addresses(lab):
        sent = form if method in ("POST", "PUT", "PATCH") else b""
        headers = (
            b"Authorization: Bearer " + HIDDEN,
            b"Cookie: pfxlab_admin_%d=%s" % (lab.emulator.port, HIDDEN),
            FORM,
        )
        _, answer = await wire(method, path, sent, *headers)
        assert HIDDEN not in answer, (method, path, answer)
        tried += 1
    assert tried > 60
    assert CANARY not in logged.text
    assert CANARY not in journal(lab)


async def test_other_values_are_cut_and_escaped(lab: Lab) -> None:
    """What a client sent in the wrong place comes back in a refusal with 80 characters at most, none of them a control."""
    long = "x\x1b[31m" + "y" * 500
    wire, before = RawWire(lab), lab.cloud.journal.count()
    for field in ("client_id", "scope", "grant_type"):
        fields = {**lab.admin_form(), "scope": "https://graph.microsoft.com/.default", field: long}
        body = "&".join(f"{name}={quote(value)}" for name, value in fields.items()).encode()
        _, answer = await wire("POST", "/common/oauth2/v2.0/token", body, FORM)
        assert "\x1b" not in json.loads(answer)["error_description"]
        assert b"y" * 80 not in answer
    reasons = [entry.reason or "" for entry in lab.cloud.journal.entries(limit=10_000)[before:]]
    assert len(reasons) == 3
    assert [reason for reason in reasons if "\x1b" in reason or "y" * 80 in reason] == []


async def test_what_is_shown_of_a_value() -> None:
    """A value is cut at 80 characters, its control characters are escaped; a terminal's text keeps its lines."""
    assert (shown("a\x1b[31mb\n"), quoted("it's"), quoted("z" * 81)) == ("a\\x1b[31mb\\n", '"it\'s"', f"'{'z' * 80}'…")
    assert printable("a\x1b[31m\r\nb\tc\x9b\u202ed") == "a\\x1b[31m\\r\nb\tc\\x9b\\u202ed"
