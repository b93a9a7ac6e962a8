"""Faults of HTTP: each kind as a real client meets it, and the rules by which one strikes."""

import json
import ssl
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.emulator.faults.kinds import KINDS
from pfxlab.emulator.faults.plan import BadFault, Fault, Faults, Occasion, read_fault
from pfxlab.emulator.graph.injected import damaged
from pfxlab.emulator.graph.request import Incoming
from pfxlab.emulator.proxy import decide
from pfxlab.scenarios.lab.faults import RunFaults
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import movable_wall
from tests.emulator.graph.client import PFX, Raw, Reply, admin, record

POST = "POST */userPfxCertificates"


def planned(lab: Lab, kind: str, **settings: Any) -> None:
    """Plan a fault."""
    RunFaults(lab).plan(read_fault({"kind": kind, **settings}))


def entries(lab: Lab, event: str) -> list[dict[str, Any]]:
    """Return the fields of journal entries."""
    return [entry.fields for entry in lab.cloud.journal.entries(event=event)]


async def count(graph: Raw) -> int:
    """Return how many records Graph has."""
    return len((await graph("GET", PFX)).json["value"])


async def broken(client: Raw, method: str, path: str, body: Any = None) -> str:
    """Return the name of the error by which a connection broke."""
    with pytest.raises((aiohttp.ClientError, ConnectionError)) as caught:
        await client(method, path, body)
    return type(caught.value).__name__


async def test_fails_twice_then_succeeds(lab: Lab) -> None:
    """A fault with `times` 2 refuses two requests of its route in Graph's form, and not the third."""
    graph = await admin(lab)
    planned(lab, "status", route=POST, status=503, times=2)
    replies = [await graph("POST", PFX, record(lab)) for _ in range(3)]
    assert [reply.status for reply in replies] == [503, 503, 201]
    assert replies[0].code == "ServiceUnavailable"
    assert set(replies[0].envelope) >= {"_version", "Message", "CustomApiErrorPhrase"}
    assert [mark["on"] for mark in entries(lab, "fault injected")] == [f"POST {PFX}"] * 2
    assert [f.get("rule") for f in entries(lab, "request")] == ["FaultInjected", "FaultInjected", None]


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ("absent", {}),
        ("integer", {"Retry-After": "3"}),
        ("fractional", {"Retry-After": "2.500"}),
        ("date", {"Retry-After": "Mon, 02 Mar 2026 08:00:02 GMT"}),
        ("ms", {"x-ms-retry-after-ms": "2500"}),
        ("both", {"Retry-After": "3", "x-ms-retry-after-ms": "2500"}),
    ],
)
async def test_how_a_client_is_asked_to_wait(lab: Lab, form: str, headers: dict[str, str]) -> None:
    """A 429 has Retry-After in each form that services use, RFC 9110's date included."""
    graph = await admin(lab)
    movable_wall(lab).freeze(datetime(2026, 3, 2, 8, tzinfo=UTC))
    planned(lab, "status", status=429, retry_after=form, wait=2.5)
    reply = await graph("GET", PFX)
    assert (reply.status, reply.code) == (429, "TooManyRequests")
    given_headers = {n: reply.headers[n] for n in ("Retry-After", "x-ms-retry-after-ms") if n in reply.headers}
    assert given_headers == headers


async def test_503_after_the_write(lab: Lab) -> None:
    """With `after_write` the record exists although the client got a 503, and the journal says so once."""
    graph = await admin(lab)
    planned(lab, "status", route=POST, status=503, after_write=True)
    assert (await graph("POST", PFX, record(lab))).status == 503
    assert await count(graph) == 1
    (told,) = [e for e in lab.cloud.journal.entries(method="POST", path="userPfx") if e.event == "request"]
    assert told.reason == "injected by fault-1, after it was carried out (201)"


async def test_one_request_of_a_batch_fails(lab: Lab) -> None:
    """A fault strikes one request inside a $batch, and its other requests succeed."""
    graph = await admin(lab)
    planned(lab, "status", route="*/users", status=500)
    requests = [{"id": str(n), "method": "GET", "url": url} for n, url in enumerate(("/users", "/groups"))]
    reply = await graph("POST", "/v1.0/$batch", {"requests": requests})
    assert [one["status"] for one in reply.json["responses"]] == [500, 200]


