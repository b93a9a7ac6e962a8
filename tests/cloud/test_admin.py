"""The admin centre as a browser sees it: sign-in, connectors, their event logs, exports; nothing for strangers."""

import asyncio
import csv
import io
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from yarl import URL

from connector_sim.eventlog import HEALTH_UPLOAD_SUCCESS, VERSION_DEPRECATED, Event
from scenarios.lab import Lab

UNTRUSTED = '<script>alert("x")</script>'


class Browser:
    """Keeps cookies and follows redirects, as a browser does."""

    def __init__(self, lab: Lab, session: aiohttp.ClientSession) -> None:
        self._lab, self._session = lab, session

    async def get(self, path: str) -> tuple[int, str, Any]:
        """Return status, text and headers of a page."""
        async with self._session.get(path) as response:
            return response.status, await response.text(), response.headers

    async def sign_in(self, upn: str, password: str, to: str = "/admin") -> tuple[int, str, Any]:
        """Return the page after the sign-in form was sent."""
        form = {"username": upn, "password": password, "to": to}
        async with self._session.post("/admin/sign-in", data=form) as response:
            return response.status, await response.text(), response.url


@pytest.fixture
async def browser(lab: Lab) -> AsyncIterator[Browser]:
    """Return a browser that has not signed in."""
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(lab.emulator.origin, connector=connector) as session:
        yield Browser(lab, session)


@pytest.fixture
async def admin(lab: Lab, browser: Browser) -> Browser:
    """Return a browser an administrator has signed in with."""
    made = lab.operator.credentials
    status, text, _ = await browser.sign_in(made.operator_upn, made.operator_password)
    assert (status, "Certificate connectors" in text) == (200, True)
    return browser


async def started(lab: Lab) -> str:
    """Start the lab's connector, wait for its first heartbeat and return its id."""
    await lab.start_connector()
    for _ in range(500):
        if any(event.id == HEALTH_UPLOAD_SUCCESS for event in lab.connector_events):
            break
        await asyncio.sleep(0.02)
    return lab.emulator.cloud.connectors.of_tenant(lab.operator.credentials.tenant_id)[0].id


async def test_strangers_see_the_sign_in_form_only(lab: Lab, browser: Browser) -> None:
    """Before sign-in every page is the form; a wrong password, and a user without a role, get no session."""
    connector = await started(lab)
    for path in ("/admin/connectors", f"/admin/connectors/{connector}", f"/admin/connectors/{connector}?format=json"):
        status, text, _ = await browser.get(path)
        assert (status, "Sign in" in text, connector in text.replace(path, "")) == (200, True, False)
    made = lab.operator.credentials
    lab.add_user("plain@pfxlab.example")
    for upn, password in (
        (made.operator_upn, "wrong"),
        ("plain@pfxlab.example", lab.operator.passwords["plain@pfxlab.example"]),
        ("", ""),
    ):
        status, text, _ = await browser.sign_in(upn, password)
        assert (status, "wrong" in text) == (401, True)
    assert "Sign in" in (await browser.get("/admin/connectors"))[1]


async def test_sign_in_leads_to_the_page_asked_for_and_to_no_other_site(lab: Lab, browser: Browser) -> None:
    """After sign-in the browser is where it wanted to be, and never at an address outside the pages."""
    made = lab.operator.credentials
    for to, lands in (
        ("/admin/connectors", "/admin/connectors"),
        ("https://elsewhere.example/", "/admin/connectors"),
        ("//elsewhere.example/admin", "/admin/connectors"),
        ("/adminelsewhere", "/admin/connectors"),
        ("/beta/users", "/admin/connectors"),
    ):
        _, _, url = await browser.sign_in(made.operator_upn, made.operator_password, to)
        assert url == URL(f"{lab.emulator.origin}{lands}")


