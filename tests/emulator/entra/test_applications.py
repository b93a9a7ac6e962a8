"""Applications that sign in: Microsoft's own, those that lack a tenant, and what they may ask for.

Expected values are Microsoft's, written from the cited source of each row: sources.md#well-known-applications,
sources.md#well-known-consent, sources.md#azure-management, sources.md#tenant-of-an-application.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import jwt
import pytest
import pytest_asyncio

from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.entra.test_entra import client_form, post_token
from tests.emulator.entra.test_sign_in_of_dotnet import in_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = "https://graph.microsoft.com"
CONNECT_MGGRAPH = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
AZURE_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
AZURE_POWERSHELL = "1950a258-227b-4e31-a9cf-717495945fc2"
INTUNE_POWERSHELL = "d1ddf0e4-d672-4dae-b554-9d5bdfd93547"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Return one lab for all tests of this file."""
    async with new_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


def claims(token: str) -> dict[str, Any]:
    """Return a token's claims, unverified."""
    body: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return body


def person(lab: Lab, client_id: str, scope: str) -> dict[str, str]:
    """Return a password request of the lab's mail user."""
    made = lab.operator.credentials
    return {
        "grant_type": "password", "client_id": client_id, "scope": scope,
        "username": made.user_upn, "password": made.user_password,
    }  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A token request of a user by an application of Microsoft's, and what the real service makes of it."""

    client_id: str
    scope: str
    scp: str | None
    audience: str
    source: str
    confidence: Literal["high", "medium", "assumed"]


