"""Behaviour of Graph and sign-in that tools rely on, a test for each.

Expected values: sources.md#pfximport-2, sources.md#pfximport-3, sources.md#token-refusals, sources.md#routing-errors,
sources.md#profile-operations, sources.md#status-rows, sources.md#json-batching.
"""

import contextlib
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import jwt
import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import movable_wall
from tests.emulator.graph.client import CONFIGURATIONS, PFX, Raw, admin, record, setup
from tests.emulator.graph.intune.test_import_modules import JSON, v2_body, v3_body
from tests.end_to_end.test_life import bring, history, ready_lab, settle

__all__ = ["history"]
IOS = {"@odata.type": "#microsoft.graph.iosImportedPFXCertificateProfile", "displayName": "p"}


async def test_body_of_pfximport_2(lab: Lab) -> None:
    """PFXImport 2's body is 201; enums are stored in camelCase and dates in UTC."""
    reply = await (await admin(lab))("POST", PFX, data=v2_body(lab), headers=JSON)
    entity = reply.json
    assert (reply.status, entity["intendedPurpose"], entity["paddingScheme"]) == (201, "smimeEncryption", "oaepSha512")
    assert entity["startDateTime"] == "2026-01-05T07:00:00Z"


async def test_body_of_pfximport_3(lab: Lab) -> None:
    """PFXImport 3's body is 201; keyAlgorithm is refused by the model with its exact text."""
    graph = await admin(lab)
    assert (await graph("POST", PFX, v3_body(lab))).status == 201
    reply = await graph("POST", PFX, v3_body(lab, thumbprint="0" * 40, keyAlgorithm="RSA"))
    assert (reply.status, reply.code, reply.message) == (
        400,
        "ModelValidationFailure",
        "The property 'keyAlgorithm' does not exist on type 'microsoft.management.services.api.userPFXCertificate'. "
        "Make sure to only use property names that are defined by the type.",
    )
    assert reply.json["error"]["innerError"]["message"] == reply.message


async def test_reads_are_masked(lab: Lab) -> None:
    """List and entity show AA== and an empty password."""
    graph = await admin(lab)
    key = (await graph("POST", PFX, record(lab))).json["id"]
    for shown in ((await graph("GET", PFX)).json["value"][0], (await graph("GET", f"{PFX}/{key}")).json):
        assert (shown["encryptedPfxBlob"], shown["encryptedPfxPassword"]) == ("AA==", "")


@pytest.mark.parametrize("form", ["{path}?$filter={raw}", "{path}?$filter={escaped}", "{path}?filter={escaped}",
                                  "{path}/?$filter={raw}", "{path}?%24filter={escaped}"])  # fmt: skip
async def test_filters_in_every_form(lab: Lab, form: str) -> None:
    """Filters with tolower work raw and encoded, with and without the dollar sign, with a slash before the question mark."""
    graph = await admin(lab)
    await graph("POST", PFX, record(lab, userPrincipalName="USER@pfxlab.example"))
    text = f"tolower(userPrincipalName) eq '{lab.operator.credentials.user_upn}'"
    path = form.format(path=PFX, raw=text.replace(" ", "%20"), escaped=quote(text, safe=""))
    assert len((await graph("GET", path)).json["value"]) == 1


async def test_odd_user_names_are_found(lab: Lab) -> None:
    """UPNs with an apostrophe, a number sign and mixed case are found; a single apostrophe breaks the filter."""
    graph = await admin(lab)
    for upn in ("o'hara@pfxlab.example", "a_b.example#EXT#@pfxlab.example", "Mixed.Case@pfxlab.example"):
        lab.add_user(upn)
        assert (await graph("POST", PFX, record(lab, userPrincipalName=upn))).status == 201
        escaped = quote(f"tolower(userPrincipalName) eq '{upn.lower().replace(chr(39), chr(39) * 2)}'", safe="")
        assert len((await graph("GET", f"{PFX}?$filter={escaped}")).json["value"]) == 1
        users = quote(f"userPrincipalName eq '{upn.upper().replace(chr(39), chr(39) * 2)}'", safe="")
        assert len((await graph("GET", f"/v1.0/users?$filter={users}")).json["value"]) == 1
    broken = await graph("GET", "/v1.0/users?$filter=" + quote("userPrincipalName eq 'o'hara@pfxlab.example'"))
    assert (broken.status, broken.code) == (400, "BadRequest")
    assert broken.message.startswith("Invalid filter clause")