async def test_session_ends_after_eight_hours(lab: Lab, admin: Browser) -> None:
    """A session is over eight hours later on the lab's clock."""
    assert "Certificate connectors" in (await admin.get("/admin/connectors"))[1]
    lab.clock.advance(timedelta(hours=8, seconds=1))
    assert "Sign in" in (await admin.get("/admin/connectors"))[1]


async def test_connector_and_its_event_log_are_shown(lab: Lab, admin: Browser) -> None:
    """A connector stands in the list with its state; its page has the product's event ids, of one level when asked."""
    connector = await started(lab)
    assert lab.connector is not None
    lab.connector._events(Event(VERSION_DEPRECATED, f"version {UNTRUSTED}"))
    await lab.connector.stop()
    listed = (await admin.get("/admin/connectors"))[1]
    assert f'href="/admin/connectors/{connector}"' in listed
    assert "✔ Active" in listed
    _, shown, headers = await admin.get(f"/admin/connectors/{connector}")
    for words in ("1 ServiceStarted", "5000 HealthMessageUploadSuccess", "0 succeeded, 0 failed"):
        assert words in shown
    assert "&lt;script&gt;" in shown
    assert UNTRUSTED not in shown
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    warnings = (await admin.get(f"/admin/connectors/{connector}?level=Warning"))[1]
    assert ("4 VersionDeprecated" in warnings, "1 ServiceStarted" in warnings) == (True, False)
    lab.clock.advance(timedelta(hours=2))
    assert "✖ Inactive" in (await admin.get("/admin/connectors"))[1]


async def test_tables_are_exported(lab: Lab, admin: Browser) -> None:
    """The same rows come as JSON and as CSV, in which no text is a formula."""
    connector = await started(lab)
    assert lab.connector is not None
    lab.connector._events(Event(VERSION_DEPRECATED, "=1+1"))
    await lab.connector.stop()
    async with admin._session.get(f"/admin/connectors/{connector}?format=json") as response:
        events = await response.json()
    assert {event["event"] for event in events} >= {1, 4, 5000}
    _, text, headers = await admin.get(f"/admin/connectors/{connector}?format=csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert headers["Content-Type"].startswith("text/csv")
    assert len(rows) == len(events)
    assert "'=1+1" in {row["text"] for row in rows}
    async with admin._session.get("/admin/connectors?format=json") as response:
        assert [one["id"] for one in await response.json()] == [connector]


async def test_unknown_connector_is_not_found(lab: Lab, admin: Browser) -> None:
    """The page of a connector that the tenant does not have is 404, whatever its id holds."""
    status, text, _ = await admin.get("/admin/connectors/%3Cb%3E")
    assert (status, "no connector" in text, "<b>" in text) == (404, True, False)


async def test_style_is_served_here(lab: Lab, admin: Browser) -> None:
    """The pages' style comes from the lab, so that they work without internet."""
    status, text, headers = await admin.get("/admin/style.css")
    assert (status, "prefers-color-scheme: dark" in text) == (200, True)
    assert headers["Content-Type"].startswith("text/css")


async def test_a_heartbeat_sent_again_tells_nothing_twice(lab: Lab) -> None:
    """Events whose answer was lost are told again and kept once; a thousand of a connector are kept."""
    connectors = lab.emulator.cloud.connectors
    lines = [
        {
            "time": f"2026-01-01T00:00:00.{number:06}",
            "id": 5000,
            "name": "n",
            "channel": "c",
            "level": "Error",
            "text": "t",
        }
        for number in range(1200)
    ]
    for _ in range(2):
        with lab.emulator.cloud.store.atomic():
            connectors.logged("one", lines[:400])
    assert len(connectors.events("one", limit=5000)) == 400
    with lab.emulator.cloud.store.atomic():
        connectors.logged("one", lines)
        connectors.logged("two", lines[:1])
    kept = connectors.events("one", limit=5000)
    assert (len(kept), kept[0]["time"]) == (1000, lines[-1]["time"])
    assert len(connectors.events("two")) == 1
