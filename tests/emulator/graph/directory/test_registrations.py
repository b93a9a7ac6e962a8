"""Applications, consent, roles, users and groups changed over Graph while the lab runs; MSAL signs in with the result."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msal
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.wire.edm import format_binary
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.entra.test_sign_in_flows import http
from tests.emulator.graph.client import PFX, Raw, record, setup

GRAPH = "00000003-0000-0000-c000-000000000000"
SCOPE = ["https://graph.microsoft.com/.default"]
CONFIGURATION = "DeviceManagementConfiguration.ReadWrite.All"


async def sign_in(lab: Lab, app_id: str, credential: Any) -> dict[str, Any]:
    """Return MSAL's result for an application's secret or certificate."""

    def acquire() -> dict[str, Any]:
        app = msal.ConfidentialClientApplication(
            app_id, credential, authority=lab.authority_url, instance_discovery=False, http_client=http(lab)
        )
        result: dict[str, Any] = app.acquire_token_for_client(SCOPE)
        return result

    return await asyncio.to_thread(acquire)


async def permission(graph: Raw, kind: str, name: str) -> tuple[str, str]:
    """Return Graph's service principal and the id of one of its permissions, as set-up scripts look them up."""
    (principal,) = (await graph("GET", f"/v1.0/servicePrincipals?$filter=appId%20eq%20'{GRAPH}'")).json["value"]
    return principal["id"], next(p["id"] for p in principal[kind] if p["value"] == name)


async def registered(graph: Raw, **more: Any) -> dict[str, Any]:
    """Return a new application that requests the permission to import."""
    _, role = await permission(graph, "appRoles", CONFIGURATION)
    access = [{"resourceAppId": GRAPH, "resourceAccess": [{"id": role, "type": "Role"}]}]
    body = {"displayName": "PFX import", "requiredResourceAccess": access, **more}
    reply = await graph("POST", "/v1.0/applications", body)
    assert (reply.status, reply.headers["Location"].rpartition("/")[2]) == (201, reply.json["id"])
    app: dict[str, Any] = reply.json
    return app


async def test_tool_sets_itself_up(lab: Lab) -> None:
    """An application registered over Graph signs in once it has a principal, and imports once it has the permission."""
    graph = await setup(lab)
    app = await registered(graph)
    assert app["requiredResourceAccess"][0]["resourceAccess"] == [
        {"id": "9241abd9-d0e6-425a-bd4f-47ba86e767a4", "type": "Role"}
    ]
    made = (await graph("POST", f"/v1.0/applications/{app['id']}/addPassword", {"passwordCredential": {}})).json
    refused = await sign_in(lab, app["appId"], made["secretText"])
    assert refused["error_codes"] == [7000229]
    principal = (await graph("POST", "/v1.0/servicePrincipals", {"appId": app["appId"]})).json
    bare = await sign_in(lab, app["appId"], made["secretText"])
    denied = await Raw(lab, bare["access_token"])("POST", PFX, record(lab))
    assert (denied.status, denied.code) == (403, "Forbidden")
    resource, role = await permission(graph, "appRoles", CONFIGURATION)
    path = f"/v1.0/servicePrincipals/{principal['id']}/appRoleAssignments"
    body = {"principalId": principal["id"], "resourceId": resource, "appRoleId": role}
    granted = await graph("POST", path, body)
    assert (granted.status, granted.json["principalDisplayName"]) == (201, "PFX import")
    assert (await graph("POST", path, body)).status == 400
    allowed = await sign_in(lab, app["appId"], made["secretText"])
    assert (await Raw(lab, allowed["access_token"])("POST", PFX, record(lab))).status == 201
    listed = (await graph("GET", path)).json["value"]
    assert [item["appRoleId"] for item in listed] == [role]
    assert granted.json["id"] in str((await graph("GET", f"/v1.0/servicePrincipals/{resource}/appRoleAssignedTo")).json)
    assert (await graph("DELETE", f"{path}/{granted.json['id']}")).status == 204
    assert (await graph("DELETE", f"{path}/{granted.json['id']}")).status == 404
    again = await sign_in(lab, app["appId"], made["secretText"])
    assert (await Raw(lab, again["access_token"])("GET", PFX)).status == 403


