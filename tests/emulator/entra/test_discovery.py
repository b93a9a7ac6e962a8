"""Documents that libraries read before they sign in, in every spelling, and the first version of the endpoints.

Expected values are Microsoft's, written from the cited sources: sources.md#authority-documents,
sources.md#v1-endpoints, sources.md#user-realm, sources.md#sign-in-hosts, sources.md#instance-metadata-service.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import pytest_asyncio

from pfxlab.emulator.proxy import decide
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.entra.test_entra import client_form
from tests.emulator.graph.client import PFX, Raw, Reply
from tests.emulator.raw_wire import RawWire

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GRAPH = "https://graph.microsoft.com"
MANAGED = {
    "ver": "1.0", "account_type": "Managed", "domain_name": "pfxlab.example",
    "cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Return one lab for all tests of this file."""
    async with new_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


async def get(lab: Lab, path: str) -> Reply:
    """Return the answer to a GET without a token."""
    return await Raw(lab, None)("GET", path)


async def post(lab: Lab, path: str, **form: str) -> Reply:
    """Return the answer to a form."""
    return await Raw(lab, None)("POST", path, data=urlencode(form).encode(), headers=FORM)


def claims(token: str) -> dict[str, Any]:
    """Return a token's claims, unverified."""
    body: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return body


@pytest.mark.parametrize("path", ["/common/userrealm/", "/common/UserRealm/", "/{tenant}/userrealm/", "/X/USERREALM/"])
async def test_user_realm_is_found_in_every_spelling(lab: Lab, path: str) -> None:
    """The realm of a user in the lab's domain is Managed, below any tenant and in any case."""
    path = path.format(tenant=lab.operator.credentials.tenant_id)
    reply = await get(lab, f"{path}someone@pfxlab.example?api-version=1.0")
    assert (reply.status, reply.json) == (200, MANAGED)


async def test_user_realm_of_another_domain_is_unknown(lab: Lab) -> None:
    """A domain that no tenant has is Unknown, without a domain name."""
    reply = await get(lab, "/common/userrealm/someone@fabrikam.example?api-version=1.0")
    assert (reply.json["account_type"], "domain_name" in reply.json) == ("Unknown", False)


async def test_user_realm_of_version_2_names_the_name_space(lab: Lab) -> None:
    """With api-version 2.1 and the user in the query the answer has NameSpaceType."""
    reply = await get(lab, "/common/userrealm?user=someone%40pfxlab.example&api-version=2.1")
    assert reply.json["NameSpaceType"] == "Managed"
    assert (reply.json["Login"], reply.json["DomainName"]) == ("someone@pfxlab.example", "pfxlab.example")


@pytest.mark.parametrize(
    ("asked", "named"),
    [("pfxlab.example", "{id}"), ("{id}", "{id}"), ("organizations", "organizations"), ("common", "common")],
)
async def test_documents_name_the_tenant_by_its_id(lab: Lab, asked: str, named: str) -> None:
    """Both OIDC documents have the tenant's id in every address, so that tools find it out; `common` stays."""
    tenant = lab.operator.credentials.tenant_id
    asked, named, origin = asked.format(id=tenant), named.format(id=tenant), lab.emulator.origin
    first = (await get(lab, f"/{asked}/.well-known/openid-configuration")).json
    second = (await get(lab, f"/{asked}/v2.0/.well-known/openid-configuration")).json
    assert first["issuer"] == f"https://sts.windows.net/{tenant}/"
    assert first["token_endpoint"] == f"{origin}/{named}/oauth2/token"
    assert second["token_endpoint"] == f"{origin}/{named}/oauth2/v2.0/token"
    keys = [(await get(lab, document["jwks_uri"].removeprefix(origin))).json for document in (first, second)]
    assert keys[0] == keys[1]
    assert keys[0]["keys"][0]["kty"] == "RSA"


@pytest.mark.parametrize("path", ["/nosuch.example/.well-known/openid-configuration", "/nosuch.example/oauth2/token"])
async def test_unknown_tenant_is_refused_by_version_1(lab: Lab, path: str) -> None:
    """A tenant that does not exist is AADSTS90002 at the endpoints of version 1 too."""
    reply = await (post(lab, path, **v1_form(lab)) if "token" in path else get(lab, path))
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (400, "invalid_tenant", [90002])


