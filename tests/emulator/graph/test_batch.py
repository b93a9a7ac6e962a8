"""$batch over HTTP. Expected values: sources.md#json-batching."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.graph.dispatch import dispatch_in_turns
from pfxlab.emulator.graph.request import Incoming
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.graph.client import PFX, Raw, Reply, admin, record

BATCH = "/beta/$batch"
JSON = {"Content-Type": "application/json"}
POST = {"method": "POST", "url": "/deviceManagement/userPfxCertificates", "headers": JSON}


def answers(reply: Reply) -> dict[str, tuple[int, Any]]:
    """Return id → (status, body)."""
    assert reply.status == 200, reply.text
    return {answer["id"]: (answer["status"], answer.get("body")) for answer in reply.json["responses"]}


async def test_requests_run_in_the_order_of_their_dependencies(lab: Lab) -> None:
    """An import, a list that waits for it, a count and a deletion work in one batch, each answered by its id."""
    graph = await admin(lab)
    requests = [
        {"id": "list", "method": "GET", "url": "deviceManagement/userPfxCertificates", "dependsOn": ["import"]},
        {"id": "import", **POST, "body": record(lab)},
        {"id": "count", "method": "GET", "url": "deviceManagement/userPfxCertificates/$count", "depends_on": ["list"]},
        {"id": "user", "method": "GET", "url": "/users?$top=1&$select=id"},
    ]  # fmt: skip
    shown = answers(await graph("POST", BATCH, {"requests": requests}))
    assert shown["import"][0] == 201
    assert [item["id"] for item in shown["list"][1]["value"]] == [shown["import"][1]["id"]]
    assert shown["count"] == (200, "1")
    assert list(shown["user"][1]["value"][0]) == ["id"]


async def test_failed_dependency_is_424(lab: Lab) -> None:
    """Requests that depend on a refused one are not run and get 424; others run."""
    graph = await admin(lab)
    requests = [
        {"id": "1", **POST, "body": record(lab, intendedPurpose="cheese")},
        {"id": "2", **POST, "body": record(lab), "dependsOn": ["1"]},
        {"id": "3", "method": "GET", "url": "/users", "dependsOn": []},
    ]
    shown = answers(await graph("POST", BATCH, {"requests": requests}))
    assert [shown[name][0] for name in "123"] == [400, 424, 200]
    assert shown["1"][1]["error"]["code"] == "ModelValidationFailure"
    assert (await graph("GET", PFX)).json["value"] == []


GET = {"method": "GET", "url": "/users"}


@pytest.mark.parametrize(
    "requests",
    [
        [{"id": str(n), **GET} for n in range(21)],
        [{"id": "a", **GET}, {"id": "A", **GET}],
        [{"id": "1", "method": "POST", "url": "/users", "body": {}}],
        [{"id": "1", "method": "POST", "url": "/users", "headers": JSON}],
        [{"id": "1", "method": "PUT", "url": "/users"}],
        [{"id": "1", **GET, "body": {}}],
        [{"id": 1, **GET}, {"id": "1", **GET}],
        [{"id": None, **GET}],
        [{"id": "1", **GET, "dependsOn": ["2"]}],
        [{"id": "1", **GET, "dependsOn": ["2"]}, {"id": "2", **GET, "dependsOn": ["1"]}],
        [{"method": "GET", "url": "/users"}],
        [],
        "cheese",
    ],
    ids=[
        "21 requests",
        "id twice",
        "no Content-Type",
        "no body",
        "neither",
        "body of a GET",
        "id twice, once a number",
        "null id",
        "unknown dependency",
        "circle",
        "no id",
        "none",
        "no list",
    ],
)
async def test_bad_batch_is_refused_whole(lab: Lab, requests: Any) -> None:
    """A batch that breaks a rule gets 400 as a whole, and none of its requests is run."""
    graph = await admin(lab)
    if isinstance(requests, list) and requests and "id" in requests[0]:
        requests = [{"id": "import", **POST, "body": record(lab)}, *requests]
    reply = await graph("POST", BATCH, {"requests": requests})
    assert (reply.status, reply.code) == (400, "BadRequest")
    assert (await graph("GET", PFX)).json["value"] == []


async def test_batch_knows_no_other_methods_and_no_batches(lab: Lab) -> None:
    """An unknown method and a batch in a batch are 405 for that item."""
    nested = {"id": "2", "method": "POST", "url": "/$batch", "headers": JSON, "body": {}}
    requests = [{"id": "1", "method": "BREW", "url": "/users"}, nested]
    shown = answers(await (await admin(lab))("POST", BATCH, {"requests": requests}))
    assert {shown[name][0] for name in "12"} == {405}
    assert (await (await admin(lab))("GET", BATCH)).status == 405


async def test_each_item_needs_its_permission(lab: Lab) -> None:
    """The token is checked for the batch and for each item."""
    made = lab.operator.credentials
    async with lab.graph() as client:
        form = {"client_id": made.limited_client_id, "client_secret": made.limited_client_secret}
        limited = Raw(lab, await client.sign_in({"grant_type": "client_credentials", **form}))
    requests = [{"id": "1", "method": "GET", "url": "/users"}, {"id": "2", "method": "GET", "url": POST["url"]}]
    shown = answers(await limited("POST", BATCH, {"requests": requests}))
    assert [shown[name][0] for name in "12"] == [200, 403]
    body = json.dumps({"requests": requests}).encode()
    assert (await Raw(lab, None)("POST", BATCH, data=body, headers=JSON)).status == 401


async def test_bad_item_spoils_no_other(lab: Lab) -> None:
    """An invalid address, and a batch within a batch in any spelling, are refused for that item; others run."""
    graph = await admin(lab)
    requests = [
        {"id": "1", **POST, "body": record(lab)},
        {"id": "2", "method": "GET", "url": "http://[x"},
        {"id": "3", "method": "POST", "url": "/%24batch", "headers": JSON, "body": {}},
    ]
    shown = answers(await graph("POST", BATCH, {"requests": requests}))
    assert [shown[name][0] for name in "123"] == [201, 400, 405]


async def test_half_characters_cost_no_journal_line(lab: Lab) -> None:
    """A batch with a lone surrogate is refused, and earlier requests are still in the journal."""
    graph = await admin(lab)
    for _ in range(3):
        await graph("GET", PFX)
    body = b'{"requests": [{"id": "1", "method": "GET", "url": "/users", "dependsOn": ["\\ud800"]}]}'
    assert (await graph("POST", BATCH, data=body, headers=JSON)).status == 400
    entries = [entry.outcome for entry in lab.cloud.journal.entries() if entry.event == "request"]
    assert entries == ["ok", "ok", "ok", "refused"]


async def test_addresses_in_a_batch_are_no_longer_than_on_a_request_line(lab: Lab) -> None:
    """An address that no request line could carry is refused by itself, unread; the others of the batch run."""
    graph = await admin(lab)
    requests = [
        {"id": "long", "method": "GET", "url": f"/users?$search={'%20' * 2800}"},
        {"id": "fits", "method": "GET", "url": "/users?$top=1"},
    ]
    shown = answers(await graph("POST", BATCH, {"requests": requests}))
    assert [shown[name][0] for name in ("long", "fits")] == [400, 200]
    assert "at most 8190 characters, got 8415" in shown["long"][1]["error"]["message"]


async def test_batch_of_the_longest_addresses_is_answered(lab: Lab) -> None:
    """Twenty requests whose addresses are as long as any may be are answered one by one, as Graph does."""
    graph = await admin(lab)
    url = "/users?$filter=" + " or ".join([f"startswith(displayName,'{'x' * 950}')"] * 8)
    assert 7800 < len(url) < 8190
    requests = [{"id": str(number), "method": "GET", "url": url} for number in range(20)]
    shown = answers(await graph("POST", BATCH, {"requests": requests}))
    assert {(status, len(body["value"])) for status, body in shown.values()} == {(200, 0)}


async def test_others_are_served_between_the_requests_of_a_batch(lab: Lab) -> None:
    """The event loop has a turn after each request of a batch, and the answers are those of a batch all the same."""
    async with lab.graph() as client:
        token = await client.sign_in(lab.admin_form())
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    requests = [{"id": str(number), **GET} for number in range(20)]
    body = json.dumps({"requests": requests}).encode()
    batch = Incoming("POST", lab.emulator.origin, "beta", "$batch", "", headers, body)
    answering, turns = asyncio.create_task(dispatch_in_turns(lab.cloud, batch)), 0
    while not answering.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > len(requests)
    assert [one["status"] for one in json.loads((await answering).body)["responses"]] == [200] * 20


@pytest.mark.parametrize(("sent", "answered"), [(1, "1"), (1.5, "1.5"), (True, "true"), ("1", "1")])
async def test_ids_of_any_kind_are_answered_as_texts(lab: Lab, sent: Any, answered: str) -> None:
    """Tools number their requests: the answer names them in text, and dependencies find them (high; #batch-ids)."""
    graph = await admin(lab)
    requests = [{"id": "after", **GET, "dependsOn": [sent]}, {"id": sent, **GET}]
    assert {
        one["id"]: one["status"] for one in (await graph("POST", BATCH, {"requests": requests})).json["responses"]
    } == {
        answered: 200,
        "after": 200,
    }


@pytest.mark.parametrize("missing", [{}, {"headers": JSON}, {"body": {}}, {"headers": JSON, "body": None}])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_write_without_body_refuses_the_whole_batch(lab: Lab, method: str, missing: dict[str, Any]) -> None:
    """A POST, PATCH or PUT without body or Content-Type refuses its batch, by its id (certain; #batch-writes)."""
    graph = await admin(lab)
    bare = {"id": 7, "method": method, "url": "/deviceManagement/managedDevices/x/syncDevice", **missing}
    reply = await graph("POST", BATCH, {"requests": [{"id": "import", **POST, "body": record(lab)}, bare]})
    assert (reply.status, reply.code) == (400, "BadRequest")
    assert reply.message == "Write request id : 7 does not contain Content-Type header or body."
    assert (await graph("GET", PFX)).json["value"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("newer", "Number of requests inside batch exceeds the limit"), ("older", "Invalid batch payload format.")],
)
async def test_more_than_twenty_requests(tmp_path: Path, text: Any, message: str) -> None:
    """A batch of 21 is refused in the words of the switch (medium; #batch-limit-text)."""
    async with new_lab(tmp_path, Config(switches=Switches(batch_limit_text=text))) as lab:
        reply = await (await admin(lab))("POST", BATCH, {"requests": [{"id": n, **GET} for n in range(21)]})
        assert (reply.status, reply.code, reply.message) == (400, "BadRequest", message)


@pytest.mark.parametrize(
    ("addresses", "answers_"),
    [
        ("relative", {"v": (400, "v1.0"), "b": (400, "beta"), "h": (400, "https:")}),
        ("any", dict.fromkeys("bh", (200, ""))),
    ],
)
async def test_addresses_are_relative(tmp_path: Path, addresses: Any, answers_: dict[str, Any]) -> None:
    """An address with version or host is read as a path that is not there, or taken with the switch (#batch-addresses)."""
    async with new_lab(tmp_path, Config(switches=Switches(batch_addresses=addresses))) as lab:
        graph = await admin(lab)
        urls = {"v": "/v1.0/users", "b": "/beta/users", "h": f"{graph.origin}/beta/users"}
        requests = [{"id": name, "method": "GET", "url": url} for name, url in urls.items()]
        shown = answers(await graph("POST", BATCH, {"requests": requests}))
        for name, (status, segment) in answers_.items():
            assert shown[name][0] == status
            if status == 400:
                error = shown[name][1]["error"]
                assert error["code"] == "BadRequest"
                assert error["message"] == f"Resource not found for the segment '{segment}'."
