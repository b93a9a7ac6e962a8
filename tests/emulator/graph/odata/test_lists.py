"""Pages, filters and orders of lists while the collection changes.

Expected values: sources.md#paging, sources.md#managed-device-filters.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.entra.grants import TokenRequest, token
from pfxlab.emulator.graph.dispatch import dispatch
from pfxlab.emulator.graph.request import Incoming
from pfxlab.emulator.lab.seed import seed
from pfxlab.emulator.wire import jsontext
from pfxlab.scenarios.lab.lab import Lab
from tests.campaign import examples
from tests.conftest import new_lab
from tests.emulator.graph.client import CONFIGURATIONS, PFX, Raw, admin, record, setup
from tests.end_to_end.test_life import bring, history, ready_lab, settle

__all__ = ["history"]
DEVICES = "/beta/deviceManagement/managedDevices"


async def walk(graph: Raw, path: str) -> list[Any]:
    """Return the items of every page."""
    items: list[Any] = []
    while path:
        page = (await graph("GET", path)).json
        items += page["value"]
        path = page.get("@odata.nextLink", "").removeprefix(graph.origin)
    return items


@settings(max_examples=examples(12, 200), deadline=None)
@given(
    st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["patch", "delete", "add"]), st.integers(0, 7)), max_size=6)
)
def test_changes_between_pages_shift_nothing(size: int, changes: list[tuple[str, int]]) -> None:
    """Records changed, deleted or added between two pages make no other record appear twice or be passed over."""
    cloud = Cloud(Config(switches=Switches(page_size=size)), LabClock())
    made = seed(cloud)
    form = {"grant_type": "client_credentials", "client_id": made.admin_client_id,
            "client_secret": made.admin_client_secret, "scope": "https://graph.microsoft.com/.default"}  # fmt: skip
    origin = "https://localhost"
    asked = TokenRequest(cloud.directory.tenants()[0], form, origin, made.tenant_id)
    bearer = token(cloud, asked)["access_token"]
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}

    def send(method: str, path: str, query: str = "", body: Any = None) -> Any:
        data = b"" if body is None else jsontext.encode(body)
        answer = dispatch(cloud, Incoming(method, origin, "beta", path, query, headers, data))
        assert answer.status < 300, answer.body
        return jsontext.decode(answer.body) if answer.body else None

    collection = "deviceManagement/userPfxCertificates"
    base = {"userPrincipalName": made.user_upn, "startDateTime": "2026-01-01T00:00:00Z", "encryptedPfxBlob": "MAAA",
            "expirationDateTime": "2027-01-01T00:00:00Z", "encryptedPfxPassword": "AAAA"}  # fmt: skip
    ids = [send("POST", collection, body={**base, "thumbprint": f"{number:040x}"})["id"] for number in range(8)]
    seen, query, step = list[str](), "", 0
    gone: set[str] = set()
    while True:
        page = send("GET", collection, query)
        seen += [item["id"] for item in page["value"]]
        if step < len(changes):
            kind, number = changes[step]
            if kind == "patch" and ids[number] not in gone:
                send("PATCH", f"{collection}/{ids[number]}", body={"keyName": "changed"})
            elif kind == "delete":
                send("DELETE", f"{collection}/{ids[number]}")
                gone.add(ids[number])
            elif kind == "add":
                send("POST", collection, body={**base, "thumbprint": f"{100 + step:040x}"})
        step += 1
        if "@odata.nextLink" not in page:
            break
        query = page["@odata.nextLink"].partition("?")[2]
    assert len(seen) == len(set(seen))
    assert [name for name in ids if name not in gone and name not in seen] == []


async def test_order_and_skip_page_too(tmp_path: Path) -> None:
    """$orderby in both directions, $skip and $top agree with a sorted list over all pages."""
    async with new_lab(tmp_path, Config(switches=Switches(page_size=2))) as lab:
        graph = await admin(lab)
        names = ["b", "d", "a", "c", "e"]
        for number, name in enumerate(names):
            body = record(lab, thumbprint=f"{number:040x}", keyName=name)
            assert (await graph("POST", PFX, body)).status == 201
        listed = await walk(graph, f"{PFX}?$orderby=keyName%20desc")
        assert [item["keyName"] for item in listed] == sorted(names, reverse=True)
        skipped = await walk(graph, f"{PFX}?$orderby=keyName&$skip=1")
        assert [item["keyName"] for item in skipped] == sorted(names)[1:]
        assert [item["keyName"] for item in await walk(graph, f"{PFX}?$skip=3")] == names[3:]
        page = (await graph("GET", f"{PFX}?$count=true&$top=1")).json
        assert (page["@odata.count"], len(page["value"])) == (5, 1)
        later = (await graph("GET", page["@odata.nextLink"].removeprefix(graph.origin))).json
        assert "@odata.count" not in later


async def test_computed_lists_filter_order_and_page(lab: Lab, history: Any) -> None:
    """Statuses and certificate states, which are in no table, support the same options as other lists."""
    devices, (ios, windows) = await ready_lab(lab)
    for item in history:
        await bring(lab, item)
    await settle(lab, devices)
    graph = await admin(lab)
    cast = "microsoft.graph.iosImportedPFXCertificateProfile"
    states = f"{CONFIGURATIONS}/{ios}/{cast}/managedDeviceCertificateStates"
    everything = (await graph("GET", states)).json["value"]
    assert len(everything) == 3
    ordered = (await graph("GET", f"{states}?$orderby=certificateThumbprint%20desc&$select=certificateThumbprint")).json
    shown = [item["certificateThumbprint"] for item in ordered["value"]]
    assert shown == sorted((item["certificateThumbprint"] for item in everything), reverse=True)
    moment = max(item["certificateExpirationDateTime"] for item in everything)
    for operator, expected in (("ge", 1), ("lt", 2)):
        text = quote(f"certificateExpirationDateTime {operator} {moment}")
        assert len((await graph("GET", f"{states}?$filter={text}")).json["value"]) == expected
    installed = quote("certificateIssuanceState eq 'installed' and certificateErrorCode eq 0")
    page = (await graph("GET", f"{states}?$filter={installed}&$count=true&$top=2")).json
    assert (page["@odata.count"], len(page["value"])) == (3, 2)
    following = page["@odata.nextLink"].removeprefix(graph.origin)
    assert len((await graph("GET", following)).json["value"]) == 1
    bad = await graph("GET", f"{CONFIGURATIONS}/{windows}/deviceStatuses?$filter=cheese%20eq%201")
    assert (bad.status, bad.code) == (400, "BadRequest")
    chosen = (await graph("GET", f"{CONFIGURATIONS}/{ios}/deviceStatusOverview?$select=successCount")).json
    assert {name for name in chosen if "@" not in name} == {"successCount"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("isof('microsoft.graph.iosImportedPFXCertificateProfile')", ["a"]),
        ("not isof('microsoft.graph.iosImportedPFXCertificateProfile')", ["b"]),
        ("roleScopeTagIds/any(t:t eq '7')", ["b"]),
        ("roleScopeTagIds/all(t:t eq '0')", ["a"]),
        ("roleScopeTagIds/any()", ["a", "b"]),
        ("intendedPurpose eq 'smimeSigning' and startswith(displayName,'B')", ["b"]),
        ("displayName in ('a','c')", ["a"]),
        ("displayName in ('a')", ["a"]),
        ("displayName eq 'in (1)' or displayName in ( 'b' )", ["b"]),
        ("description eq null", ["a", "b"]),
        ("createdDateTime gt 2020-01-01T00:00:00Z", ["a", "b"]),
    ],
)
async def test_profiles_are_found_by_type_tag_and_purpose(lab: Lab, text: str, found: list[str]) -> None:
    """Filters by isof, lambdas over scope tags, lists and nulls find the profiles they describe."""
    graph = await admin(lab)
    for name, kind, tags in (("a", "ios", ["0"]), ("b", "macOS", ["0", "7"])):
        body = {"@odata.type": f"#microsoft.graph.{kind}ImportedPFXCertificateProfile", "displayName": name,
                "intendedPurpose": "smimeSigning", "roleScopeTagIds": tags}  # fmt: skip
        assert (await graph("POST", CONFIGURATIONS, body)).status == 201
    reply = await graph("GET", f"{CONFIGURATIONS}?$filter={quote(text)}")
    assert [profile["displayName"] for profile in reply.json["value"]] == found


@pytest.mark.parametrize(
    "text",
    ["displayName/any(t:t eq 'a')", "roleScopeTagIds eq 'a'", "isof(displayName)", "isof('a','b')", "x/any(t:t eq 'a')",
     "roleScopeTagIds/any(t:cheese eq 'a')", "roleScopeTagIds/any(t:t eq t)"],
)  # fmt: skip
async def test_impossible_lambdas_are_refused(lab: Lab, text: str) -> None:
    """A lambda over a property that is not a list, or isof without a type, gets a clear 400."""
    reply = await (await admin(lab))("GET", f"{CONFIGURATIONS}?$filter={quote(text)}")
    assert reply.status == 400


async def test_devices_are_found_by_common_filters(lab: Lab) -> None:
    """Devices are found by user, system and serial number; a requested sync is pending until the check-in."""
    phone = await lab.device("ios", lab.operator.credentials.user_upn)
    await lab.device("windows", lab.operator.credentials.user_upn)
    graph, upn = await admin(lab), lab.operator.credentials.user_upn
    for text in (f"userPrincipalName eq '{upn.upper()}' and operatingSystem eq 'iOS'", "contains(deviceName,'iphone')",
                 f"serialNumber eq '{phone.hardware.serial_number}'"):  # fmt: skip
        (found,) = (await graph("GET", f"{DEVICES}?$filter={quote(text)}")).json["value"]
        assert found["id"] == phone.identity.device_id
    assert (found["userPrincipalName"], found["userDisplayName"], found["emailAddress"]) == (upn, "Test user user", upn)
    one = f"/beta/users/{upn}/managedDevices/{found['id']}"
    assert (await graph("POST", f"{one}/syncDevice")).status == 204
    (action,) = (await graph("GET", f"{DEVICES}/{found['id']}")).json["deviceActionResults"]
    assert (action["actionName"], action["actionState"]) == ("syncDevice", "pending")
    lab.clock.advance(timedelta(minutes=1))
    await phone.check_in()
    (action,) = (await graph("GET", f"{DEVICES}/{found['id']}")).json["deviceActionResults"]
    assert action["actionState"] == "done"
    assert action["lastUpdatedDateTime"] > action["startDateTime"]


async def test_filter_quirks_of_the_devices_service(tmp_path: Path) -> None:
    """With the switch unknown properties filter nothing, ne acts as eq, or as and, in is a 500; without it all are right."""
    for switch in ("on", "off"):
        switches: Any = {"filter_quirks": switch}
        async with new_lab(tmp_path / switch, Config(switches=Switches(**switches))) as lab:
            for platform in ("ios", "windows"):
                await lab.device(platform, lab.operator.credentials.user_upn)
            graph = await admin(lab)

            async def count(text: str, graph: Raw = graph) -> int | str:
                reply = await graph("GET", f"{DEVICES}?$filter={quote(text)}")
                return len(reply.json["value"]) if reply.status == 200 else reply.code

            texts = ["userId eq 'x'", "skuFamily eq 'x'", "deviceName ne 'iPhone of user'",
                     "deviceName eq 'iPhone of user' or deviceName eq 'Windows PC of user'", "deviceName in ('x')"]  # fmt: skip
            counted = [await count(text) for text in texts]
            assert (
                counted
                == {
                    "on": [2, 2, 1, 0, "InternalServerError"],
                    "off": [0, "Request_UnsupportedQuery", 1, 2, 0],
                }[switch]
            )
            first = (await graph("GET", f"{DEVICES}?$filter={quote(texts[2])}")).json["value"][0]["deviceName"]
            assert first == {"on": "iPhone of user", "off": "Windows PC of user"}[switch]


async def test_connector_shows_its_health(lab: Lab, history: Any) -> None:
    """Health metrics count a connector's results, in total and by the hour; a connector can be renamed and deleted."""
    devices, _ = await ready_lab(lab)
    await bring(lab, history[2])
    await settle(lab, devices)
    graph = await admin(lab)
    (connector,) = (await graph("GET", "/beta/deviceManagement/ndesConnectors?$select=id,state")).json["value"]
    assert set(connector) == {"id", "state"}
    one = f"/beta/deviceManagement/certificateConnectorDetails/{connector['id']}"
    names = ["PkcsImportSuccessCount", "PkcsImportFailureCount", "unheardOf"]
    values = (await graph("POST", f"{one}/getHealthMetrics", {"metricNames": names})).json["value"]
    assert values == [{"name": name, "value": value} for name, value in zip(names, (2, 0, 0), strict=True)]
    now = lab.clock.now()
    series = {"startDateTime": (now - timedelta(hours=2)).isoformat(), "endDateTime": (now + timedelta(hours=1)).isoformat(),
              "metricName": "PkcsImportSuccessCount"}  # fmt: skip
    hours = (await graph("POST", f"{one}/getHealthMetricTimeSeries", {"timeSeries": series})).json["value"]
    assert sum(hour["successCount"] for hour in hours) == 2
    assert {hour["failureCount"] for hour in hours} == {0}
    for absent in ({name: series[name] for name in ("startDateTime", "metricName")}, {**series, "endDateTime": None}):
        # The end may be left out: sources.md#connector-health.
        open_ended = await graph("POST", f"{one}/getHealthMetricTimeSeries", {"timeSeries": absent})
        assert open_ended.json["value"] == hours
    bad = await graph("POST", f"{one}/getHealthMetricTimeSeries", {"timeSeries": {"startDateTime": "x"}})
    assert bad.status == 400
    ndes = f"/beta/deviceManagement/ndesConnectors/{connector['id']}"
    assert (await graph("PATCH", ndes, {"displayName": "Second floor"})).status == 204
    assert (await graph("GET", f"{ndes}?$select=displayName")).json["displayName"] == "Second floor"
    assert (await graph("GET", one)).json["connectorName"] == "Second floor"
    assert (await graph("DELETE", ndes)).status == 204
    assert (await graph("GET", ndes)).status == 404