@pytest.mark.parametrize(
    ("authority", "first"),
    [
        ("", "{lab}"),
        ("https://{lab}/{tenant}/oauth2/v2.0/authorize", "{lab}"),
        ("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize", "{lab}"),
    ],
)
async def test_instance_discovery_lists_every_cloud(lab: Lab, authority: str, first: str) -> None:
    """Instance discovery answers for the authority that was asked about, and lists Microsoft's names as aliases."""
    here = lab.emulator.origin.removeprefix("https://")
    tenant = lab.operator.credentials.tenant_id
    authority = authority.format(lab=here, tenant=tenant)
    query = urlencode({"api-version": "1.1", **({"authorization_endpoint": authority} if authority else {})})
    answer = (await get(lab, f"/common/discovery/instance?{query}")).json
    host = authority.split("/")[2] if authority else here
    expected = f"https://{host}/{tenant}/v2.0/.well-known/openid-configuration"
    assert answer["tenant_discovery_endpoint"] == expected
    assert first.format(lab=here) in answer["metadata"][0]["aliases"]
    microsoft = {one["preferred_network"]: one for one in answer["metadata"][1:]}
    assert microsoft["login.microsoftonline.com"]["preferred_cache"] == "login.windows.net"
    assert {"login.windows.net", "login.microsoft.com", "sts.windows.net"} < set(
        microsoft["login.microsoftonline.com"]["aliases"]
    )
    assert microsoft["login.microsoftonline.us"]["aliases"] == ["login.microsoftonline.us", "login.usgovcloudapi.net"]


@pytest.mark.parametrize(
    "authority",
    ["https://evil.example/common/oauth2/authorize", "https://graph.microsoft.com/common", "https://[", "nonsense"],
)
async def test_instance_discovery_refuses_other_authorities(lab: Lab, authority: str) -> None:
    """An authority that is neither Microsoft's sign-in nor the lab is invalid_instance, AADSTS50049."""
    query = urlencode({"api-version": "1.1", "authorization_endpoint": authority})
    reply = await get(lab, f"/common/discovery/instance?{query}")
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (400, "invalid_instance", [50049])


async def test_microsofts_name_on_a_port_vouches_for_the_lab(lab: Lab) -> None:
    """Asked by the name of Microsoft's sign-in on the lab's port, as MSAL.NET does, discovery knows the lab's address."""
    here, wire = lab.emulator.origin.removeprefix("https://"), RawWire(lab)
    query = urlencode({"api-version": "1.1", "authorization_endpoint": f"https://{here}/common/oauth2/v2.0/authorize"})
    name = f"login.microsoftonline.com:{lab.emulator.port}".encode()
    status, body = await wire("GET", f"/common/discovery/instance?{query}", host=name)
    assert (status, here.encode() in body) == (200, True)


def v1_form(lab: Lab, **changes: str) -> dict[str, str]:
    """Return a client credentials request of version 1."""
    form = {name: value for name, value in client_form(lab).items() if name != "scope"}
    return {**form, "resource": GRAPH, **changes}


@pytest.mark.parametrize("resource", [GRAPH, f"{GRAPH}/", "00000003-0000-0000-c000-000000000000"])
async def test_version_1_gives_a_token_for_a_resource(lab: Lab, resource: str) -> None:
    """`resource` asks for the application's permissions; numbers are texts, and the token opens Graph."""
    made = lab.operator.credentials
    reply = await post(lab, f"/{made.tenant_id}/oauth2/token", **v1_form(lab, resource=resource))
    body = reply.json
    assert {
        name: type(body[name]) for name in ("expires_in", "ext_expires_in", "expires_on", "not_before")
    } == dict.fromkeys(("expires_in", "ext_expires_in", "expires_on", "not_before"), str)
    assert int(body["expires_on"]) - int(body["not_before"]) == int(body["expires_in"]) == 3600
    assert (body["token_type"], body["resource"]) == ("Bearer", resource)
    assert (await Raw(lab, body["access_token"])("GET", PFX)).status == 200


async def test_version_1_signs_a_user_in(lab: Lab) -> None:
    """A password at version 1 gives a refresh token and an id token of version 1, and the refresh token goes on."""
    made = lab.operator.credentials
    path = f"/{made.tenant_id}/oauth2/token"
    person = {"username": made.user_upn, "password": made.user_password, "client_id": made.public_client_id}
    body = (await post(lab, path, grant_type="password", resource=GRAPH, scope="openid", **person)).json
    identity = claims(body["id_token"])
    assert (identity["ver"], identity["upn"]) == ("1.0", made.user_upn)
    assert identity["iss"] == f"https://sts.windows.net/{made.tenant_id}/"
    again = await post(
        lab, path, grant_type="refresh_token", client_id=made.public_client_id, refresh_token=body["refresh_token"]
    )
    assert (await Raw(lab, again.json["access_token"])("GET", PFX)).status == 200