AZURE_TOOL = (
    "Application.ReadWrite.All AppRoleAssignment.ReadWrite.All AuditLog.Read.All DelegatedPermissionGrant.ReadWrite.All"
    " Directory.AccessAsUser.All Group.ReadWrite.All User.Read.All User.ReadWrite.All"
)
ARM = "https://management.core.windows.net/"
ROWS = (
    Row(CONNECT_MGGRAPH, "User.Read.All Group.Read.All openid", "Group.Read.All User.Read User.Read.All", GRAPH,
        "well-known-applications", "high"),
    Row(CONNECT_MGGRAPH, f"{GRAPH}/DeviceManagementConfiguration.ReadWrite.All",
        "DeviceManagementConfiguration.ReadWrite.All User.Read", GRAPH, "well-known-applications", "high"),
    Row(AZURE_CLI, f"{GRAPH}//.default", AZURE_TOOL, GRAPH, "well-known-applications", "high"),
    Row(AZURE_CLI, f"{ARM}/.default offline_access", "user_impersonation", ARM, "azure-management", "high"),
    Row(AZURE_CLI, f"{GRAPH}/DeviceManagementConfiguration.ReadWrite.All", None, GRAPH, "well-known-applications",
        "high"),
    Row(AZURE_POWERSHELL.upper(), f"{GRAPH}/.default", AZURE_TOOL, GRAPH, "well-known-applications", "medium"),
    Row(AZURE_POWERSHELL, "https://management.azure.com/.default", "user_impersonation",
        "https://management.azure.com", "azure-management", "high"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.client_id[:8]} {row.scope[:60]}")
async def test_microsofts_own_applications_are_known(lab: Lab, row: Row) -> None:
    """Each of Microsoft's client ids signs a user in, with the permissions it has in every tenant and no others."""
    reply = await post_token(lab, "organizations", **person(lab, row.client_id, row.scope))
    if row.scp is None:
        assert (reply.json["error"], reply.json["error_codes"]) == ("invalid_grant", [65001])
        return
    token = claims(reply.json["access_token"])
    granted = [name for name in token["scp"].split() if name not in ("openid", "profile", "email")]
    assert sorted(granted) == sorted(row.scp.split())
    assert (token["aud"], token["appid"]) == (row.audience, row.client_id.lower())


async def test_tenant_without_consent_refuses_connect_mggraph(lab: Lab) -> None:
    """With the switch well_known_consent at none, Connect-MgGraph gets AADSTS65001; Azure CLI needs no consent."""
    before = lab.cloud.config.switches
    lab.cloud.set_switches(replace(before, well_known_consent="none"), {"well_known_consent": "none"})
    try:
        asked = await post_token(lab, "organizations", **person(lab, CONNECT_MGGRAPH, "User.Read.All"))
        azure = await post_token(lab, "organizations", **person(lab, AZURE_CLI, f"{GRAPH}/.default"))
    finally:
        lab.cloud.set_switches(before, {"well_known_consent": "granted"})
    assert (asked.status, asked.json["error_codes"], azure.status) == (400, [65001], 200)


async def test_withdrawn_application_is_unknown_and_the_journal_says_why(lab: Lab) -> None:
    """The client id of the old Intune samples gets AADSTS700016, and the journal tells that Microsoft withdrew it."""
    reply = await post_token(lab, **person(lab, INTUNE_POWERSHELL, f"{GRAPH}/.default"))
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (400, "unauthorized_client", [700016])
    assert "withdrawn" not in reply.text
    entry = lab.cloud.journal.entries(rule="ApplicationRetired")[-1]
    assert "Microsoft has withdrawn Microsoft Intune PowerShell" in (entry.reason or "")
    assert CONNECT_MGGRAPH in entry.fields["tip"]


@pytest.mark.parametrize("tenant", ["common", "organizations", "Organizations"])
async def test_application_must_name_its_tenant(lab: Lab, tenant: str) -> None:
    """Client credentials at an address without a tenant are AADSTS50059: sources.md#tenant-of-an-application."""
    reply = await post_token(lab, tenant, **client_form(lab))
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (400, "invalid_request", [50059])
    assert lab.cloud.journal.entries(rule="TenantMissing")


@pytest.mark.parametrize(
    ("scope", "audience"),
    [
        (f"{ARM}/.default", ARM),
        ("https://management.core.windows.net/.default", "https://management.core.windows.net"),
        ("https://graph.windows.net/.default", "https://graph.windows.net"),
    ],
)
async def test_azure_management_gives_a_token_without_roles(lab: Lab, scope: str, audience: str) -> None:
    """`az login --service-principal` gets its token for Azure management, which carries nothing of Graph's."""
    token = claims((await post_token(lab, **client_form(lab, scope=scope))).json["access_token"])
    assert (token["aud"], token["roles"]) == (audience, [])


async def test_own_application_has_no_consent_for_azure(lab: Lab) -> None:
    """A user's token for Azure management is refused to an application that was consented to Graph only."""
    made = lab.operator.credentials
    reply = await post_token(lab, **person(lab, made.public_client_id, f"{ARM}/user_impersonation"))
    assert reply.json["error_codes"] == [65001]


async def test_azure_cli_finds_its_tenant_and_no_subscription(lab: Lab) -> None:
    """Through the proxy, management.azure.com takes the token of `az login` alone, and has a tenant and no subscription."""
    azure = (await post_token(lab, **client_form(lab, scope=f"{ARM}/.default"))).json["access_token"]
    graph = (await post_token(lab, **client_form(lab))).json["access_token"]

    def ask(path: str, token: str) -> tuple[int, Any]:
        with in_lab(lab) as http:
            answer = http.get(
                f"https://management.azure.com{path}?api-version=2022-12-01",
                headers={"Authorization": f"Bearer {token}"},
                timeout=20,
            )
            return answer.status_code, answer.json()

    status, found = await asyncio.to_thread(ask, "/subscriptions", azure)
    assert (status, found["value"]) == (200, [])
    status, found = await asyncio.to_thread(ask, "/tenants", azure)
    assert [one["tenantId"] for one in found["value"]] == [lab.operator.credentials.tenant_id]
    for path, token, expected in (
        ("/subscriptions", graph, 401),
        ("/subscriptions", "x", 401),
        ("/nosuch", azure, 404),
    ):
        status, found = await asyncio.to_thread(ask, path, token)
        assert (path, status, "code" in found["error"]) == (path, expected, True)
