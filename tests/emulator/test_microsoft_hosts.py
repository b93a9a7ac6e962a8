"""Microsoft's host names through the proxy: each serves what it serves in reality, and each cloud takes its own tokens.

Expected values: sources.md#national-clouds, sources.md#token-refusals.
"""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import pytest_asyncio

from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.graph.client import PFX
from tests.emulator.raw_wire import RawWire

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOUDS = {
    "login.microsoftonline.com": "graph.microsoft.com",
    "login.microsoftonline.us": "graph.microsoft.us",
    "login.partner.microsoftonline.cn": "microsoftgraph.chinacloudapi.cn",
}
"""Sign-in host → Graph host of the same cloud."""

FORM_TYPE = b"Content-Type: application/x-www-form-urlencoded"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Return one lab for all tests of this file."""
    async with new_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


async def sign_in(lab: Lab, login: str, scope: str) -> tuple[int, Any]:
    """Return status and answer of a token request at a sign-in host."""
    form = urlencode({**lab.admin_form(), "scope": scope}).encode()
    path = f"/{lab.operator.credentials.tenant_id}/oauth2/v2.0/token"
    code, body = await RawWire(lab)("POST", path, form, FORM_TYPE, host=login.encode())
    return code, json.loads(body)


async def graph(lab: Lab, host: str, token: str) -> tuple[int, Any]:
    """Return status and answer of Graph at a host."""
    header = f"Authorization: Bearer {token}".encode()
    code, body = await RawWire(lab)("GET", PFX, b"", header, host=host.encode())
    return code, json.loads(body)


@pytest.mark.parametrize("login", CLOUDS)
async def test_each_cloud_takes_its_own_tokens(lab: Lab, login: str) -> None:
    """A token is for the Graph of the cloud it was issued in; those of other clouds answer 401, Invalid audience."""
    own = CLOUDS[login]
    _, answer = await sign_in(lab, login, f"https://{own}/.default")
    token = answer["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == f"https://{own}"
    statuses = {host: (await graph(lab, host, token))[0] for host in CLOUDS.values()}
    assert statuses == {host: 200 if host == own else 401 for host in CLOUDS.values()}
    other = next(host for host in CLOUDS.values() if host != own)
    refused = (await graph(lab, other, token))[1]["error"]
    assert refused["code"] == "InvalidAuthenticationToken"
    assert refused["message"] == "Access token validation failure. Invalid audience."
    (entry,) = lab.cloud.journal.entries(rule="AudienceWrong", newest=True, limit=1)
    assert f"expected a token for https://{other}" in str(entry.reason)


async def test_departments_of_the_us_government_are_apart(lab: Lab) -> None:
    """The two Graph hosts of the US government share a sign-in host, and take no token of each other's."""
    _, answer = await sign_in(lab, "login.microsoftonline.us", "https://dod-graph.microsoft.us/.default")
    hosts = ("dod-graph.microsoft.us", "graph.microsoft.us")
    assert [(await graph(lab, host, answer["access_token"]))[0] for host in hosts] == [200, 401]


@pytest.mark.parametrize("login", CLOUDS)
async def test_graph_of_another_cloud_is_an_unknown_resource(lab: Lab, login: str) -> None:
    """A sign-in host refuses a scope of another cloud's Graph with AADSTS500011."""
    other = next(host for host in CLOUDS.values() if host != CLOUDS[login])
    code, answer = await sign_in(lab, login, f"https://{other}/.default")
    assert (code, answer["error_codes"]) == (400, [500011])


@pytest.mark.parametrize("host", CLOUDS.values())
async def test_own_address_takes_tokens_of_every_cloud(lab: Lab, host: str) -> None:
    """At the lab's own address sign-in and Graph serve every cloud."""
    own = f"localhost:{lab.emulator.port}"
    _, answer = await sign_in(lab, own, f"https://{host}/.default")
    assert (await graph(lab, own, answer["access_token"]))[0] == 200


@pytest.mark.parametrize("host", [*CLOUDS.values(), "dod-graph.microsoft.us"])
async def test_graph_hosts_serve_graph_only(lab: Lab, host: str) -> None:
    """At a Graph host, addresses of sign-in, enrolment, the control API and admin centre are paths without a version."""
    tenant = lab.operator.credentials.tenant_id
    for method, path in (
        ("POST", f"/{tenant}/oauth2/v2.0/token"),
        ("GET", "/common/discovery/instance"),
        ("GET", "/lab/v1/health"),
        ("GET", "/admin"),
        ("POST", "/EnrollmentServer/Discovery.svc"),
    ):
        code, body = await RawWire(lab)(method, path, host=host.encode())
        error = json.loads(body)["error"]
        segment = path.split("/")[1].lower()
        assert (code, error["code"], error["message"]) == (404, "ResourceNotFound", f"Invalid version: {segment}")


@pytest.mark.parametrize("host", [*CLOUDS, "westeurope.login.microsoft.com"])
async def test_sign_in_hosts_serve_sign_in_only(lab: Lab, host: str) -> None:
    """At a sign-in host, Graph, the control API and the admin centre are 404, and the journal says what it serves."""
    for path in ("/beta/users", "/v1.0/$metadata", "/lab/v1/health", "/admin", "/nothing"):
        code, body = await RawWire(lab)("GET", path, host=host.encode())
        assert (code, body) == (404, b"")
        (entry,) = lab.cloud.journal.entries(rule="WrongHost", newest=True, limit=1)
        assert (entry.party, entry.reason) == (
            "entra",
            f"{host} serves sign-in only, and does not have this address",
        )
    assert (await RawWire(lab)("GET", "/common/v2.0/.well-known/openid-configuration", host=host.encode()))[0] == 200
