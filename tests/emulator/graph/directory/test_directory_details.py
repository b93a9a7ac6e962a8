"""Directory and list behaviour that tools meet sooner or later.

Expected values: sources.md#users, sources.md#groups, sources.md#directory-queries, sources.md#query-options.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR
from pfxlab.emulator.wire.edm import format_binary
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.entra.test_entra import post_token
from tests.emulator.entra.test_sign_in_flows import DELEGATED, post_form
from tests.emulator.graph.client import PFX, Raw, admin, setup
from tests.emulator.graph.directory.test_registrations import registered, sign_in
from tests.emulator.graph.odata.test_lists import walk

PERSON = {"accountEnabled": True, "displayName": "Bob", "mailNickname": "bob", "userPrincipalName": "bob@pfxlab.example",
          "passwordProfile": {"password": "canary-Only-for-tests"}}  # fmt: skip
EVENTUAL = {"ConsistencyLevel": "eventual"}


async def test_password_of_a_wrong_type_is_not_repeated(lab: Lab) -> None:
    """A password that is not a string is refused without being quoted in the response or the journal."""
    graph = await setup(lab)
    reply = await graph("POST", "/beta/users", {**PERSON, "passwordProfile": {"password": 987654321}})
    assert reply.status == 400
    entries = [vars(entry) for entry in lab.cloud.journal.entries()]
    assert "987654321" not in reply.text + json.dumps(entries)


@pytest.mark.parametrize(
    "query",
    ["$orderby=" + ",".join(["id"] * 2010), "$filter=startswith(displayName,'" + "a" * 3000 + "')", "$orderby=displayName,",
     "$orderby=cheese", "$search=%22cheese:x%22", "$search=" + quote(" AND ".join(['"displayName:x"'] * 30))],
)  # fmt: skip
async def test_endless_options_are_a_clear_400(lab: Lab, query: str) -> None:
    """Orders, texts and searches without end or sense are refused in Graph's form, alone and within a batch."""
    graph = await admin(lab)
    assert (await graph("GET", f"/beta/users?{query}", headers=EVENTUAL)).status == 400
    item = {"id": "1", "method": "GET", "url": f"/users?{query}", "headers": EVENTUAL}
    (answered,) = (await graph("POST", "/beta/$batch", {"requests": [item]})).json["responses"]
    assert answered["status"] == 400


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("not(jobTitle eq 'Boss')", ["Bob", "Test user admin", "Test user user"]),
        ("jobTitle ne 'Boss'", ["Bob", "Test user admin", "Test user user"]),
        ("startsWith(displayName,'bo')", ["Bob"]),
        ("endsWith(userPrincipalName,'ADMIN@pfxlab.example')", ["Test user admin"]),
        ("toLower(displayName) eq 'bob'", ["Bob"]),
        ("displayName eq 'not(startsWith(a'", []),
    ],
)
async def test_common_spellings_of_filters(lab: Lab, text: str, found: list[str]) -> None:
    """Spellings of Microsoft's samples work, and a null is different from any text."""
    graph = await setup(lab)
    await graph("POST", "/beta/users", PERSON)
    address = f"/beta/users?$orderby=displayName&$count=true&$filter={quote(text)}"
    reply = await graph("GET", address, headers=EVENTUAL)
    assert [user["displayName"] for user in reply.json["value"]] == found


async def test_groups_are_sorted_by_name(lab: Lab) -> None:
    """$orderby sorts groups by name in either direction."""
    graph = await setup(lab)
    body = {"displayName": "Anna's", "mailEnabled": False, "mailNickname": "a", "securityEnabled": True}
    assert (await graph("POST", "/beta/groups", body)).status == 201
    reply = await graph("GET", "/beta/groups?$orderby=displayName%20desc")
    assert reply.status == 200
    assert [group["displayName"] for group in reply.json["value"]] == ["Mail users", "Anna's"]


