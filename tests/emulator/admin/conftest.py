"""A browser over the admin centre, with and without a signed-in administrator."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from pfxlab.connector_sim.eventlog import HEALTH_UPLOAD_SUCCESS
from pfxlab.scenarios.lab.lab import Lab


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
    assert (status, "<h1>Overview</h1>" in text) == (200, True)
    return browser


async def started(lab: Lab) -> str:
    """Start the lab's connector, wait for its first heartbeat and return its id."""
    await lab.start_connector()
    for _ in range(500):
        if any(event.id == HEALTH_UPLOAD_SUCCESS for event in lab.connector_events):
            break
        await asyncio.sleep(0.02)
    return lab.cloud.connectors.of_tenant(lab.operator.credentials.tenant_id)[0].id
