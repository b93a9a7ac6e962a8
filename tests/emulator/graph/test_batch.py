"""$batch over HTTP. Expected values: sources.md#json-batching."""

import json
from typing import Any

import pytest

from pfxlab.scenarios.lab.lab import Lab
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
        {"id": "count", "method": "GET", "url": f"{graph.origin}/beta/deviceManagement/userPfxCertificates/$count", "depends_on": ["list"]},
        {"id": "user", "method": "GET", "url": "/beta/users?$top=1&$select=id"},
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
        [{"id": "1", **GET, "dependsOn": ["2"]}],
        [{"id": "1", **GET, "dependsOn": ["2"]}, {"id": "2", **GET, "dependsOn": ["1"]}],
        [{"method": "GET", "url": "/users"}],
        [],
        "cheese",
    ],
    ids=["21 requests", "id twice", "no Content-Type", "unknown dependency", "circle", "no id", "none", "no list"],
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
    requests = [{"id": "1", "method": "BREW", "url": "/users"}, {"id": "2", "method": "POST", "url": "/$batch"}]
    shown = answers(await (await admin(lab))("POST", BATCH, {"requests": requests}))
    assert {shown[name][0] for name in "12"} == {405}
    assert (await (await admin(lab))("GET", BATCH)).status == 405


async def test_each_item_needs_its_permission(lab: Lab) -> None:
    """The token is checked for the batch and for each item."""
    made = lab.operator.credentials
    async with lab.graph() as client:
        form = {"client_id": made.limited_client_id, "client_secret": made.limited_client_secret}
        limited = Raw(lab, await client.sign_in({"grant_type": "client_credentials", **form}))
    requests = [{"id": "1", "method": "GET", "url": "/users"}, {"id": "2", "method": "GET", "url": PFX}]
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
        {"id": "3", "method": "POST", "url": "/%24batch"},
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


async def test_addresses_of_a_batch_are_bounded_together(lab: Lab) -> None:
    """A batch of twenty requests with the longest addresses is refused, since it would block other requests."""
    graph = await admin(lab)
    requests = [{"id": str(number), "method": "GET", "url": f"/users?$filter={'(' * 8000}"} for number in range(20)]
    reply = await graph("POST", BATCH, {"requests": requests})
    assert reply.status == 400
    (entry,) = lab.cloud.journal.entries(rule="BatchInvalid")
    assert "at most 24570 characters together, got 160300" in str(entry.reason)
