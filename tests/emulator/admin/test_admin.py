"""The admin centre as a browser sees it: sign-in, connectors, their event logs, exports; nothing for strangers."""

import asyncio
import base64
import csv
import io
import json
import re
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from pfxlab.connector_sim.eventlog import VERSION_DEPRECATED, Event
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.emulator.admin.live import Live, as_event
from pfxlab.emulator.admin.page import Look, Shown
from pfxlab.emulator.admin.pages import journal
from pfxlab.emulator.admin.pages.messages import pretty
from pfxlab.emulator.config import Config
from pfxlab.emulator.journal.conversations import Conversations
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.emulator.wire.omadm import syncml
from pfxlab.scenarios.lab import chain, key_cache
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.mail.authority import MailAuthority, MailCertificate
from tests.conftest import KEYS, movable_wall, new_lab
from tests.emulator.admin.conftest import Browser, started
from tests.emulator.graph.client import CONFIGURATIONS
from tests.emulator.graph.client import admin as graph_admin

UNTRUSTED = '<script>alert("x")</script>'


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


async def test_sign_in_redirects_to_the_requested_page_only(lab: Lab, browser: Browser) -> None:
    """After sign-in the browser is where it wanted to be, and never at an address outside the pages."""
    made = lab.operator.credentials
    for to, lands in (
        ("/admin/connectors", "/admin/connectors"),
        ("https://elsewhere.example/", "/admin"),
        ("//elsewhere.example/admin", "/admin"),
        ("/adminelsewhere", "/admin"),
        ("/beta/users", "/admin"),
    ):
        _, _, url = await browser.sign_in(made.operator_upn, made.operator_password, to)
        assert url == URL(f"{lab.emulator.origin}{lands}")


async def test_session_ends_after_eight_hours(lab: Lab, admin: Browser) -> None:
    """A session is over eight hours later on the wall clock."""
    assert "Certificate connectors" in (await admin.get("/admin/connectors"))[1]
    movable_wall(lab).advance(timedelta(hours=8, seconds=1))
    assert "Sign in" in (await admin.get("/admin/connectors"))[1]


async def test_connector_and_its_event_log_are_shown(lab: Lab, admin: Browser) -> None:
    """A connector is listed with its state; its page has the product's event ids, filtered by level on request."""
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
    """The same rows are served as JSON and as CSV, in which no text is a formula."""
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
    """The page of a connector that the tenant does not have is 404, whatever its id contains."""
    status, text, _ = await admin.get("/admin/connectors/%3Cb%3E")
    assert (status, "no connector" in text, "<b>" in text) == (404, True, False)


async def test_style_is_served_here(lab: Lab, admin: Browser) -> None:
    """The pages' styles are served by the lab, so that they work without internet access."""
    status, text, headers = await admin.get("/admin/style.css")
    assert (status, "prefers-color-scheme: dark" in text) == (200, True)
    assert headers["Content-Type"].startswith("text/css")


async def test_repeated_heartbeat_reports_events_once(lab: Lab) -> None:
    """Events are sent again after a lost response and stored once; a connector's last thousand are stored."""
    connectors = lab.cloud.connectors
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
        with lab.cloud.store.atomic():
            connectors.logged("one", lines[:400])
    assert len(connectors.events("one", limit=5000)) == 400
    with lab.cloud.store.atomic():
        connectors.logged("one", lines)
        connectors.logged("two", lines[:1])
    kept = connectors.events("one", limit=5000)
    assert (len(kept), kept[0]["time"]) == (1000, lines[-1]["time"])
    assert len(connectors.events("two")) == 1


def pages(lab: Lab) -> list[str]:
    """Return every page of the admin centre, those of one thing included."""
    store = lab.cloud.store
    tables = {"certificates": "pfx_certificates", "profiles": "device_configurations", "devices": "devices",
              "connectors": "connectors"}  # fmt: skip
    single = [
        f"/admin/{page}/{row['id']}"
        for page, table in tables.items()
        for row in store.rows(f"select id from {table}")  # noqa: S608 - a test's tables
    ]
    lists = [f"/admin/{page}" for page in (*tables, "journal", "world", "reports", "profiles/new")]
    return ["/admin", *lists, *single]