async def test_large_group_is_paged(lab: Lab) -> None:
    """Members are listed in pages of a hundred, without loss; $top makes pages smaller."""
    cloud, made = lab.cloud, lab.operator.credentials
    graph = await setup(lab)
    body = {"displayName": "Large", "mailEnabled": False, "mailNickname": "large", "securityEnabled": True}
    group = (await graph("POST", "/v1.0/groups", body)).json["id"]
    ids = set()
    for number in range(103):
        upn = f"p{number}@pfxlab.example"
        cloud.directory.add_user(
            {"id": cloud.chance.guid(), "tenant_id": made.tenant_id, "user_principal_name": upn, "display_name": upn,
             "mail": upn, "created": "2026-01-01T00:00:00.000000Z"}
        )  # fmt: skip
        user = cloud.directory.user(made.tenant_id, upn) or {}
        cloud.directory.add_member(group, user["id"])
        ids.add(user["id"])
    first = (await graph("GET", f"/v1.0/groups/{group}/members")).json
    assert len(first["value"]) == 100
    assert {member["id"] for member in await walk(graph, f"/v1.0/groups/{group}/members")} == ids
    assert len((await graph("GET", f"/v1.0/groups/{group}/members?$top=7")).json["value"]) == 7
    users = await walk(graph, f"/v1.0/groups/{group}/members/microsoft.graph.user?$select=id")
    assert {user["id"] for user in users} == ids
