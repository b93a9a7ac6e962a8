"""A lab after a scenario, and a Chromium that opens its admin centre and records errors and foreign requests."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.emulator.config import Config
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.scenarios.lab import chain, key_cache
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.mail.authority import MailAuthority, MailCertificate

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or ""
# What Chromium would ask its maker for when it starts.
QUIET: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
)  # fmt: skip
AXE: Final = Path(__file__).parents[2] / "clients" / "node" / "node_modules" / "axe-core" / "axe.min.js"
BEGIN: Final = datetime(2026, 3, 2, 8, tzinfo=UTC)
_NAMES: Final = {"ios": "iPhone", "windows": "Windows PC"}
SCREENSHOTS: Final = "PFXLAB_SCREENSHOTS"
"""Environment variable that names the folder of screenshots; without it they go to the test's own."""


@dataclass
class Stage:
    """The lab, and the facts of it that tests need."""

    lab: Lab
    history: list[MailCertificate]
    upn: str

    async def import_one(self, made: MailCertificate, upn: str | None = None) -> str:
        """Import a certificate over Graph; return the record's id."""
        async with self.lab.graph() as client:
            await client.sign_in(self.lab.admin_form())
            pfx, key = open_pfx(made.pfx, made.password), self.lab.encryption_key()
            record = await chain.import_pfx(
                client, pfx, made.password, upn or self.upn, made.purpose, key, made.padding
            )
            return str(record["id"])

    async def deliver(self, *platforms: str) -> None:
        """Let the user's devices check in, the connector work, and the devices check in again."""
        for platform in platforms:
            device = await self.lab.device(platform, self.upn, name=f"{_NAMES[platform]} of user")
            for _ in range(3):
                await self.lab.check_in(device)
                await self.lab.connectors_work()
                self.lab.clock.advance(timedelta(minutes=7))


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Yield a lab with a user's certificates on an iPhone and a PC, one expired certificate and a refused import."""
    key_cache.lay_out(folder)
    (folder / "reports").mkdir(parents=True)
    config = Config(reports=folder / "reports")
    async with Lab(folder, config, at=BEGIN, stepped=True) as lab:
        lab.new_key = key_cache.key_pool()
        await lab.start_connector()
        upn = lab.operator.credentials.user_upn
        stage = Stage(lab, MailAuthority(BEGIN, key_cache.key_pool()).history(upn), upn)
        await lab.connectors_work()
        for made in stage.history[:3]:
            await stage.import_one(made)
            lab.clock.advance(timedelta(minutes=3))
        async with lab.graph() as client:
            await client.sign_in(lab.admin_form())
            for platform in ("ios", "windows"):
                group = lab.operator.credentials.group_id
                await chain.assign_profile(client, platform, IntendedPurpose.smimeEncryption, group)
        await stage.deliver("ios", "windows")
        await _waiting(stage)
        yield stage


async def _waiting(stage: Stage) -> None:
    """Let another user's Mac request a certificate that the connector has not processed yet."""
    lab, upn = stage.lab, "second@pfxlab.example"
    lab.add_user(upn)
    await stage.import_one(MailAuthority(BEGIN, key_cache.key_pool()).history(upn)[2], upn)
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        group = lab.operator.credentials.group_id
        await chain.assign_profile(client, "macos", IntendedPurpose.smimeEncryption, group)
    await lab.check_in(await lab.device("macos", upn, name="Mac of second"))


@dataclass
class Watched:
    """A page, and everything that it should not have done."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.complaints.append(f"request to {request.url}")

    def watch(self) -> None:
        """Start recording."""
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    async def open(self, path: str) -> None:
        """Go to a page of the admin centre."""
        await self.page.goto(f"{self.origin}{path}")

    async def axe(self) -> list[str]:
        """Return the accessibility violations that axe-core finds on the page."""
        await self.page.evaluate(AXE.read_text("utf-8"))
        found: dict[str, Any] = await self.page.evaluate("axe.run(document)")
        return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:120]}" for one in found["violations"]]

    async def shoot(self, folder: Path, name: str) -> Path:
        """Write a screenshot and return its file."""
        chosen = os.environ.get(SCREENSHOTS)
        file = (Path(chosen) if chosen else folder) / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=file)
        return file


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Yield a Chromium with default preferences."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking(browser: Browser, lab: Lab, **how: Any) -> AsyncIterator[Watched]:
    """Yield a page in a browser that has no memory."""
    how = {"viewport": {"width": 1280, "height": 800}, **how}
    context = await browser.new_context(ignore_https_errors=True, **how)
    watched = Watched(await context.new_page(), lab.emulator.origin)
    watched.watch()
    try:
        yield watched
    finally:
        await context.close()


async def signed_in(watched: Watched, lab: Lab, to: str = "/admin/no-tour") -> None:
    """Sign in as the lab's administrator, by keyboard and button."""
    made = lab.operator.credentials
    await watched.open("/admin")
    await watched.page.get_by_label("User name").fill(made.operator_upn)
    await watched.page.get_by_label("Password").fill(made.operator_password)
    await watched.page.get_by_role("button", name="Sign in").click()
    await watched.page.wait_for_url("**/admin")
    await watched.open(to)