async def with_a_scenario(lab: Lab) -> list[MailCertificate]:
    """Bring a user's certificates to an iPhone and a PC; return the certificates."""
    await lab.start_connector()
    upn = lab.operator.credentials.user_upn
    history = MailAuthority(lab.clock.now(), KEYS).history(upn)
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        for made in history:
            pfx, key = open_pfx(made.pfx, made.password), lab.encryption_key()
            await chain.import_pfx(client, pfx, made.password, upn, made.purpose, key, made.padding)
        for platform in ("ios", "windows"):
            group = lab.operator.credentials.group_id
            await chain.assign_profile(client, platform, IntendedPurpose.smimeEncryption, group)
    for platform in ("ios", "windows"):
        device = await lab.device(platform, upn)
        for _ in range(2):
            await lab.check_in(device)
            await lab.connectors_work()
        await lab.check_in(device)
    return history


async def test_no_page_shows_a_secret(lab: Lab, admin: Browser) -> None:
    """Passwords, client secrets, keys, tokens and ciphertext stand on no page, and in no export of one."""
    history = await with_a_scenario(lab)
    made = lab.operator.credentials
    cloud = lab.cloud
    canaries = [one.password for one in history] + list(lab.operator.passwords.values())
    canaries += [made.admin_client_secret, made.limited_client_secret, made.setup_client_secret]
    canaries += [lab.emulator.control_token, "PRIVATE KEY"]
    for row in cloud.store.rows("select encrypted_pfx_password, encrypted_pfx_blob from pfx_certificates"):
        canaries += [row["encrypted_pfx_password"][:40], base64.b64encode(row["encrypted_pfx_blob"]).decode()[:40]]
    found = []
    for path in pages(lab):
        for shown in (path, f"{path}?format=json", f"{path}?format=csv"):
            status, text, _ = await admin.get(shown)
            assert status == 200, shown
            found += [shown for canary in canaries if canary in text]
    assert found == []


async def test_each_page_has_a_strict_policy_and_each_table_is_exported(lab: Lab, admin: Browser) -> None:
    """Every page allows only the lab's own content; every table is served as JSON and, with the same rows, as CSV."""
    await with_a_scenario(lab)
    for path in pages(lab):
        _, text, headers = await admin.get(path)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert " style=" not in text
        assert " onclick=" not in text
        if path.endswith("/new"):
            continue
        assert "format=json" in text or "reports" in path, path
        _, as_json, kind = await admin.get(f"{path}?format=json")
        rows = json.loads(as_json)
        assert kind["Content-Type"].startswith("application/json")
        table = list(csv.DictReader(io.StringIO((await admin.get(f"{path}?format=csv"))[1])))
        # The journal grows by each look at it; there are no reports here.
        assert len(table) == len(rows) > 0 or path in ("/admin/reports", "/admin/journal"), path


async def test_forms_of_other_sites_do_nothing(lab: Lab, admin: Browser) -> None:
    """A form without the session's secret, or from another origin, is refused and changes nothing."""
    page = (await admin.get("/admin/world"))[1]
    token = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
    before = lab.cloud.config.switches
    switch = {"do": "switch", "name": "page_size", "value": "3"}
    for form, origin in (
        (switch, None),
        ({**switch, "csrf": "guess"}, None),
        ({**switch, "csrf": token}, "https://evil.example"),
    ):
        headers = {} if origin is None else {"Origin": origin}
        async with admin._session.post("/admin/world", data=form, headers=headers) as response:
            assert response.status == 403
    assert lab.cloud.config.switches == before
    async with admin._session.post("/admin/world", data={**switch, "csrf": token}) as response:
        assert response.status == 200
    assert lab.cloud.config.switches.page_size == 3


async def test_strangers_get_no_live_page_no_report_and_move_nothing(lab: Lab, browser: Browser) -> None:
    """Without a session there is no event stream and no report file, and no form has an effect."""
    assert (await browser.get("/admin/live?page=/admin"))[0] == 401
    assert "Sign in" in (await browser.get("/admin/reports/x/report.html"))[1]
    for path in ("/admin/world", "/admin/profiles/new", "/admin/profiles/x/delete", "/admin/devices/x/sync"):
        async with browser._session.post(path, data={"do": "reset", "sure": "yes"}) as response:
            assert "Sign in" in await response.text()
    assert lab.cloud.journal.count(event="clock moved") == 0


async def test_live_page_sends_changes_until_the_session_ends(lab: Lab, admin: Browser) -> None:
    """The event stream of a page sends its current content first, updates when something happens, and ends."""
    async with admin._session.get("/admin/live", params={"page": "/admin/journal?event=tick"}) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert b"No entries match." in await stream.content.readuntil(b"\n\n")
        lab.cloud.journal.record("lab", "tick", number=1)
        assert b"number 1" in await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 60)
        movable_wall(lab).advance(timedelta(hours=9))
        rest = await asyncio.wait_for(stream.content.read(), 5)
        assert b"number 1" in rest or rest == b""
    assert (await admin.get("/admin/live?page=/admin"))[0] == 401


