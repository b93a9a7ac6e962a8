"""The admin centre in a real browser: every page, live, by mouse and by keyboard, without help from elsewhere."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from pfxlab.scenarios.mail.authority import MailAuthority
from tests.conftest import movable_wall
from tests.emulator.admin.browser import AXE, BEGIN, CHROMIUM, Stage, Watched, chromium, looking, signed_in, staged

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"),
    pytest.mark.skipif(
        not AXE.exists() and not os.environ.get("CI"), reason="axe-core is not installed: npm is missing"
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Return a running Chromium."""
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Return a lab with a scenario behind it."""
    async with staged(tmp_path_factory.mktemp("stage") / "lab") as made:
        reports(made.lab.folder / "reports")
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def admin(browser: Browser, stage: Stage) -> AsyncIterator[Watched]:
    """Return a page on which the administrator has signed in; at its end it must have done nothing it should not."""
    async with looking(browser, stage.lab) as watched:
        await signed_in(watched, stage.lab)
        yield watched
        assert watched.complaints == []


def reports(folder: Path) -> None:
    """Write a verdict on a tool and a load run as our commands write them."""
    rules = [
        {
            "id": "padding-declared",
            "severity": "must",
            "outcome": "FAIL",
            "evidence": [],
            "source": "A page, https://example.org/a",
        },
        {"id": "key-matches", "severity": "must", "outcome": "PASS", "evidence": [], "source": "assumed: so be it"},
    ]
    (folder / "my-tool.json").write_text(json.dumps({"plan": "import", "verdict": "FAIL", "rules": rules}))
    figures = {"count": 10, "failures": 0, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}
    run = {
        "plan": "connector", "title": "Where a connector saturates", "verdict": "PASS", "unit": "deliveries",
        "bottleneck": "the machine was full", "saturation": {"per_second": 4000, "reached": True},
        "thresholds": [{"kept": True, "text": "kept: p95"}], "requests": {"deliver": figures}, "stages": {},
    }  # fmt: skip
    (folder / "monday").mkdir()
    (folder / "monday" / "report.json").write_text(json.dumps(run))
    plots = Path(__file__).parents[3] / "docs" / "performance"
    shutil.copyfile(plots / "connector-throughput.svg", folder / "monday" / "throughput.svg")
    (folder / "stray.json").write_text("[]")


def paths(stage: Stage) -> dict[str, str]:
    """Return every page of the admin centre by a name."""
    store = stage.lab.cloud.store

    def first(table: str) -> str:
        return str(store.scalar(f"select id from {table} order by rowid limit 1"))  # noqa: S608 - a test's tables

    return {
        "overview": "/admin",
        "certificates": "/admin/certificates",
        "certificate": f"/admin/certificates/{first('pfx_certificates')}",
        "profiles": "/admin/profiles",
        "profile-new": "/admin/profiles/new",
        "profile": f"/admin/profiles/{first('device_configurations')}",
        "connectors": "/admin/connectors",
        "connector": f"/admin/connectors/{first('connectors')}",
        "devices": "/admin/devices",
        "device": f"/admin/devices/{first('devices')}",
        "journal": "/admin/journal",
        "world": "/admin/world",
        "reports": "/admin/reports",
        "report-load": "/admin/reports/monday",
        "report-conformance": "/admin/reports/my-tool",
        "tour": "/admin/world?tour=7",
    }


async def test_each_page_is_shown_and_fit_for_everybody(admin: Watched, stage: Stage, tmp_path: Path) -> None:
    """Each page opens without a complaint of the browser, axe-core finds nothing, and a screenshot is taken."""
    problems = []
    for name, path in paths(stage).items():
        await admin.open(path)
        await expect(admin.page.locator("h1")).to_be_visible()
        problems += [f"{name}: {one}" for one in await admin.axe()]
        file = await admin.shoot(tmp_path, name)
        assert file.stat().st_size > 5000
    assert problems == []


async def test_dark_pages_have_enough_contrast(browser: Browser, stage: Stage, tmp_path: Path) -> None:
    """In dark colours the pages pass the same examination."""
    problems = []
    async with looking(browser, stage.lab, color_scheme="dark") as dark:
        await signed_in(dark, stage.lab)
        for name in ("overview", "certificate", "device", "world"):
            await dark.open(paths(stage)[name])
            problems += [f"{name}: {one}" for one in await dark.axe()]
            await dark.shoot(tmp_path, f"{name}-dark")
        assert dark.complaints == []
    assert problems == []


async def test_overview_changes_without_a_reload(admin: Watched, stage: Stage) -> None:
    """An import and a delivery appear on the open overview without a reload, and the focus stays where it is."""
    await admin.open("/admin")
    await expect(admin.page.locator("#live")).to_have_attribute("data-live", "yes")
    graph = admin.page.locator(".node", has_text="imported certificates")
    before = int(await graph.locator(".big").inner_text())
    await admin.page.get_by_role("link", name="Connectors").last.focus()
    await admin.page.evaluate("window.mark = 'the same page'")
    stage.lab.add_user("live@pfxlab.example")
    made = MailAuthority(BEGIN).history("live@pfxlab.example")[1]
    await stage.import_one(made, "live@pfxlab.example")
    await expect(graph.locator(".big")).to_have_text(str(before + 1), timeout=60_000)
    assert await admin.page.evaluate("window.mark") == "the same page"
    assert await admin.page.evaluate("document.activeElement.getAttribute('href')") == "/admin/connectors"
    stage.lab.clock.advance(timedelta(hours=2))
    await expect(admin.page.locator(".node", has_text="of 1 active")).to_contain_text("✖ 0", timeout=20_000)
    await stage.lab.connectors_work()
    await expect(admin.page.locator(".node", has_text="of 1 active")).to_contain_text("✔ 1", timeout=60_000)


async def test_steps_of_the_document_are_done_by_mouse(browser: Browser, stage: Stage, tmp_path: Path) -> None:
    """Create a PKCS imported certificate profile, assign it, see the connector's green tick and the installed one."""
    lab = stage.lab
    signing = await stage.import_one(stage.history[3])
    async with looking(browser, lab) as admin:
        await signed_in(admin, lab)
        page = admin.page
        await page.get_by_role("link", name="Connectors").first.click()
        await expect(page.locator("tbody .state")).to_have_text("✔ Active")
        await page.get_by_role("link", name="Configuration profiles").click()
        await page.get_by_role("link", name="Create profile").click()
        await page.get_by_label("Name").fill("S/MIME signing for iPhones")
        await page.locator("select[name=platform]").select_option(label="iOS/iPadOS")
        await page.get_by_label("Profile type").select_option(label="PKCS imported certificate")
        await page.get_by_label("Intended purpose").select_option(label="S/MIME Signing")
        await page.get_by_role("button", name="Create", exact=True).click()
        await expect(page.get_by_role("heading", name="S/MIME signing for iPhones")).to_be_visible()
        await expect(page.get_by_text("no group yet, so it has no effect")).to_be_visible()
        group = lab.cloud.directory.group(lab.operator.credentials.tenant_id, lab.operator.credentials.group_id)
        assert group is not None
        await page.get_by_role("group", name="Included groups").get_by_label(str(group["display_name"])).check()
        await page.get_by_role("button", name="Assign", exact=True).click()
        await expect(page.locator("dl.facts")).to_contain_text(str(group["display_name"]))
        await page.goto(f"{admin.origin}/admin/certificates/{signing}")
        row = page.locator("tr", has_text="iPhone of user")
        await expect(row.locator(".state")).to_have_text("… Waiting for a check-in")
        await stage.deliver("ios")
        await expect(row.locator(".state")).to_have_text("✔ Installed", timeout=60_000)
        await expect(page.locator(".timeline")).to_contain_text("in the connector's memory only")
        await admin.shoot(tmp_path, "certificate-installed")
        assert admin.complaints == []