@pytest.mark.parametrize("spelling", ["({key})", "('{key}')", "/{key}", "%28%27{key}%27%29"])
async def test_patch_by_every_spelling(lab: Lab, spelling: str) -> None:
    """PATCH reaches a record by bare parentheses, quoted parentheses and segment."""
    graph = await admin(lab)
    key = (await graph("POST", PFX, record(lab))).json["id"]
    assert (await graph("PATCH", PFX + spelling.format(key=key), {"keyName": "B"})).status == 204
    assert (await graph("GET", f"{PFX}/{key}")).json["keyName"] == "B"


async def test_delete_is_204_and_again(lab: Lab) -> None:
    """DELETE is 204, again 204, and 204 for a key with a UPN, which leaves the record."""
    graph, upn = await admin(lab), lab.operator.credentials.user_upn
    entity = (await graph("POST", PFX, record(lab))).json
    assert (await graph("DELETE", f"{PFX}/{upn}-{entity['thumbprint']}")).status == 204
    assert len((await graph("GET", PFX)).json["value"]) == 1
    for left in (0, 0):
        assert (await graph("DELETE", f"{PFX}/{entity['id']}")).status == 204
        assert len((await graph("GET", PFX)).json["value"]) == left


async def test_next_link_has_the_requests_authority(lab: Lab) -> None:
    """A nextLink has the authority the request was sent to."""
    graph = await admin(lab)
    for number in range(2):
        await graph("POST", PFX, record(lab, thumbprint=f"{number:040x}"))
    with lab.switched(page_size=1):
        page = (await graph("GET", PFX, headers={"Host": f"localhost:{lab.emulator.port}"})).json
    assert page["@odata.nextLink"].startswith(f"https://localhost:{lab.emulator.port}/beta/")


async def test_unknown_user_is_an_empty_list(lab: Lab) -> None:
    """A look-up of an unknown user returns 200 with an empty list."""
    reply = await (await admin(lab))("GET", "/beta/users?$filter=" + quote("userPrincipalName eq 'nobody@x.example'"))
    assert (reply.status, reply.json["value"]) == (200, [])


async def test_missing_scope_and_expired_token(lab: Lab) -> None:
    """A missing scope is 403 with the scope list in the envelope, an expired token 401 with WWW-Authenticate."""
    graph = await setup(lab)
    refused = await graph("GET", PFX)
    assert (refused.status, refused.code) == (403, "Forbidden")
    assert "DeviceManagementConfiguration.Read.All" in refused.envelope["Message"]
    movable_wall(lab).advance(timedelta(hours=2))
    late = await graph("GET", "/beta/users")
    assert (late.status, "authorization_uri" in late.headers["WWW-Authenticate"]) == (401, True)


async def test_path_without_a_version(lab: Lab) -> None:
    """A path without version is 404 ResourceNotFound with the segment in lower case."""
    reply = await (await admin(lab))("GET", "/deviceManagement/userPfxCertificates")
    assert (reply.status, reply.code, reply.message) == (404, "ResourceNotFound", "Invalid version: devicemanagement")


async def test_unknown_segment_is_400(lab: Lab) -> None:
    """An unknown segment is 400 with Graph's text, not 404."""
    reply = await (await admin(lab))("GET", "/beta/deviceManagement/cheese")
    assert (reply.status, reply.code, reply.message) == (
        400,
        "BadRequest",
        "Resource not found for the segment 'cheese'.",
    )


async def test_profile_without_a_type(lab: Lab) -> None:
    """A profile without @odata.type is an abstract class."""
    reply = await (await admin(lab))("POST", CONFIGURATIONS, {"displayName": "p"})
    assert (reply.status, reply.message) == (400, "Cannot create an abstract class.")