async def test_live_page_of_nothing_is_not_found(lab: Lab, admin: Browser) -> None:
    """There is no event stream for an address without a page."""
    for page in ("/beta/users", "/admin/nothing", "", "//x", "/admin/live"):
        async with admin._session.get("/admin/live", params={"page": page}) as response:
            assert response.status == 404


async def test_certificates_are_searched_filtered_and_paged(lab: Lab, admin: Browser) -> None:
    """Certificates are found by user, thumbprint, purpose and validity; fifty stand on a page."""
    await with_a_scenario(lab)
    cloud = lab.cloud
    (one,) = cloud.store.rows("select * from pfx_certificates order by rowid limit 1")
    for number in range(120):
        name = f"many-{number:03}@pfxlab.example"
        cloud.store.put("pfx_certificates", {**one, "id": f"m{number:03}", "thumbprint": f"{number:040x}",
                                             "user_principal_name": name, "intended_purpose": 2})  # fmt: skip

    async def users(query: str) -> list[str]:
        return re.findall(
            r'<td><a href="/admin/certificates/[^"]+">([^<]+)</a>', (await admin.get(f"/admin/certificates?{query}"))[1]
        )

    assert await users("search=many-007") == ["many-007@pfxlab.example"]
    assert await users(f"search={7:040x}") == ["many-007@pfxlab.example"]
    assert await users("search=00:00:00 00 00 " + "00 " * 14 + "07") == ["many-007@pfxlab.example"]
    assert await users("search=MANY-00") == [f"many-{n:03}@pfxlab.example" for n in range(9, -1, -1)]
    first, second, third = [await users(f"search=many&skip={skip}") for skip in (0, 50, 100)]
    assert (len(first), len(second), len(third)) == (50, 50, 20)
    assert len({*first, *second, *third}) == 120
    assert len(await users("purpose=smimeSigning&search=many")) == 50
    assert await users("purpose=smimeEncryption&search=many") == []
    upn = lab.operator.credentials.user_upn
    assert (len(await users(f"search={upn}")), len(await users(f"search={upn}&expiry=expired"))) == (4, 1)
    assert await users("search=nobody") == []
    exported = json.loads((await admin.get("/admin/certificates?search=many&format=json"))[1])
    assert len(exported) == 120


async def test_invalid_profile_form_keeps_its_entries(lab: Lab, admin: Browser) -> None:
    """An invalid profile is refused with the reason, and the form keeps what was entered."""
    token = re.findall(r'name="csrf" value="([^"]+)"', (await admin.get("/admin/profiles/new"))[1])[0]
    good = {"csrf": token, "displayName": "Mail", "platform": "windows", "intendedPurpose": "smimeEncryption",
            "keyStorageProvider": "useSoftwareKsp", "validityYears": "1"}  # fmt: skip
    for name, value, said in (
        ("displayName", " ", "expected a name"),
        ("platform", "toaster", "expected a platform"),
        ("intendedPurpose", "x", "expected an intended purpose"),
        ("keyStorageProvider", "<b>", "expected a key storage provider"),
        ("validityYears", "one", "expected a whole number of years"),
    ):
        async with admin._session.post("/admin/profiles/new", data={**good, name: value}) as response:
            text = await response.text()
            assert (response.status, said in text, "<b>" in text) == (400, True, False)
            assert 'value="1"' in text or name == "validityYears"
    assert lab.cloud.profiles.all(lab.operator.credentials.tenant_id) == []
    async with admin._session.post("/admin/profiles/new", data=good) as response:
        profile = response.url.path.rpartition("/")[2]
    stored = lab.cloud.profiles.get(lab.operator.credentials.tenant_id, profile)
    assert stored is not None
    assert stored.properties["certificateValidityPeriodScale"] == "years"
    group = lab.operator.credentials.group_id
    twice = {"csrf": token, "included": group, "excluded": group}
    async with admin._session.post(f"/admin/profiles/{profile}/assign", data=twice) as response:
        assert (response.status, "expected each group once" in await response.text()) == (400, True)
    async with admin._session.post(f"/admin/profiles/{profile}/delete", data={"csrf": token}) as response:
        assert response.url.path == "/admin/profiles"
    assert lab.cloud.profiles.all(lab.operator.credentials.tenant_id) == []