async def test_syntax_errors_tell_a_position_and_nothing_of_the_parser(lab: Lab) -> None:
    """An invalid filter gets Graph's error; the parser's reason is in the journal."""
    reply = await (await admin(lab))("GET", "/beta/users?$filter=" + quote("displayName eq 'o'hara'"))
    assert reply.message == "Invalid filter clause: Syntax error at position 18 in 'displayName eq 'o'hara''."
    assert "Token" in str(lab.cloud.journal.entries(rule="FilterInvalid")[-1].reason)


async def test_search_needs_its_header(lab: Lab) -> None:
    """$search on users is refused without ConsistencyLevel, and finds texts within properties with it."""
    graph = await setup(lab)
    await graph("POST", "/beta/users", PERSON)
    refused = await graph("GET", "/beta/users?$search=%22displayName:bob%22")
    assert (refused.status, refused.code) == (400, "Request_UnsupportedQuery")
    query = quote('"displayName:bob" OR "mail:admin@"')
    page = (await graph("GET", f"/beta/users?$search={query}&$count=true", headers=EVENTUAL)).json
    assert (page["@odata.count"], {user["displayName"] for user in page["value"]}) == (2, {"Bob", "Test user admin"})


async def test_consent_makes_the_principal(lab: Lab) -> None:
    """An application can sign in after an administrator's consent, even without an earlier service principal."""
    graph, made = await setup(lab), lab.operator.credentials
    app = await registered(graph)
    secret = (await graph("POST", f"/v1.0/applications/{app['id']}/addPassword", {})).json["secretText"]
    path = f"/{made.tenant_id}/adminconsent?client_id={app['appId']}"
    operator = lab.cloud.directory.user(made.tenant_id, made.operator_upn)
    assert operator is not None
    lab.cloud.directory.change_user(operator["id"], directory_roles=[GLOBAL_ADMINISTRATOR])
    await post_form(lab, path, username=made.operator_upn, password=made.operator_password)
    token = (await sign_in(lab, app["appId"], secret))["access_token"]
    assert (await Raw(lab, token)("GET", PFX)).status == 200


async def test_disabled_user_is_out_everywhere(lab: Lab) -> None:
    """A disabled account ends refresh tokens and sign-in pages too, and a new password ends old refresh tokens."""
    graph, made = await setup(lab), lab.operator.credentials
    form = {"grant_type": "password", "client_id": made.public_client_id, "username": made.user_upn,
            "password": made.user_password, "scope": f"{DELEGATED[0]} offline_access"}  # fmt: skip
    refresh = {"grant_type": "refresh_token", "client_id": made.public_client_id, "scope": DELEGATED[0]}
    first = (await post_token(lab, **form)).json["refresh_token"]
    user = f"/v1.0/users/{made.user_upn}"
    assert (await post_token(lab, **refresh, refresh_token=first)).status == 200
    assert (await graph("PATCH", user, {"passwordProfile": {"password": made.user_password}})).status == 204
    assert (await post_token(lab, **refresh, refresh_token=first)).json["error"] == "invalid_grant"
    second = (await post_token(lab, **form)).json["refresh_token"]
    assert (await graph("PATCH", user, {"accountEnabled": False})).status == 204
    assert (await post_token(lab, **refresh, refresh_token=second)).json["error"] == "invalid_grant"
    flow = await post_form(
        lab, f"/{made.tenant_id}/oauth2/v2.0/devicecode", client_id=made.public_client_id, scope=DELEGATED[0]
    )
    person = {"username": made.user_upn, "password": made.user_password}
    page = await post_form(lab, "/common/oauth2/deviceauth", user_code=flow.json["user_code"], **person)
    assert page.status == 400