async def test_latency(lab: Lab) -> None:
    """A delayed response takes the configured seconds of real time, although the lab's clock stands still."""
    graph = await admin(lab)
    lab.clock.freeze()
    planned(lab, "latency", seconds=0.3)
    loop_time = __import__("asyncio").get_running_loop().time
    begin = loop_time()
    assert (await graph("GET", PFX)).status == 200
    assert 0.3 <= loop_time() - begin < 5


@pytest.mark.parametrize(("kind", "written"), [("reset", 0), ("lost_answer", 1)])
async def test_connection_that_closes(lab: Lab, kind: str, written: int) -> None:
    """A reset closes the connection and nothing is done; a lost answer closes it after the record was written."""
    graph = await admin(lab)
    planned(lab, kind, route=POST)
    assert await broken(graph, "POST", PFX, record(lab)) in ("ServerDisconnectedError", "ClientOSError")
    assert await count(graph) == written


async def test_truncated_answer(lab: Lab) -> None:
    """A truncated answer breaks off in its body."""
    graph = await admin(lab)
    planned(lab, "truncated")
    assert await broken(graph, "GET", PFX) == "ClientPayloadError"
    assert (await graph("GET", PFX)).status == 200


async def test_malformed_answer(lab: Lab) -> None:
    """A malformed answer has its status and length, and a body that no JSON parser reads."""
    graph = await admin(lab)
    planned(lab, "malformed")
    reply = await graph("GET", PFX)
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.text)


async def test_expired_token(lab: Lab) -> None:
    """A token that ends in the middle of a run is refused from then on, and a new one is good."""
    graph = await admin(lab)
    assert (await graph("GET", PFX)).status == 200
    planned(lab, "expired_token")
    replies = [await graph("GET", PFX) for _ in range(2)]
    assert [reply.status for reply in replies] == [401, 401]
    assert [reply.code for reply in replies] == ["InvalidAuthenticationToken"] * 2
    assert "expired" in replies[0].message
    assert (await (await admin(lab))("GET", PFX)).status == 200


async def pages(lab: Lab, variant: str) -> tuple[list[str], str]:
    """Return the thumbprints that a client collects from a list of three pages, and the last link it got."""
    graph, link, found = await admin(lab), PFX, list[str]()
    for number in range(3):
        await graph("POST", PFX, record(lab, thumbprint=f"{number:040x}"))
    planned(lab, "next_link", variant=variant)
    with lab.switched(page_size=1):
        for _ in range(9):
            page: Reply = await graph("GET", link.removeprefix(graph.origin))
            if page.status != 200:
                return found, link
            found += [one["thumbprint"][-1] for one in page.json["value"]]
            link = page.json.get("@odata.nextLink", "")
            if not link.startswith(graph.origin):
                return found, link
    return found, link


@pytest.mark.parametrize(
    ("variant", "seen", "last"),
    [("same_page", ["0", "0", "1", "2"], ""), ("missing_page", ["0"], "there-is-no-such-page"), ("no_url", ["0"], "next page, please")],
)  # fmt: skip
async def test_damaged_next_link(lab: Lab, variant: str, seen: list[str], last: str) -> None:
    """A damaged nextLink repeats a page, points to a missing page, or is not an address."""
    found, link = await pages(lab, variant)
    assert found == seen
    assert link.endswith(last)


async def test_sign_in_fails_with_entra_errors(lab: Lab) -> None:
    """A fault on the token endpoint answers in OAuth's shape, for the application it names only."""
    made = lab.operator.credentials
    planned(lab, "status", route="*/oauth2/v2.0/token", status=503, actor=made.admin_client_id, retry_after="integer")
    async with lab.graph() as client:
        form = {**lab.admin_form(), "client_id": made.limited_client_id, "client_secret": made.limited_client_secret}
        await client.sign_in(form)
        with pytest.raises(GraphRefused, match="AADSTS90033"):
            await client.sign_in(lab.admin_form())
        await client.sign_in(lab.admin_form())


async def test_link_fault_waits_for_a_link(lab: Lab) -> None:
    """A fault on links does not count for a response without one, nor does a fault on responses for a whole batch."""
    graph = await admin(lab)
    planned(lab, "next_link")
    planned(lab, "status", status=500)
    requests = [{"id": "1", "method": "GET", "url": "/users"}]
    reply = await graph("POST", "/v1.0/$batch", {"requests": requests})
    assert (reply.status, reply.json["responses"][0]["status"]) == (200, 500)
    assert (await graph("GET", "/v1.0/users")).status == 200
    assert [one.struck for one in lab.cloud.faults.all()] == [0, 1]