async def test_explanation_has_a_remedy(admin: Watched, stage: Stage) -> None:
    """A certificate whose purpose no profile has shows the broken link with its evidence and a remedy."""
    stage.lab.add_user("why@pfxlab.example")
    made = MailAuthority(BEGIN).history("why@pfxlab.example")[1]
    record = await stage.import_one(made, "why@pfxlab.example")
    await admin.open(f"/admin/certificates/{record}")
    card = admin.page.locator(".card")
    await expect(card).to_contain_text("the broken link is device")
    await expect(card).to_contain_text("Enrol a device for this user")


async def test_keyboard_alone_is_enough(admin: Watched, stage: Stage) -> None:
    """Tab and Enter skip the navigation and reach a certificate and return, with the focus always visible."""
    page = admin.page
    await admin.open("/admin")
    await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_text("Skip to content")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.getElementById('main').contains(document.activeElement)")
    for _ in range(20):
        if await page.evaluate("document.activeElement.getAttribute('href')") == "/admin/certificates":
            break
        await page.keyboard.press("Tab")
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/admin/certificates")
    await page.get_by_label("User or thumbprint").focus()
    await page.keyboard.type(stage.upn)
    await page.keyboard.press("Enter")
    await expect(page.locator("tbody tr").first).to_contain_text(stage.upn)
    await page.locator("tbody a").first.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text(stage.upn)


async def test_messages_of_a_device_are_readable_and_hide_ciphertext(admin: Watched, stage: Stage) -> None:
    """Messages are shown as indented XML in which data and long words are replaced by their sizes."""
    await admin.open("/admin/devices?platform=windows")
    await admin.page.locator("tbody a").first.click()
    details = admin.page.locator("details").last
    await details.locator("summary").click()
    text = await details.inner_text()
    assert "<SyncML>" in text
    assert "characters›" in await admin.page.locator("#live").inner_html()
    await admin.page.wait_for_timeout(2500)
    assert await details.get_attribute("open") is not None