async def test_links_of_guests_lead_on(lab: Lab) -> None:
    """A nextLink below a user whose name needs escaping is escaped too, and returns the next page."""
    guest = "guest_x.example#EXT#@pfxlab.example"
    lab.add_user(guest)
    for platform in ("ios", "windows"):
        await lab.device(platform, guest)
    graph = await admin(lab)
    assert len(await walk(graph, f"/beta/users/{quote(guest)}/managedDevices?$top=1")) == 2


async def test_certificates_survive_their_own_list(lab: Lab, certificate: x509.Certificate) -> None:
    """Entries of keyCredentials that are read and sent back, alone or with a new one, keep their certificates."""
    graph = await setup(lab)
    one = f"/v1.0/applications/{(await registered(graph))['id']}"
    new = {
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "key": format_binary(certificate.public_bytes(Encoding.DER)),
    }
    assert (await graph("PATCH", one, {"keyCredentials": [new]})).status == 204
    held = (await graph("GET", one)).json["keyCredentials"]
    keep = [{name: held[0][name] for name in ("key", "keyId", "type", "usage", "displayName")}]
    assert (await graph("PATCH", one, {"keyCredentials": keep})).status == 204
    shown = (await graph("GET", one)).json["keyCredentials"]
    assert [key["keyId"] for key in shown] == [held[0]["keyId"]]


async def test_device_belongs_to_its_user(tmp_path: Path) -> None:
    """Below a user only that user's devices are reached, to read and to sync."""
    async with new_lab(tmp_path, Config(switches=Switches(device_routes="documented"))) as lab:
        await _reach_devices(lab)


async def _reach_devices(lab: Lab) -> None:
    device = await lab.device("ios", lab.operator.credentials.user_upn)
    graph, path = await admin(lab), f"managedDevices/{device.identity.device_id}"
    assert (await graph("GET", f"/beta/users/user@pfxlab.example/{path}")).status == 200
    for owner in ("admin@pfxlab.example", "nobody@pfxlab.example"):
        assert (await graph("GET", f"/beta/users/{owner}/{path}")).status == 404
        assert (await graph("POST", f"/beta/users/{owner}/{path}/syncDevice")).status == 404
    assert (await graph("GET", "/beta/deviceManagement/managedDevices/$count")).text == "1"
    assert (await graph("GET", "/beta/deviceManagement/deviceConfigurations/$count")).text == "0"


async def test_grants_are_made_where_they_belong(lab: Lab) -> None:
    """A permission is granted and revoked only below its own principal, or below Graph's."""
    graph = await setup(lab)
    principals = (await graph("GET", "/v1.0/servicePrincipals?$top=999")).json["value"]
    resource = next(p for p in principals if p["displayName"] == "Microsoft Graph")["id"]
    ours, other = [p["id"] for p in principals if p["displayName"].startswith("Certificate import tool")]
    role = "5b567255-7703-4780-807c-7be8301ae99b"
    body = {"principalId": ours, "resourceId": resource, "appRoleId": "62a82d76-70ea-41e2-9197-370581804d09"}
    assert (await graph("POST", f"/v1.0/servicePrincipals/{other}/appRoleAssignments", body)).status == 400
    assert (await graph("POST", "/v1.0/servicePrincipals/nonsense/appRoleAssignedTo", body)).status == 400
    assert (await graph("POST", f"/v1.0/servicePrincipals/{resource}/appRoleAssignedTo", body)).status == 201
    held = (await graph("GET", f"/v1.0/servicePrincipals/{ours}/appRoleAssignments")).json["value"]
    wanted = next(item["id"] for item in held if item["appRoleId"] == role)
    assert (await graph("DELETE", f"/v1.0/servicePrincipals/{other}/appRoleAssignments/{wanted}")).status == 404
    assert (await graph("DELETE", f"/v1.0/servicePrincipals/{ours}/appRoleAssignments/{wanted}")).status == 204