async def test_assign_replaces(lab: Lab) -> None:
    """Assign replaces the set, an empty list clears it, and ids consist of profile and (pseudo) group."""
    graph, group = await admin(lab), lab.operator.credentials.group_id
    profile = (await graph("POST", CONFIGURATIONS, IOS)).json["id"]
    targets: list[Any] = [
        {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": group},
        {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"},
        {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"},
    ]
    ids = [group, "acacacac-9df4-4c7d-9d50-4ef0226f57a9", "adadadad-808e-44e2-905a-0b7873a8a531"]
    for target, name in zip(targets, ids, strict=True):
        body = {"assignments": [{"id": "", "target": target}]}
        assert (await graph("POST", f"{CONFIGURATIONS}/{profile}/assign", body)).status == 200
        shown = (await graph("GET", f"{CONFIGURATIONS}/{profile}/assignments")).json["value"]
        assert [item["id"] for item in shown] == [f"{profile}_{name}"]
    await graph("POST", f"{CONFIGURATIONS}/{profile}/assign", {"assignments": []})
    assert (await graph("GET", f"{CONFIGURATIONS}/{profile}/assignments")).json["value"] == []


async def test_status_rows_are_listed_only(lab: Lab, history: Any) -> None:
    """Status rows have the id user_config_device and can be listed, not read one by one."""
    devices, (ios, _) = await ready_lab(lab)
    await bring(lab, history[2])
    await settle(lab, devices)
    graph = await admin(lab)
    (row,) = (await graph("GET", f"{CONFIGURATIONS}/{ios}/deviceStatuses")).json["value"]
    user = (await graph("GET", "/beta/users/user@pfxlab.example")).json["id"]
    assert row["id"] == f"{user}_{ios}_{devices[0].identity.device_id}"
    single = await graph("GET", f"{CONFIGURATIONS}/{ios}/deviceStatuses('{row['id']}')")
    assert (single.status, single.code) == (400, "No method match route template")


async def test_routes_in_lower_case(lab: Lab) -> None:
    """Lower-case routes are the same routes."""
    graph = await admin(lab)
    for path in ("ndesconnectors", "userpfxcertificates", "deviceconfigurations"):
        assert (await graph("GET", f"/beta/devicemanagement/{path}")).status == 200


async def test_batches_refused_whole(lab: Lab) -> None:
    """A batch of 21, one with a repeated id, or a body without Content-Type is refused; a failed dependency is 424."""
    graph = await admin(lab)

    async def batch(*requests: dict[str, Any]) -> Any:
        return await graph("POST", "/beta/$batch", {"requests": list(requests)})

    get = {"method": "GET", "url": "/users"}
    assert (await batch(*({**get, "id": str(n)} for n in range(21)))).status == 400
    assert (await batch({**get, "id": "a"}, {**get, "id": "A"})).status == 400
    post = {"id": "1", "method": "POST", "url": "/deviceManagement/userPfxCertificates", "body": record(lab)}
    assert (await batch({**get, "id": "0"}, post)).status == 400
    assert (await graph("GET", PFX)).json["value"] == []
    wrong = {"id": "1", "method": "GET", "url": "/users/nobody"}
    answered = (await batch(wrong, {**get, "id": "2", "dependsOn": ["1"]})).json["responses"]
    assert {item["id"]: item["status"] for item in answered} == {"1": 404, "2": 424}


async def test_purposes_match_by_name(lab: Lab, history: Any) -> None:
    """A profile finds records of its purpose by name, though the two enumerations number them differently."""
    devices, (ios, _) = await ready_lab(lab)
    for item in history:
        await bring(lab, item)
    await settle(lab, devices)
    graph = await admin(lab)
    cast = "microsoft.graph.iosImportedPFXCertificateProfile"
    states = (await graph("GET", f"{CONFIGURATIONS}/{ios}/{cast}/managedDeviceCertificateStates")).json["value"]
    records = {item["thumbprint"]: item["intendedPurpose"] for item in (await graph("GET", PFX)).json["value"]}
    assert {records[state["certificateThumbprint"]] for state in states} == {"smimeEncryption"}
    assert set(records.values()) == {"smimeEncryption", "smimeSigning"}


async def test_expired_certificate_is_listed(lab: Lab) -> None:
    """An expired certificate is still listed."""
    graph = await admin(lab)
    await graph(
        "POST", PFX, record(lab, expirationDateTime="2020-01-01T00:00:00Z", startDateTime="2019-01-01T00:00:00Z")
    )
    (shown,) = (await graph("GET", PFX)).json["value"]
    assert shown["expirationDateTime"] == "2020-01-01T00:00:00Z"


def forged(token: str, kind: str) -> str:
    """Return a token with the claims of a valid one, but not trustworthy."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    head, body, signature = token.split(".")
    match kind:
        case "alg none":
            return jwt.encode(claims, "", algorithm="none")
        case "symmetric":
            return jwt.encode(
                claims, "x" * 32, algorithm="HS256", headers={"kid": jwt.get_unverified_header(token)["kid"]}
            )
        case "no signature":
            return f"{head}.{body}."
        case "other claims":
            other = jwt.encode({**claims, "roles": ["Everything"]}, "", algorithm="none").split(".")[1]
            return f"{head}.{other}.{signature}"
    return ""


@pytest.mark.parametrize("kind", ["alg none", "symmetric", "no signature", "other claims"])
async def test_forged_tokens_are_refused(lab: Lab, kind: str) -> None:
    """Tokens without signature, with a symmetric one, or with changed claims are 401, also after the good one was seen."""
    graph = await admin(lab)
    assert (await graph("GET", PFX)).status == 200
    reply = await Raw(lab, forged(graph._token or "", kind))("GET", PFX)
    assert (reply.status, reply.code) == (401, "InvalidAuthenticationToken")


async def test_token_for_another_resource_is_refused(lab: Lab) -> None:
    """A token whose audience is an application of the tenant opens nothing of Graph."""
    made = lab.operator.credentials
    form = {"grant_type": "client_credentials", "client_id": made.admin_client_id,
            "client_secret": made.admin_client_secret, "scope": f"api://{made.limited_client_id}/.default"}  # fmt: skip
    async with lab.graph() as client:
        token = await client.sign_in(form)
    reply = await Raw(lab, token)("GET", PFX)
    assert (reply.status, reply.message) == (401, "Access token validation failure. Invalid audience.")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/beta/deviceManagement/../users", 400),
        ("/beta//deviceManagement//userPfxCertificates", 200),
        ("/BETA/DEVICEMANAGEMENT/USERPFXCERTIFICATES", 200),
        ("/beta/deviceManagement/%2e%2e/users", 400),
        ("/beta/deviceManagement/userPfxCertificates/..%2f..%2fusers", 404),
        ("/beta/deviceManagement/userPfxCertificates/%00", 404),
        ("/beta/deviceManagement/userPfxCertificates(')", 404),
        ("/beta/lab/v1/journal", 400),
    ],
)
async def test_path_tricks_lead_nowhere(lab: Lab, path: str, status: int) -> None:
    """Doubled slashes and odd case are the same path; dots, slashes and nulls in keys reach nothing else."""
    assert (await (await admin(lab))("GET", path)).status == status


async def test_headers_without_end_are_refused(lab: Lab) -> None:
    """A header over the server's size limit is refused, and the lab runs on."""
    graph = await admin(lab)
    assert (await graph("GET", PFX, headers={"X-Long": "x" * 100_000})).status in (400, 431)
    assert (await graph("GET", PFX)).status == 200


async def test_responses_are_compressed_on_request(lab: Lab) -> None:
    """A long answer is gzip'd when the client accepts it, and never unasked."""
    graph = await admin(lab)
    for number in range(10):
        await graph("POST", PFX, record(lab, thumbprint=f"{number:040x}"))
    packed = await graph("GET", PFX, headers={"Accept-Encoding": "gzip"})
    plain = await graph("GET", PFX, headers={"Accept-Encoding": "identity"})
    assert (packed.headers.get("Content-Encoding"), plain.headers.get("Content-Encoding")) == ("gzip", None)
    assert packed.json == plain.json


async def test_switch_for_the_length_of_a_block(lab: Lab) -> None:
    """A switch set for a block has its old value afterwards, also when the block fails; a wrong one is refused."""
    switches = lab.cloud.config.switches
    with contextlib.suppress(ZeroDivisionError), lab.switched(page_size=1):
        assert lab.cloud.config.switches.page_size == 1
        raise ZeroDivisionError
    assert lab.cloud.config.switches == switches
    with pytest.raises(ValueError, match="page_size"), lab.switched(page_size=0):
        pass