async def test_world_is_moved_by_its_forms(admin: Watched, stage: Stage) -> None:
    """The clock advances, a fault is planned and removed, a switch is set, a snapshot is restored, errors are shown."""
    page, lab = admin.page, stage.lab
    await admin.open("/admin/world")
    before = lab.clock.now()
    await page.get_by_label("Advance by").fill("90m")
    await page.get_by_role("button", name="Advance").click()
    await expect(page.get_by_role("status")).to_contain_text("The clock is advanced")
    assert lab.clock.now() - before == timedelta(minutes=90)
    await page.get_by_label("Advance by").fill("soon")
    await page.get_by_role("button", name="Advance").click()
    await expect(page.get_by_role("alert")).to_contain_text("Not done: expected")
    await page.get_by_label("Save the lab's state as").fill("before-the-fault")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.locator("#new-fault summary").click()
    await page.get_by_label("Kind").select_option("status")
    await page.get_by_label("Settings").fill("status=503")
    await page.get_by_role("button", name="Plan", exact=True).click()
    await expect(page.get_by_role("status")).to_have_text("The fault is planned.")
    await page.get_by_role("button", name="Remove status").click()
    await expect(page.get_by_text("No fault is planned.")).to_be_visible()
    await page.reload()
    assert lab.cloud.faults.all() == []
    row = page.locator("tr", has=page.get_by_role("rowheader", name="page_size"))
    await row.get_by_label("page_size", exact=True).fill("7")
    await row.get_by_role("button").click()
    await expect(page.get_by_role("status")).to_contain_text("The switch is set")
    assert lab.cloud.config.switches.page_size == 7
    await page.get_by_role("button", name="Restore").click()
    await expect(page.get_by_role("status")).to_contain_text("is restored from the snapshot")
    await page.get_by_role("button", name="Reset the lab").click()
    await expect(page.get_by_role("alert")).to_contain_text("nothing was reset")
    # The browser tells of answers such as these two on its console.
    refusals = [one for one in admin.complaints if "400 (Bad Request)" in one]
    assert len(refusals) == 2
    admin.complaints = [one for one in admin.complaints if one not in refusals]
    await lab.start_connector()


async def test_tour_leads_through_the_pages(browser: Browser, stage: Stage) -> None:
    """The tour is offered on the first visit only; Next leads through its seven pages."""
    async with looking(browser, stage.lab) as admin:
        await signed_in(admin, stage.lab, to="/admin")
        page = admin.page
        await page.get_by_role("link", name="Take the tour").click()
        for step in range(1, 8):
            await expect(page.get_by_text(f"Tour, step {step} of 7")).to_be_visible()
            await page.get_by_role("link", name="Next" if step < 7 else "Done", exact=True).click()
        await page.wait_for_url("**/admin")
        await expect(page.get_by_text("Take the tour")).to_have_count(0)
        assert admin.complaints == []


async def test_pages_work_without_scripts(browser: Browser, stage: Stage) -> None:
    """With scripts disabled every page shows its state at loading, and forms work."""
    async with looking(browser, stage.lab, java_script_enabled=False) as admin:
        await signed_in(admin, stage.lab)
        await admin.open("/admin/certificates")
        await expect(admin.page.locator("tbody tr").first).to_contain_text("pfxlab.example")
        await admin.page.get_by_role("button", name="Sign out").click()
        await expect(admin.page.get_by_label("Password")).to_be_visible()


async def test_hidden_page_closes_its_connection(browser: Browser, stage: Stage) -> None:
    """Eight tabs of one browser all load; when the session ends, an open page shows that it is no longer live."""
    async with looking(browser, stage.lab) as admin:
        await signed_in(admin, stage.lab)
        tabs = [await admin.page.context.new_page() for _ in range(8)]
        hide = "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        for tab in tabs:
            await tab.goto(f"{admin.origin}/admin/devices", timeout=10_000)
            if tab is not tabs[-1]:
                # Without a screen no tab is ever hidden: it is told so.
                await tab.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))")
        await expect(tabs[-1].locator("#live")).to_have_attribute("data-live", "yes")
        machine = stage.lab.cloud.wall
        movable_wall(stage.lab).advance(timedelta(hours=9))
        await expect(tabs[-1].get_by_role("alert")).to_contain_text("no longer live", timeout=15_000)
        stage.lab.cloud.wall = machine


async def test_many_open_pages_share_one_rendering(browser: Browser, stage: Stage) -> None:
    """Three browsers on the same page get the same change within seconds."""
    async with (
        looking(browser, stage.lab) as one,
        looking(browser, stage.lab) as two,
        looking(browser, stage.lab) as three,
    ):
        for watched in (one, two, three):
            await signed_in(watched, stage.lab, to="/admin/journal")
            await expect(watched.page.locator("#live")).to_have_attribute("data-live", "yes")
        stage.lab.cloud.journal.record("lab", "something to see by three", number=3)
        await asyncio.gather(
            *(
                expect(one.page.get_by_text("something to see by three")).to_be_visible(timeout=60_000)
                for one in (one, two, three)
            )
        )
