"""Lists of a collection through dispatch, in process and without a socket."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.entra.grants import TokenRequest, token
from pfxlab.emulator.graph.dispatch import dispatch
from pfxlab.emulator.graph.request import Incoming
from pfxlab.emulator.lab.seed import add_user, seed

ORIGIN = "https://localhost"
NAMES = [f"user{number:02}@pfxlab.example" for number in range(25)]


class Graph:
    """Graph of a cloud that lives in memory."""

    def __init__(self) -> None:
        cloud = Cloud(Config(), LabClock())
        made = seed(cloud)
        for name in NAMES:
            add_user(cloud, made.tenant_id, name, "password of a test")
        form = {
            "grant_type": "client_credentials",
            "client_id": made.admin_client_id,
            "client_secret": made.admin_client_secret,
            "scope": "https://graph.microsoft.com/.default",
        }
        self.cloud = cloud
        asked = TokenRequest(cloud.directory.tenants()[0], form, ORIGIN, made.tenant_id)
        self._token = token(cloud, asked)["access_token"]

    def get(self, path: str, query: str = "", **headers: str) -> tuple[int, Any]:
        """Return status and body of an answer."""
        sent = {"authorization": f"Bearer {self._token}", **headers}
        answer = dispatch(self.cloud, Incoming("GET", ORIGIN, "v1.0", path, query, sent))
        return answer.status, json.loads(answer.body)

    def names(self, query: str) -> list[str]:
        """Return the names of the users on one page, of an advanced query."""
        status, body = self.get("users", f"{query}&$count=true", consistencylevel="eventual")
        assert status == 200, body
        return [user["userPrincipalName"] for user in body["value"]]


@pytest.fixture(scope="module")
def graph() -> Iterator[Graph]:
    """Return Graph with 25 users in addition to those of every lab."""
    made = Graph()
    yield made
    made.cloud.close()


def test_pages_are_disjoint_and_complete(graph: Graph) -> None:
    """Following nextLink with $top=4 meets each user once, and the last page has no link."""
    seen: list[str] = []
    query = "$top=4&$orderby=userPrincipalName"
    while query:
        _, body = graph.get("users", query)
        seen += [user["userPrincipalName"] for user in body["value"]]
        assert len(body["value"]) <= 4
        query = urlsplit(body.get("@odata.nextLink", "")).query
    assert seen == sorted({*NAMES, *seen})
    assert set(NAMES) <= set(seen)


def test_order_and_filter_work_together(graph: Graph) -> None:
    """A filter limits, an order turns round, $top cuts."""
    found = graph.names("$filter=startswith(userPrincipalName,'user1')&$orderby=userPrincipalName desc&$top=3")
    assert found == ["user19@pfxlab.example", "user18@pfxlab.example", "user17@pfxlab.example"]


def test_select_leaves_the_rest_out(graph: Graph) -> None:
    """$select returns only the named properties, and the context names them too."""
    _, body = graph.get("users", "$top=1&$select=userPrincipalName")
    (user,) = body["value"]
    assert {name for name in user if not name.startswith("@")} == {"userPrincipalName"}
    assert body["@odata.context"].endswith("#users(userPrincipalName)")


def test_count_of_the_directory_needs_consistency(graph: Graph) -> None:
    """$count of a list of users requires ConsistencyLevel: eventual, as for every directory object."""
    _, body = graph.get("users", "$count=true&$top=1", consistencylevel="eventual")
    assert body["@odata.count"] >= len(NAMES)
    _, without = graph.get("users", "$count=true&$top=1")
    assert "@odata.count" not in without


@pytest.mark.parametrize("query", ["$top=0", "$top=-1", "$top=x", "$orderby=nothing", "$filter=x"])
def test_options_that_cannot_be_are_refused(graph: Graph, query: str) -> None:
    """An invalid value of an option gets 400 with an error in Graph's form."""
    status, body = graph.get("users", query)
    assert (status, bool(body["error"]["code"])) == (400, True)