@pytest.mark.parametrize("grant", ["client_credentials", "password"])
async def test_version_1_wants_a_resource(lab: Lab, grant: str) -> None:
    """Without `resource` a request of version 1 is AADSTS900144, whatever scope it has."""
    form = v1_form(lab, grant_type=grant, scope=f"{GRAPH}/.default", username="a@b", password="c")
    del form["resource"]
    reply = await post(lab, f"/{lab.operator.credentials.tenant_id}/oauth2/token", **form)
    assert (reply.json["error"], reply.json["error_codes"]) == ("invalid_request", [900144])
    assert "'resource'" in reply.json["error_description"]


async def test_device_code_of_version_1(lab: Lab) -> None:
    """Version 1 calls the address of the page verification_url, and its code is redeemed as `code`."""
    made = lab.operator.credentials
    flow = (await post(lab, "/common/oauth2/devicecode", client_id=made.public_client_id, resource=GRAPH)).json
    assert (flow["expires_in"], "verification_uri" in flow) == ("900", False)
    path = flow["verification_url"].removeprefix(lab.emulator.origin)
    person = {"username": made.user_upn, "password": made.user_password}
    await post(lab, path, user_code=flow["user_code"], **person)
    form = {"client_id": made.public_client_id, "code": flow["device_code"], "resource": GRAPH}
    body = (await post(lab, "/common/oauth2/token", grant_type="device_code", **form)).json
    assert (await Raw(lab, body["access_token"])("GET", PFX)).status == 200


async def test_code_flow_of_version_1(lab: Lab) -> None:
    """A code that was asked for with `resource` is redeemed at version 1 without naming it again."""
    made, redirect = lab.operator.credentials, "http://localhost:4711/x"
    query = {"client_id": made.public_client_id, "response_type": "code", "redirect_uri": redirect, "resource": GRAPH,
             "response_mode": "form_post"}  # fmt: skip
    person = {"username": made.user_upn, "password": made.user_password}
    page = await post(lab, f"/common/oauth2/authorize?{urlencode(query)}", **person)
    code = re.findall(r'name="code" value="([^"]*)"', page.text)[0]
    form = {"client_id": made.public_client_id, "code": code, "redirect_uri": redirect}
    body = (await post(lab, "/common/oauth2/token", grant_type="authorization_code", **form)).json
    assert (await Raw(lab, body["access_token"])("GET", PFX)).status == 200


async def test_device_code_leads_a_person_to_the_lab(lab: Lab) -> None:
    """Asked by Microsoft's name, through the proxy, the device code names the lab's own page, which a browser reaches."""
    made, wire = lab.operator.credentials, RawWire(lab)
    body = urlencode({"client_id": made.public_client_id, "scope": f"{GRAPH}/.default"}).encode()
    content = b"Content-Type: application/x-www-form-urlencoded"
    _, answer = await wire("POST", "/common/oauth2/v2.0/devicecode", body, content, host=b"login.microsoftonline.com")
    page = f"{lab.emulator.origin}/common/oauth2/deviceauth".encode()
    assert answer.count(page) == 2


async def test_metadata_service_says_that_it_is_none(lab: Lab) -> None:
    """Requests for a managed identity's token get 400 and a sentence that the lab does not emulate IMDS."""
    for path in ("/metadata/identity/oauth2/token?resource=x", "/metadata/instance/compute/location?format=text"):
        reply = await get(lab, path)
        assert (reply.status, reply.json["error"]) == (400, "invalid_request")
        assert "does not emulate the instance metadata service" in reply.json["error_description"]
    assert len(lab.cloud.journal.entries(rule="MetadataServiceMissing")) == 2


async def test_proxy_says_that_there_is_no_metadata_service() -> None:
    """A request for the metadata service through the proxy is refused with the reason, not for its method."""
    await asyncio.sleep(0)
    line = "GET http://169.254.169.254/metadata/identity/oauth2/token HTTP/1.1"
    assert "instance metadata service" in (decide(line) or "")