async def test_secret_is_shown_once_and_ends(lab: Lab) -> None:
    """A client secret is shown only at creation, and refused before its start, after its end and once removed."""
    graph = await setup(lab)
    app = await registered(graph)
    await graph("POST", "/v1.0/servicePrincipals", {"appId": app["appId"]})
    one = f"/v1.0/applications/{app['id']}"
    end = (lab.clock.now() + timedelta(days=1)).isoformat()
    asked = {"passwordCredential": {"displayName": "ci", "endDateTime": end}}
    made = (await graph("POST", f"{one}/addPassword", asked)).json
    shown = (await graph("GET", one)).json
    assert (shown["passwordCredentials"][0]["secretText"], shown["passwordCredentials"][0]["displayName"]) == (
        None,
        "ci",
    )
    store = b"".join(path.read_bytes() for path in (lab.folder / "cloud").iterdir())
    assert made["secretText"].encode() not in store
    assert "access_token" in await sign_in(lab, app["appId"], made["secretText"])
    lab.clock.advance(timedelta(days=1, seconds=1))
    assert (await sign_in(lab, app["appId"], made["secretText"]))["error_codes"] == [7000222]
    graph = await setup(lab)
    assert (await graph("POST", f"{one}/removePassword", {"keyId": made["keyId"]})).status == 204
    assert (await graph("POST", f"{one}/removePassword", {"keyId": made["keyId"]})).status == 400
    assert (await sign_in(lab, app["appId"], made["secretText"]))["error_codes"] == [7000215]
    reversed_ = {"passwordCredential": {"startDateTime": end, "endDateTime": end}}
    assert (await graph("POST", f"{one}/addPassword", reversed_)).status == 400