@pytest.mark.parametrize(("form", "status"), [("unknown_values", 201), ("other_status", 200)])
async def test_odd_answer(lab: Lab, form: str, status: int) -> None:
    """An unusual answer is right: the record is there, and it has values of a later version or another 2xx status."""
    graph = await admin(lab)
    planned(lab, "odd_answer", form=form, route=POST)
    reply = await graph("POST", PFX, record(lab))
    assert reply.status == status
    assert ("propertyOfALaterVersion" in reply.json) is (form == "unknown_values")
    assert await count(graph) == 1


async def test_link_to_another_host(lab: Lab) -> None:
    """A link to another host uses another name of this server, so that a client that follows it is seen."""
    found, link = await pages(lab, "other_host")
    assert found == ["0"]
    assert link.startswith("https://127.0.0.1:")


@pytest.mark.parametrize(
    ("asked", "address", "named"),
    [
        ("localhost:9", "127.0.0.1", "127.0.0.1:9"),
        ("127.0.0.1:9", "127.0.0.1", "localhost:9"),
        ("localhost:9", "[::1]", "[::1]:9"),
        ("[::1]:9", "[::1]", "localhost:9"),
    ],
)
def test_other_host_is_an_address_of_the_lab(asked: str, address: str, named: str) -> None:
    """The link to another host is to the address the lab listens on, or to localhost where that address was asked."""
    incoming = Incoming("GET", f"https://{asked}", "beta", "users", address=address)
    page = damaged({"@odata.nextLink": f"https://{asked}/beta/users?$skiptoken=x"}, "other_host", incoming)
    assert page["@odata.nextLink"] == f"https://{named}/beta/users?$skiptoken=x"


async def test_link_to_another_host_through_the_proxy(lab: Lab) -> None:
    """A client with Microsoft's built-in host gets a link to another host that the proxy maps to this server."""
    graph = await admin(lab)
    for number in range(2):
        await graph("POST", PFX, record(lab, thumbprint=f"{number:040x}"))
    planned(lab, "next_link", variant="other_host")
    with lab.switched(page_size=1):
        reply = await graph("GET", PFX, headers={"Host": "graph.microsoft.com"})
    host = reply.json["@odata.nextLink"].split("/")[2]
    assert host != "graph.microsoft.com"
    assert decide(f"CONNECT {host}:443 HTTP/1.1") is None


async def test_actor_and_certificate(lab: Lab) -> None:
    """A fault for one application and certificate does not affect other applications and records."""
    made, graph = lab.operator.credentials, await admin(lab)
    async with lab.graph() as client:
        form = {**lab.admin_form(), "client_id": made.limited_client_id, "client_secret": made.limited_client_secret}
        limited = Raw(lab, await client.sign_in(form))
    planned(lab, "status", actor=made.limited_client_id, times="always", status=500)
    planned(lab, "status", certificate="aa" * 20, times="always", status=502)
    assert (await graph("POST", PFX, record(lab))).status == 201
    assert (await graph("POST", PFX, record(lab, thumbprint="AA" * 20))).status == 502
    assert (await limited("GET", "/v1.0/users")).status == 500


async def test_connector_and_device_rooms_fail_too(lab: Lab) -> None:
    """A fault on the connector's or a device's address strikes them, and each recovers."""
    planned(lab, "status", route="*/connector/heartbeat", status=500)
    await lab.start_connector()
    device = await lab.device("windows", lab.operator.credentials.user_upn)
    planned(lab, "status", actor=device.identity.device_id, status=500)
    with pytest.raises(Exception, match="HTTP 500"):
        await device.check_in()
    assert await device.check_in() >= 1


async def test_control_api_is_out_of_reach_of_faults(lab: Lab) -> None:
    """A fault on every route does not affect the control API, which can remove it."""
    planned(lab, "status", route="*", times="always")
    control = Raw(lab, lab.emulator.control_token)
    assert (await control("DELETE", "/lab/v1/faults")).json["faults"][0]["struck"] == 0
    assert (await (await admin(lab))("GET", PFX)).status == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kind": "statu"}, "kind: expected one of status, latency, .*, got 'statu'"),
        ({"kind": "status", "status": 200}, "status: expected a whole number from 400 to 599, got 200"),
        ({"kind": "status", "seconds": 1}, "seconds: the kind status takes status, after_write"),
        ({"kind": "reset", "status": 500}, "the kind reset takes no settings"),
        ({"kind": "lost", "route": "/x"}, "route: the kind lost applies to a device"),
        ({"kind": "status", "times": 0}, "times: expected a whole number from 1 to 1000000, got 0"),
        ({"kind": "status", "probability": 0}, "probability: expected a number above 0, at most 1, got 0"),
        ({"kind": "wrong_os", "os_version": "eighteen"}, "os_version: expected a version such as 12.0, got 'eighteen'"),
        ({}, "fault: expected kind, got none"),
        ("reset", "fault: expected values such as {a: b}, got 'reset'"),
    ],
)
def test_fault_that_cannot_be(asked: Any, said: str) -> None:
    """An unknown kind, a setting of another kind and a value out of range are refused with the place."""
    with pytest.raises(BadFault, match=said.replace("(", r"\(")):
        read_fault(asked)