def test_messages_are_shown_without_secrets() -> None:
    """In a message, long words and data are replaced by their size; a body that is not XML is labelled as such."""
    token = "eyJ" + "a" * 400
    text = pretty(f"<a xmlns='x'><b>short</b><c>{token}</c><data>QUJD</data></a>".encode())
    assert token[:40] not in text
    assert "QUJD" not in text
    assert "<b>short</b>" in text
    assert "‹403 characters›" in text
    assert pretty(b"\x00\x01") == "(2 bytes that are no XML)"
    assert pretty(b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>").endswith("no XML)")
    assert pretty(None) == "(too large to be kept)"
    deep = b"<a>" * 2000 + b"</a>" * 2000
    assert pretty(deep).startswith("(")
    hidden = f"""<SyncML><SyncHdr><Cred><Meta><Type>syncml:auth-basic</Type></Meta><Data>dXNlcjpwdw==</Data></Cred></SyncHdr>
        <Alert><Item><Meta><Type>{syncml.USER_TOKEN}</Type></Meta><Data>short/opaque</Data></Item></Alert>
        <Item><Target><LocURI>./User/Vendor/MSFT/{"x" * 70}/Status</LocURI></Target><Data>{"ab/" * 40}</Data></Item></SyncML>"""
    shown = pretty(hidden.encode())
    assert not any(secret in shown for secret in ("dXNlcjpwdw==", "short/opaque", "ab/ab/ab"))
    assert "syncml:auth-basic" in shown
    assert f"{'x' * 70}/Status" in shown
    plist = pretty(
        b"<plist><dict><key>PushMagic</key><string>0F-1A</string><key>UDID</key><string>0F-2B</string></dict></plist>"
    )
    assert ("0F-1A" in plist, "0F-2B" in plist) == (False, True)
    assert "session is over" in pretty(b"")


async def test_another_tenants_administrator_sees_nothing_of_the_labs(tmp_path: Path) -> None:
    """Journal, world and reports belong to the lab's own tenant; other pages show another tenant only its own data."""
    other = {"domain": "fabrikam.example", "users": [{"upn": "boss@fabrikam.example", "password": "only for tests",
             "roles": ["intune_administrator"]}]}  # fmt: skip
    key_cache.lay_out(tmp_path / "lab")
    async with new_lab(tmp_path / "lab", Config(tenants=(other,))) as lab:
        lab.new_key = KEYS
        await with_a_scenario(lab)
        tls = ssl.create_default_context(cafile=str(lab.ca_file))
        async with aiohttp.ClientSession(lab.emulator.origin, connector=aiohttp.TCPConnector(ssl=tls)) as session:
            stranger = Browser(lab, session)
            assert (await stranger.sign_in("boss@fabrikam.example", "only for tests"))[0] == 200
            upn = lab.operator.credentials.user_upn
            for path in pages(lab):
                for shown in (path, f"{path}?format=json"):
                    status, text, _ = await stranger.get(shown)
                    whole = path in ("/admin/journal", "/admin/world", "/admin/reports")
                    single = path.count("/") == 3 and not path.endswith("/new")
                    assert (status, upn in text) == (403 if whole else 404 if single else 200, False), shown
            token = re.findall(r'name="csrf" value="([^"]+)"', (await stranger.get("/admin"))[1])[0]
            async with session.post("/admin/world", data={"csrf": token, "do": "reset", "sure": "yes"}) as response:
                assert response.status == 403
            async with session.get("/admin/live", params={"page": "/admin/journal"}) as stream:
                told = await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 60)
                assert b"Not for this tenant" in told