async def test_restart_restores_accounts_of_the_ready_file(tmp_path: Path) -> None:
    """A deleted group, application or connector is there again after a restart, with the same credentials."""
    async with new_lab(tmp_path / "lab") as lab:
        await lab.start_connector()
        graph, made = await setup(lab), lab.operator.credentials
        importer = await admin(lab)
        (connector,) = (await importer("GET", "/beta/deviceManagement/ndesConnectors")).json["value"]
        await importer("DELETE", f"/beta/deviceManagement/ndesConnectors/{connector['id']}")
        assert (await graph("DELETE", f"/v1.0/groups/{made.group_id}")).status == 204
        path = f"/v1.0/applications(appId='{made.admin_client_id}')"
        assert (await graph("DELETE", path)).status == 204
    async with new_lab(tmp_path / "lab") as lab:
        await lab.start_connector()
        importer = await admin(lab)
        assert (await importer("GET", f"/beta/groups/{made.group_id}/members")).json["value"] != []
        (connector,) = (await importer("GET", "/beta/deviceManagement/ndesConnectors")).json["value"]
        assert connector["state"] == "active"


async def test_directory_pages_grow_up_to_999(lab: Lab) -> None:
    """Users are listed in pages of a hundred, with $top up to 999; v1.0 shows eleven properties, beta more."""
    cloud, made = lab.cloud, lab.operator.credentials
    for number in range(120):
        upn = f"p{number}@pfxlab.example"
        cloud.directory.add_user(
            {"id": cloud.chance.guid(), "tenant_id": made.tenant_id, "user_principal_name": upn, "display_name": upn,
             "mail": upn, "created": "2026-01-01T00:00:00.000000Z"}
        )  # fmt: skip
    graph = await admin(lab)
    assert len((await graph("GET", "/v1.0/users")).json["value"]) == 100
    whole = (await graph("GET", "/v1.0/users?$top=999")).json
    assert (len(whole["value"]), "@odata.nextLink" in whole) == (122, False)
    assert list(whole["value"][0]) == ["businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone",
                                       "officeLocation", "preferredLanguage", "surname", "userPrincipalName", "id"]  # fmt: skip
    assert "accountEnabled" in (await graph("GET", "/beta/users?$top=1")).json["value"][0]


async def test_members_are_filtered_and_counted(lab: Lab) -> None:
    """Members of a group support $filter and, with ConsistencyLevel, $count."""
    graph, made = await setup(lab), lab.operator.credentials
    path = f"/v1.0/groups/{made.group_id}/members"
    none = await graph("GET", f"{path}?$filter=displayName%20eq%20'nobody'")
    assert none.json["value"] == []
    assert "@odata.count" not in (await graph("GET", f"{path}?$count=true")).json
    assert (await graph("GET", f"{path}?$count=true", headers=EVENTUAL)).json["@odata.count"] == 1


async def test_users_live_under_the_tenants_domain(lab: Lab) -> None:
    """A user under a domain that is not the tenant's is refused with Entra's error."""
    graph = await setup(lab)
    reply = await graph("POST", "/v1.0/users", {**PERSON, "userPrincipalName": "bob@other.example"})
    assert (reply.status, reply.message.split(".")[0]) == (
        400,
        "The domain portion of the userPrincipalName property is invalid",
    )


@pytest.mark.parametrize(
    "text", ["contains(userPrincipalName,'z')", "tolower(userId) eq 'x'", "not (userId eq 'x')", "isEncrypted eq true"]
)
async def test_quirky_devices_pass_over_every_unknown_property(tmp_path: Path, text: str) -> None:
    """With filter_quirks a filter with an unsupported property returns all devices, whatever the rest of it is."""
    switches: Any = {"filter_quirks": "on"}
    async with new_lab(tmp_path, Config(switches=Switches(**switches))) as lab:
        await lab.device("ios", lab.operator.credentials.user_upn)
        reply = await (await admin(lab))("GET", f"/beta/deviceManagement/managedDevices?$filter={quote(text)}")
        assert len(reply.json["value"]) == 1