async def test_certificate_is_added_over_graph(
    lab: Lab, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """An application signs in with a certificate in keyCredentials; an invalid one is refused and changes nothing."""
    graph = await setup(lab)
    app = await registered(graph)
    await graph("POST", "/v1.0/servicePrincipals", {"appId": app["appId"]})
    der = certificate.public_bytes(serialization.Encoding.DER)
    keys = [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": format_binary(der)}]
    assert (await graph("PATCH", f"/v1.0/applications/{app['id']}", {"keyCredentials": keys})).status == 204
    pem = rsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    credential = {"private_key": pem, "thumbprint": certificate.fingerprint(hashes.SHA1()).hex()}
    assert "access_token" in await sign_in(lab, app["appId"], credential)
    bad = [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": "AAAA"}]
    reply = await graph("PATCH", f"/v1.0/applications/{app['id']}", {"keyCredentials": bad, "displayName": "x"})
    assert (reply.status, reply.code) == (400, "Request_BadRequest")
    shown = (await graph("GET", f"/v1.0/applications(appId='{app['appId']}')")).json
    assert (len(shown["keyCredentials"]), shown["displayName"]) == (1, "PFX import")


async def test_delegated_grant_decides_the_scopes(lab: Lab) -> None:
    """Delegated permissions granted, changed and revoked through Graph take effect in a user's next token."""
    graph, made = await setup(lab), lab.operator.credentials
    app = await registered(graph, isFallbackPublicClient=True)
    principal = (await graph("POST", "/v1.0/servicePrincipals", {"appId": app["appId"]})).json
    resource, _ = await permission(graph, "oauth2PermissionScopes", "User.Read")
    body = {"clientId": principal["id"], "consentType": "AllPrincipals", "resourceId": resource, "scope": "User.Read"}
    grant = (await graph("POST", "/v1.0/oauth2PermissionGrants", body)).json
    assert (await graph("POST", "/v1.0/oauth2PermissionGrants", body)).status == 409

    async def scopes() -> str:
        def acquire() -> dict[str, Any]:
            client = msal.PublicClientApplication(
                app["appId"], authority=lab.authority_url, instance_discovery=False, http_client=http(lab)
            )
            flow = client.initiate_device_flow(scopes=SCOPE)
            return dict(client.acquire_token_by_device_flow(flow, exit_condition=lambda _: True))

        lab.cloud.config = config
        return str((await asyncio.to_thread(acquire)).get("scope", "refused"))

    config = replace(lab.cloud.config, auto_approve_upn=made.user_upn)
    assert await scopes() == "User.Read"
    path = f"/v1.0/oauth2PermissionGrants/{grant['id']}"
    assert (await graph("PATCH", path, {"scope": f"User.Read {CONFIGURATION}"})).status == 204
    assert (await graph("GET", path)).json["scope"] == f"{CONFIGURATION} User.Read"
    assert set((await scopes()).split()) == {"User.Read", CONFIGURATION}
    filtered = f"/v1.0/oauth2PermissionGrants?$filter=clientId%20eq%20'{principal['id']}'"
    assert len((await graph("GET", filtered)).json["value"]) == 1
    assert (await graph("DELETE", path)).status == 204
    assert await scopes() == "refused"


async def test_role_and_account_decide_permissions(lab: Lab) -> None:
    """A user created through Graph may import only with the Intune role, and cannot sign in once disabled."""
    graph, upn = await setup(lab), "helpdesk@pfxlab.example"
    person = {
        "accountEnabled": True, "displayName": "Help desk", "mailNickname": "helpdesk", "userPrincipalName": upn,
        "passwordProfile": {"password": "canary-Only-for-tests", "forceChangePasswordNextSignIn": False},
    }  # fmt: skip
    reply = await graph("POST", "/v1.0/users", person)
    assert (reply.status, "passwordProfile" in reply.json) == (201, False)
    assert (await graph("POST", "/v1.0/users", person)).status == 400
    user = reply.json["id"]
    token = await lab.user_token(upn, "canary-Only-for-tests")
    assert (await Raw(lab, token)("GET", PFX)).status == 403
    me = await Raw(lab, token)("GET", "/v1.0/me?$select=displayName")
    assert {n: v for n, v in me.json.items() if "@" not in n} == {"displayName": "Help desk"}
    roles = (await graph("GET", "/v1.0/directoryRoles?$filter=displayName%20eq%20'Intune%20Administrator'")).json[
        "value"
    ]
    members = f"/v1.0/directoryRoles/{roles[0]['id']}/members"
    assert (await graph("POST", f"{members}/$ref", {"@odata.id": f"{graph.origin}/v1.0/users/{user}"})).status == 204
    assert (await graph("POST", f"{members}/$ref", {"@odata.id": f"{graph.origin}/v1.0/users/{user}"})).status == 400
    assert user in {member["id"] for member in (await graph("GET", members)).json["value"]}
    token = await lab.user_token(upn, "canary-Only-for-tests")
    assert (await Raw(lab, token)("GET", PFX)).status == 200
    template = "/v1.0/directoryRoles(roleTemplateId='3a2c62db-5318-420d-8d74-23affee5d9d5')"
    assert (await graph("DELETE", f"{template}/members/{user}/$ref")).status == 204
    assert (await graph("DELETE", f"{template}/members/{user}/$ref")).status == 404
    assert (await graph("PATCH", f"/v1.0/users/{user}", {"accountEnabled": False, "jobTitle": "gone"})).status == 204
    shown = (await graph("GET", "/v1.0/users?$filter=accountEnabled%20eq%20false")).json["value"]
    assert [(u["id"], u["jobTitle"]) for u in shown] == [(user, "gone")]
    with pytest.raises(Exception, match="AADSTS50057"):
        await lab.user_token(upn, "canary-Only-for-tests")
    entries = str(lab.cloud.journal.entries(limit=10_000))
    assert "canary-Only-for-tests" not in entries


async def test_user_and_group_come_and_go(lab: Lab) -> None:
    """A renamed user's records keep the old name; deleted users and groups are in no list."""
    graph, made = await setup(lab), lab.operator.credentials
    async with lab.graph() as client:
        importer = Raw(lab, await client.sign_in(lab.admin_form()))
    entity = (await importer("POST", PFX, record(lab))).json
    assert (
        await graph("PATCH", f"/v1.0/users/{made.user_upn}", {"userPrincipalName": "new@pfxlab.example"})
    ).status == 204
    assert (await importer("GET", f"{PFX}/{entity['id']}")).json["userPrincipalName"] == made.user_upn
    lost = f"{PFX}?$filter=tolower(userPrincipalName)%20eq%20'new@pfxlab.example'"
    assert (await importer("GET", lost)).json["value"] == []
    user = (await graph("GET", "/v1.0/users/new@pfxlab.example")).json["id"]
    bound = {"members@odata.bind": [f"{graph.origin}/v1.0/users/{user}"]}
    body = {"displayName": "Mail", "mailEnabled": False, "mailNickname": "mail", "securityEnabled": True, **bound}
    group = (await graph("POST", "/v1.0/groups", body)).json
    assert group["securityIdentifier"].startswith("S-1-12-1-")
    assert [g["displayName"] for g in (await graph("GET", f"/v1.0/users/{user}/memberOf")).json["value"]] != []
    assert (await graph("PATCH", f"/v1.0/groups/{group['id']}", {"description": "those who mail"})).status == 204
    assert (await graph("GET", f"/v1.0/groups/{group['id']}")).json["description"] == "those who mail"
    assert (await graph("POST", "/v1.0/groups", {**body, "groupTypes": ["Unified"]})).status == 400
    assert (await graph("DELETE", f"/v1.0/users/{user}")).status == 204
    assert (await graph("GET", f"/v1.0/groups/{group['id']}/members")).json["value"] == []
    assert (await graph("DELETE", f"/v1.0/groups/{group['id']}")).status == 204
    assert (await graph("GET", f"/v1.0/groups/{group['id']}")).status == 404
    assert (await importer("GET", f"{PFX}/{entity['id']}")).status == 200


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("users", {"displayName": "x"}, "A value is required for property 'accountEnabled' of resource 'User'."),
        ("users", {"shoeSize": 44}, "Invalid property 'shoeSize'."),
        ("groups", {"displayName": "x"}, "A value is required for property 'mailEnabled' of resource 'Group'."),
        ("applications", {}, "A value is required for property 'displayName' of resource 'Application'."),
        ("servicePrincipals", {"appId": "none"}, "Invalid value specified for property 'appId' of resource."),
    ],
)
async def test_directory_refuses_in_its_own_words(lab: Lab, path: str, body: Any, message: str) -> None:
    """A missing, unknown or invalid property gets the directory's Request_BadRequest, and nothing is created."""
    graph = await setup(lab)
    before = len((await graph("GET", f"/v1.0/{path}")).json["value"])
    reply = await graph("POST", f"/v1.0/{path}", body)
    assert (reply.status, reply.code, reply.message) == (400, "Request_BadRequest", message)
    assert len((await graph("GET", f"/v1.0/{path}")).json["value"]) == before


async def test_deleted_principal_stops_sign_in(lab: Lab) -> None:
    """Deleting the principal stops sign-in and removes its grants; deleting the application removes it from the list."""
    graph = await setup(lab)
    app = await registered(graph)
    made = (await graph("POST", f"/v1.0/applications/{app['id']}/addPassword", {})).json
    principal = (await graph("POST", "/v1.0/servicePrincipals", {"appId": app["appId"]})).json
    assert (await graph("POST", "/v1.0/servicePrincipals", {"appId": app["appId"]})).status == 409
    one = f"/v1.0/servicePrincipals/{principal['id']}"
    assert (await graph("GET", one)).json["appId"] == app["appId"]
    assert (await graph("DELETE", one)).status == 204
    assert (await sign_in(lab, app["appId"], made["secretText"]))["error_codes"] == [7000229]
    assert (await graph("DELETE", f"/v1.0/applications/{app['id']}")).status == 204
    assert (await graph("GET", f"/v1.0/applications/{app['id']}")).status == 404
    assert (await sign_in(lab, app["appId"], made["secretText"]))["error_codes"] == [700016]


async def test_me_and_organization(lab: Lab) -> None:
    """`/me` is refused to an application; `/organization` names the tenant and its domain."""
    graph = await setup(lab)
    reply = await graph("GET", "/v1.0/me")
    assert (reply.status, reply.message) == (400, "/me request is only valid with delegated authentication flow.")
    (tenant,) = (await graph("GET", "/v1.0/organization")).json["value"]
    assert (tenant["id"], tenant["verifiedDomains"][0]["name"]) == (
        lab.operator.credentials.tenant_id,
        "pfxlab.example",
    )