async def test_a_page_that_cannot_be_rendered_stops_no_other(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """A live page whose view fails is logged and skipped; others are updated, and closed ones are dropped."""
    cloud = lab.cloud
    look = Look(cloud, lab.operator.credentials.tenant_id, "a@b.example", "", "/admin")

    def broken(_: Look) -> Shown:
        raise ZeroDivisionError

    live = Live(cloud)
    bad, bad_event = live.join(replace(look, path="/admin/x"), broken)
    good, good_event = live.join(replace(look, path="/admin/journal"), journal.show)
    await asyncio.wait_for(good_event.wait(), 5)
    good_event.clear()
    cloud.journal.record("lab", "tick", number=1)
    await asyncio.wait_for(good_event.wait(), 5)
    assert ("tick" in good.text, bad.text) == (True, "")
    assert "unexpected error in /admin/x" in caplog.text
    live.leave(bad, bad_event)
    live.leave(good, good_event)
    assert live.pages == 0


async def test_closed_live_page_is_dropped(lab: Lab, admin: Browser) -> None:
    """When a browser closes a live page its stream ends within seconds, though nothing changes on the page."""
    stream = await admin._session.get("/admin/live", params={"page": "/admin/profiles"})
    await stream.content.readuntil(b"\n\n")

    stream.close()
    for _ in range(600):
        await asyncio.sleep(0.1)
        if not any(task.get_name() == "live pages" for task in asyncio.all_tasks()):
            break
    assert not any(task.get_name() == "live pages" for task in asyncio.all_tasks())


def test_events_end_their_lines_as_the_format_does() -> None:
    """With any line ending in a text, each line is data of the event, and none starts a field or another event."""
    assert as_event("a\rb\r\nc\nd") == b"data: a\ndata: b\ndata: c\ndata: d\n\n"
    assert as_event("x\r\rdata: gone") == b"data: x\ndata: \ndata: data: gone\n\n"


async def test_passing_time_keeps_the_session(lab: Lab, admin: Browser) -> None:
    """A day that passes on the world page does not end the session; a form of an expired session redirects to its page."""
    token = re.findall(r'name="csrf" value="([^"]+)"', (await admin.get("/admin/world"))[1])[0]
    async with admin._session.post("/admin/world", data={"csrf": token, "do": "advance", "step": "1d12h"}) as response:
        assert (response.status, str(response.url.query_string)) == (200, "did=advance")
    assert "<h1>World</h1>" in (await admin.get("/admin/world"))[1]
    movable_wall(lab).advance(timedelta(hours=9))
    async with admin._session.post("/admin/profiles/x/assign", data={"csrf": token}) as response:
        assert 'name="to" value="/admin/profiles/x"' in await response.text()


async def test_deleted_groups_stay_in_the_profile_form(lab: Lab, admin: Browser) -> None:
    """A profile assigned to a deleted group shows the group ticked, so that a new assignment does not silently drop it."""
    await with_a_scenario(lab)
    cloud, tenant = lab.cloud, lab.operator.credentials.tenant_id
    profile = cloud.profiles.all(tenant)[0]
    cloud.store.run("delete from groups where id = ?", (lab.operator.credentials.group_id,))
    text = (await admin.get(f"/admin/profiles/{profile.id}"))[1]
    assert f'name="included" value="{lab.operator.credentials.group_id}" checked' in text
    assert "a group that is gone" in text


async def test_form_keeps_the_filter_of_an_assignment(lab: Lab, admin: Browser) -> None:
    """The page names the filter of an assignment, and assigning anew in the form leaves filter and intent as they are."""
    await with_a_scenario(lab)
    graph, group = await graph_admin(lab), lab.operator.credentials.group_id
    made = {"displayName": "Small ones", "platform": "iOS", "rule": '(device.model -eq "iPhone SE")'}
    narrowing = (await graph("POST", "/beta/deviceManagement/assignmentFilters", made)).json["id"]
    profile = lab.cloud.profiles.all(lab.operator.credentials.tenant_id)[0]
    path = f"{CONFIGURATIONS}/{profile.id}"
    target = {
        "@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": group,
        "deviceAndAppManagementAssignmentFilterId": narrowing, "deviceAndAppManagementAssignmentFilterType": "exclude",
    }  # fmt: skip
    assert (await graph("POST", f"{path}/assign", {"assignments": [{"target": target}]})).status == 200
    before = (await graph("GET", f"{path}/assignments")).json["value"]
    text = (await admin.get(f"/admin/profiles/{profile.id}"))[1]
    assert "filter: exclude Small ones" in text
    form = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', text)[0], "included": group, "allDevices": "yes"}
    async with admin._session.post(f"/admin/profiles/{profile.id}/assign", data=form) as response:
        assert response.status == 200
    after = (await graph("GET", f"{path}/assignments")).json["value"]
    assert [one for one in after if one["target"].get("groupId") == group] == before
    assert len(after) == 2


def test_device_exchanges_are_bounded() -> None:
    """The latest exchanges of each device are kept, for the devices seen last, and never more than 32 MiB."""
    now, kept = datetime(2026, 3, 2, tzinfo=UTC), Conversations()
    for number in range(30):
        kept.note("one", now, str(number).encode(), b"answer")
    assert [one.request for one in kept.of("one")] == [str(number).encode() for number in range(6, 30)]
    kept.note("one", now, b"x" * 300_000, b"")
    assert (kept.of("one")[-1].request, kept.of("one")[-1].answer) == (None, b"")
    for device in range(300):
        kept.note(f"device {device}", now, b"x" * 200_000, b"y" * 100_000)
    held = [device for device in range(300) if kept.of(f"device {device}")]
    # 111 exchanges of 300,000 bytes are the most that 33,554,432 hold.
    assert held == list(range(300 - 111, 300))
    assert kept.of("one") == []
    kept.clear()
    assert kept.of("device 299") == []