OCCASION = Occasion("http", "GET", "/beta/users", "tool", "")


@given(after=st.integers(0, 5), times=st.integers(1, 5))
def test_count_rules(after: int, times: int) -> None:
    """A fault skips `after` occasions, strikes `times` in a row, and never again."""
    faults = Faults(7)
    faults.add(Fault("status", after=after, times=times))
    struck = [faults.strike(OCCASION, ("status",)) is not None for _ in range(after + times + 5)]
    assert struck == [False] * after + [True] * times + [False] * 5


@given(seed=st.integers(0, 2**32), probability=st.floats(0.05, 0.95))
def test_chance_is_the_seed_s(seed: int, probability: float) -> None:
    """The same seed gives the same random decisions, whatever other faults are planned."""
    alone, among = Faults(seed), Faults(seed)
    for faults in (alone, among):
        faults.add(Fault("status", times=None, probability=probability))
    among.add(Fault("latency", times=None, probability=0.5))
    first = [alone.strike(OCCASION, ("status",)) is not None for _ in range(40)]
    again = []
    for _ in range(40):
        among.strike(OCCASION, ("latency",))
        again.append(among.strike(OCCASION, ("status",)) is not None)
    assert first == again


def test_probability_is_kept() -> None:
    """Of 10,000 occasions a fault of probability 0.3 strikes about 3,000."""
    faults = Faults(11)
    faults.add(Fault("status", times=None, probability=0.3))
    assert 2800 < sum(faults.strike(OCCASION, ("status",)) is not None for _ in range(10_000)) < 3200


def test_first_fault_strikes_alone() -> None:
    """Of two faults that fit, the first planned strikes until it is spent; both have counted the occasion."""
    faults = Faults(7)
    faults.add(Fault("status", times=1))
    faults.add(Fault("reset", times=1))
    kinds = [planned.fault.kind for _ in range(3) if (planned := faults.strike(OCCASION, ("status", "reset")))]
    assert kinds == ["status", "reset"]
    assert [(one.fitted, one.struck) for one in faults.all()] == [(3, 1), (3, 1)]


@pytest.mark.parametrize(
    ("route", "method", "path", "fits"),
    [
        ("POST */userPfxCertificates", "POST", "/beta/deviceManagement/userPFXCertificates", True),
        ("POST */userPfxCertificates", "GET", "/beta/deviceManagement/userPFXCertificates", False),
        ("/beta/users", "GET", "/beta/users/", True),
        ("/beta/users", "GET", "/beta/users/1", False),
        ("*/users*", "GET", "/v1.0/users/1", True),
        ("", "DELETE", "/anything", True),
    ],
)
def test_routes(route: str, method: str, path: str, fits: bool) -> None:
    """A route fits by method and path, without regard to case and with `*` for anything."""
    assert Fault("status", route=route).fits(Occasion("http", method, path)) is fits


def test_saved_faults_come_back() -> None:
    """Faults saved as JSON keep their counts when they are loaded."""
    faults = Faults(7)
    for kind in KINDS:
        faults.add(read_fault({"kind": kind, "times": 2, "after": 1}))
    for _ in range(2):
        faults.strike(OCCASION, ("status",))
    other = Faults(7)
    other.restore(json.loads(json.dumps(faults.saved())))
    assert other.all() == faults.all()
    assert other.add(Fault("reset")).id == f"fault-{len(KINDS) + 1}"


async def test_tls_is_still_verified(lab: Lab) -> None:
    """Faults do not weaken TLS: a client without the lab's CA gets no response."""
    planned(lab, "latency", seconds=0)
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        async with aiohttp.ClientSession() as session:
            await session.get(f"{lab.emulator.origin}{PFX}", ssl=ssl.create_default_context())
