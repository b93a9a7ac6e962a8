"""Sign-in over HTTP. Expected values: sources.md#token-endpoint, sources.md#sign-in-errors."""

import json
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import Raw, Reply


async def post_token(lab: Lab, tenant: str | None = None, **form: str) -> Reply:
    """Return the answer to a token request."""
    made = lab.operator.credentials
    path = f"/{made.tenant_id if tenant is None else tenant}/oauth2/v2.0/token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await Raw(lab, None)("POST", path, data=urlencode(form).encode(), headers=headers)


def client_form(lab: Lab, **changes: str) -> dict[str, str]:
    """Return a client credentials request."""
    return {**lab.admin_form(), "scope": "https://graph.microsoft.com/.default", **changes}


async def test_documents_agree_with_each_other(lab: Lab) -> None:
    """The OIDC document names this host and the tenant by its id, and its keys verify a token."""
    raw = Raw(lab, None)
    tenant = lab.operator.credentials.tenant_id
    for segment, named in ((tenant, tenant), ("pfxlab.example", tenant), ("organizations", "organizations")):
        document = (await raw("GET", f"/{segment}/v2.0/.well-known/openid-configuration")).json
        assert document["issuer"] == f"{raw.origin}/{tenant}/v2.0"
        assert document["token_endpoint"] == f"{raw.origin}/{named}/oauth2/v2.0/token"
    keys = (await raw("GET", document["jwks_uri"].removeprefix(raw.origin))).json
    token = (await post_token(lab, **client_form(lab))).json["access_token"]
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="https://graph.microsoft.com")
    assert claims["roles"] == sorted(claims["roles"])
    assert (claims["tid"], claims["idtyp"]) == (lab.operator.credentials.tenant_id, "app")
    assert "scp" not in claims


@pytest.mark.parametrize(
    "scope", ["https://graph.microsoft.com/.default", "https://localhost/.default", "{origin}/.default"]
)
async def test_every_clients_scope_is_taken(lab: Lab, scope: str) -> None:
    """Graph's own scope and those that SDKs derive from a localhost address are granted, CAE claims included."""
    claims = '{"access_token":{"xms_cc":{"values":["CP1"]}}}'
    form = client_form(lab, scope=scope.format(origin=lab.emulator.origin), claims=claims, client_info="1")
    reply = await post_token(lab, **form)
    assert (reply.status, reply.json["token_type"], reply.json["expires_in"]) == (200, "Bearer", 3600)


async def test_password_grant_speaks_for_the_user(lab: Lab) -> None:
    """A user's token carries scp and upn, and the answer an id token and client_info that fit it."""
    made = lab.operator.credentials
    form = {"grant_type": "password", "client_id": made.public_client_id, "username": made.user_upn.upper()}
    scope = "https://graph.microsoft.com/.default openid profile offline_access"
    reply = await post_token(lab, **form, password=made.user_password, scope=scope)
    unverified: Any = {"verify_signature": False}
    access = jwt.decode(reply.json["access_token"], options=unverified)
    identity = jwt.decode(reply.json["id_token"], options=unverified)
    assert access["upn"] == identity["preferred_username"] == made.user_upn
    assert "DeviceManagementConfiguration.ReadWrite.All" in access["scp"].split()
    assert identity["aud"] == made.public_client_id
    assert "roles" not in access


@pytest.mark.parametrize(
    ("changes", "status", "error", "number"),
    [
        ({"client_secret": "canary-4711"}, 401, "invalid_client", 7000215),
        ({"client_id": "11111111-2222-4333-8444-555555555555"}, 400, "unauthorized_client", 700016),
        ({"scope": "User.Read"}, 400, "invalid_scope", 1002012),
        ({"scope": "https://vault.example/.default"}, 400, "invalid_resource", 500011),
        ({"grant_type": "cheese"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": ""}, 400, "invalid_request", 900144),
        ({"grant_type": "password", "username": "nobody", "password": "canary-4711"}, 400, "invalid_grant", 50126),
    ],
)
async def test_refusals_have_their_aadsts_code(
    lab: Lab, changes: dict[str, str], status: int, error: str, number: int
) -> None:
    """Each refusal has Entra ID's status, error and AADSTS number, and no secret in it or in the journal."""
    reply = await post_token(lab, **client_form(lab, **changes))
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (status, error, [number])
    assert reply.json["error_description"].startswith(f"AADSTS{number}: ")
    journal = json.dumps([vars(entry) for entry in lab.cloud.journal.entries()])
    assert "canary" not in reply.text + journal


async def test_unknown_tenant_is_refused(lab: Lab) -> None:
    """A tenant that does not exist is invalid_tenant for discovery and tokens alike."""
    raw = Raw(lab, None)
    for reply in (
        await raw("GET", "/fabrikam.example/v2.0/.well-known/openid-configuration"),
        await post_token(lab, "fabrikam.example", **client_form(lab)),
    ):
        assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (400, "invalid_tenant", [90002])


async def test_discovery_for_clients_that_insist(lab: Lab) -> None:
    """Instance discovery has both keys that clients read, and the user realm is managed."""
    raw = Raw(lab, None)
    instance = (await raw("GET", "/common/discovery/instance?api-version=1.1")).json
    assert instance["tenant_discovery_endpoint"].startswith(raw.origin)
    assert raw.origin.removeprefix("https://") in instance["metadata"][0]["aliases"]
    assert (await raw("GET", "/common/userrealm/a@pfxlab.example?api-version=1.0")).json["account_type"] == "Managed"


async def test_secrets_are_kept_as_hashes(lab: Lab) -> None:
    """Neither client secrets nor passwords stand in the cloud's files as they are."""
    made = lab.operator.credentials
    lab.cloud.store._db.execute("pragma wal_checkpoint(truncate)")
    content = (lab.folder / "cloud" / "cloud.db").read_bytes()
    assert made.user_upn.encode() in content
    for secret in (made.admin_client_secret, made.user_password, made.operator_password):
        assert secret.encode() not in content
