"""userPfxCertificates over HTTP.

Expected values: sources.md#record-operations, sources.md#record-id, sources.md#masked-reads, sources.md#opaque-400.
"""

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pfxlab.emulator.config import Config, Switches
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import movable_wall, new_lab
from tests.emulator.graph.client import PFX, Raw, Reply, admin, record

THUMBPRINT = "8c5b0f6f3b1d2a4e6c7f8091a2b3c4d5e6f70812"


async def created(lab: Lab, **changes: Any) -> tuple[Raw, dict[str, Any]]:
    """Return a client and a record it created."""
    graph = await admin(lab)
    reply = await graph("POST", PFX, record(lab, **changes))
    assert reply.status == 201, reply.text
    return graph, reply.json


async def test_cmdlet_body_is_created(lab: Lab) -> None:
    """The old cmdlets' body is created: camelCase enums, UTC dates, masked secrets, the key of user and thumbprint."""
    graph, entity = await created(lab)
    upn = lab.operator.credentials.user_upn
    users = (await graph("GET", f"/beta/users?$filter=userPrincipalName%20eq%20'{upn}'")).json["value"]
    key = f"{users[0]['id'].replace('-', '')}-{THUMBPRINT}"
    created_at = entity.pop("createdDateTime")
    assert entity.pop("lastModifiedDateTime") == created_at
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{7})?Z", created_at)
    assert entity == {
        "@odata.context": f"{graph.origin}/beta/$metadata#deviceManagement/userPfxCertificates/$entity",
        "id": key,
        "thumbprint": THUMBPRINT,
        "intendedPurpose": "smimeEncryption",
        "userPrincipalName": upn,
        "startDateTime": "2026-01-05T07:00:00Z",
        "expirationDateTime": "2029-01-04T07:00:00Z",
        "providerName": "Microsoft Software Key Storage Provider",
        "keyName": "PfxImportKey",
        "paddingScheme": "oaepSha512",
        "encryptedPfxBlob": "AA==",
        "encryptedPfxPassword": "",
    }


async def test_answers_carry_graphs_headers(lab: Lab) -> None:
    """Success and error carry request-id, echo client-request-id, and have Graph's content types."""
    graph, _ = await created(lab)
    good = await graph("GET", PFX, headers={"client-request-id": "my-id"})
    assert good.headers["client-request-id"] == "my-id"
    assert re.fullmatch(r"[0-9a-f-]{36}", good.headers["request-id"])
    assert good.headers["OData-Version"] == "4.0"
    assert good.headers["Content-Type"].startswith("application/json;odata.metadata=minimal;odata.streaming=true")
    bad = await graph("GET", f"{PFX}/nothing")
    assert bad.headers["client-request-id"] == bad.headers["request-id"]
    assert bad.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("spelling", ["/{}", "({})", "('{}')", "%28%27{}%27%29"])
@pytest.mark.parametrize("upper", [False, True])
async def test_every_key_spelling_works(lab: Lab, spelling: str, upper: bool) -> None:
    """A record is read, changed and deleted under each spelling of its key, in either case."""
    graph, entity = await created(lab)
    key = entity["id"].upper() if upper else entity["id"]
    path = PFX + spelling.format(key)
    assert (await graph("GET", path)).json["id"] == entity["id"]
    assert (await graph("PATCH", path, {"keyName": "Another"})).status == 204
    assert (await graph("GET", path)).json["keyName"] == "Another"
    assert (await graph("DELETE", path)).status == 204
    assert (await graph("GET", path)).status == 404


@pytest.mark.parametrize(
    "path", ["/beta//deviceManagement/userPfxCertificates", "/BETA/DEVICEMANAGEMENT/userpfxcertificates/"]
)
async def test_odd_paths_are_the_same_collection(lab: Lab, path: str) -> None:
    """Doubled slashes, a trailing slash and any case address the same collection."""
    graph, entity = await created(lab)
    assert [item["id"] for item in (await graph("GET", path)).json["value"]] == [entity["id"]]


UPN = "o'hara.Mixed@pfxlab.example"


@pytest.mark.parametrize(
    "query",
    [
        "?$filter=tolower(userPrincipalName)%20eq%20'o''hara.mixed@pfxlab.example'",
        "?$filter=" + quote(f"tolower(userPrincipalName) eq 'o''hara.mixed@pfxlab.example' and tolower(thumbprint) eq '{THUMBPRINT}'"),
        "/?$filter=" + quote("userPrincipalName eq 'o''hara.Mixed@pfxlab.example'"),
        "?filter=" + quote(f"thumbprint eq '{THUMBPRINT}'"),
        "?%24filter=" + quote("startswith(userPrincipalName,'o''hara')"),
        "?$filter=" + quote("intendedPurpose eq 'smimeSigning'"),
        "?$filter=" + quote("expirationDateTime gt 2028-12-31T00:00:00Z and not contains(keyName,'%')"),
        "?$filter=thumbprint+in+('x','" + THUMBPRINT + "')+and+userPrincipalName+ne+'user@pfxlab.example'",
    ],
)  # fmt: skip
async def test_filters_of_real_clients_find_the_record(lab: Lab, query: str) -> None:
    """The filters of both cmdlet versions and of hand-written scripts find one of two records, however encoded."""
    lab.add_user(UPN)
    graph, entity = await created(lab, userPrincipalName=UPN, intendedPurpose="smimeSigning")
    other = record(lab, thumbprint="ff" * 20, keyName="100%", expirationDateTime="2027-01-01T00:00:00Z")
    await graph("POST", PFX, other)
    reply = await graph("GET", PFX + query)
    assert [item["id"] for item in reply.json["value"]] == [entity["id"]], reply.text


async def test_filter_that_matches_nothing_is_an_empty_list(lab: Lab) -> None:
    """A filter without a hit answers 200 with an empty list."""
    graph = await admin(lab)
    reply = await graph("GET", f"{PFX}?$filter=thumbprint%20eq%20'x'")
    assert (reply.status, reply.json["value"]) == (200, [])


async def test_filter_cannot_reach_the_database(lab: Lab) -> None:
    """A literal with SQL in it is a literal, and an unknown property is refused by name."""
    graph, _ = await created(lab)
    sql = quote("keyName eq 'x'') or 1=1 --'")
    assert (await graph("GET", f"{PFX}?$filter={sql}")).json["value"] == []
    reply = await graph("GET", f"{PFX}?$filter=" + quote("encryptedPfxPassword eq 'cGFzc3dvcmQ='"))
    assert reply.status == 400
    assert "'encryptedPfxPassword'" in reply.message


@pytest.mark.parametrize(
    "text", ["thumbprint eq", "eq eq eq", "length(thumbprint) gt 3", "intendedPurpose eq 'cheese'"]
)
async def test_broken_filter_is_refused(lab: Lab, text: str) -> None:
    """A filter that does not parse or cannot be served is answered 400."""
    reply = await (await admin(lab))("GET", f"{PFX}?$filter={quote(text)}")
    assert reply.status == 400


async def test_pages_follow_their_links(tmp_path: Path) -> None:
    """With a page size of two, five records fill three pages on the request's host, each record once."""
    async with new_lab(tmp_path, Config(switches=Switches(page_size=2))) as lab:
        graph = await admin(lab)
        for number in range(5):
            await graph("POST", PFX, record(lab, thumbprint=format(number, "040x")))
        seen, sizes, path = [], [], f"{PFX}?$orderby=thumbprint desc&$select=thumbprint&$count=true".replace(" ", "%20")
        while path:
            page = (await graph("GET", path)).json
            seen += [item["thumbprint"] for item in page["value"]]
            sizes.append(len(page["value"]))
            link = page.get("@odata.nextLink", "")
            assert link.startswith(graph.origin) or not link
            path = link.removeprefix(graph.origin)
            assert ("@odata.count" in page) == (len(sizes) == 1)
        assert sizes == [2, 2, 1]
        assert seen == [format(number, "040x") for number in (4, 3, 2, 1, 0)]
        assert (await graph("GET", f"{PFX}/$count")).text == "5"


async def test_patch_keeps_other_properties(lab: Lab) -> None:
    """PATCH changes only the properties it has; masked secrets that are sent back leave both secrets unchanged."""
    graph, entity = await created(lab)
    masked = {**entity, "keyName": "New"}
    masked.pop("@odata.context")
    assert (await graph("PATCH", f"{PFX}/{entity['id']}", masked)).status == 204
    stored = lab.cloud.certificates.get(lab.operator.credentials.tenant_id, entity["id"])
    assert stored is not None
    assert (stored.key_name, stored.encrypted_pfx_password) == ("New", "cGFzc3dvcmQ=")
    assert stored.encrypted_pfx_blob != b"\0"


async def test_delete_of_nothing_is_204(lab: Lab) -> None:
    """Deleting twice, or under a UPN as key, answers 204 without effect, as users observed."""
    graph, entity = await created(lab)
    wrong = f"{PFX}/{quote(lab.operator.credentials.user_upn)}-{THUMBPRINT}"
    assert (await graph("DELETE", wrong)).status == 204
    assert (await graph("GET", f"{PFX}/{entity['id']}")).status == 200
    for _ in range(2):
        assert (await graph("DELETE", f"{PFX}/{entity['id']}")).status == 204
    assert (await graph("POST", PFX, record(lab))).status == 201


MODEL = "ModelValidationFailure"


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"keyAlgorithm": "RSA"}, MODEL, "The property 'keyAlgorithm' does not exist on type "
         "'microsoft.management.services.api.userPFXCertificate'. Make sure to only use property names that are "
         "defined by the type."),
        ({"intendedPurpose": "email"}, MODEL, "Cannot convert the literal 'email' to the expected type "),
        ({"startDateTime": "yesterday"}, MODEL, "Cannot convert the literal 'yesterday' to the expected type "
         "'Edm.DateTimeOffset'."),
        ({"encryptedPfxBlob": "*"}, MODEL, "Cannot convert the literal '' to the expected type 'Edm.Binary'."),
        ({"keyName": 5}, MODEL, "Cannot convert the literal '5' to the expected type 'Edm.String'."),
        ({"encryptedPfxPassword": 73555608}, MODEL, "Cannot convert the literal '' to the expected type"),
        ({"keyName": {}}, "BadRequest", "Property keyName in payload has a value that does not match schema."),
    ],
)  # fmt: skip
async def test_model_errors_have_microsofts_texts(lab: Lab, changes: Any, code: str, message: str) -> None:
    """A body that breaks the model is refused with the code and text of the real service's OData stack."""
    reply = await (await admin(lab))("POST", PFX, record(lab, **changes))
    assert (reply.status, reply.code) == (400, code)
    assert reply.message.startswith(message)


@pytest.mark.parametrize(
    ("changes", "truth"),
    [
        ({"thumbprint": ...}, "expected thumbprint"),
        ({"encryptedPfxPassword": ""}, "expected encryptedPfxPassword, got empty"),
        ({"userPrincipalName": "nobody@pfxlab.example"}, "no user of this tenant"),
    ],
)
async def test_service_errors_hide_their_reason(lab: Lab, changes: Any, truth: str) -> None:
    """A refusal of the Intune service is a 400 with a generic body; the true reason is in the journal only."""
    reply = await (await admin(lab))("POST", PFX, record(lab, **changes))
    assert (reply.status, reply.code) == (400, "BadRequest")
    message = reply.envelope["Message"]
    assert message.startswith("An error has occurred - Operation ID (for customer support): 00000000-0000-0000-0000-")
    assert f"Activity ID: {reply.headers['client-request-id']}" in message
    assert re.search(
        r"/RACerts/StatelessImportPFXService/[0-9a-f-]{36}/deviceManagement/userPfxCertificates\?api-version=5021-04-09$",
        message,
    )
    assert truth not in reply.text
    assert truth in str(lab.cloud.journal.entries()[-1].reason)


async def test_duplicate_is_refused(lab: Lab) -> None:
    """The same certificate for the same user a second time is refused and the first stays."""
    graph, entity = await created(lab)
    again = await graph("POST", PFX, record(lab, keyName="Second", thumbprint=THUMBPRINT.upper()))
    assert (again.status, again.code) == (400, "BadRequest")
    assert (await graph("GET", f"{PFX}/{entity['id']}")).json["keyName"] == "PfxImportKey"


@pytest.mark.parametrize(("switch", "status"), [("upsert", 201), ("conflict409", 409)])
async def test_duplicate_switch(tmp_path: Path, switch: Any, status: int) -> None:
    """The switch duplicate_post makes a second POST replace the record, or answer 409."""
    async with new_lab(tmp_path, Config(switches=Switches(duplicate_post=switch))) as lab:
        graph, entity = await created(lab)
        assert (await graph("POST", PFX, record(lab, keyName="Second"))).status == status
        name = (await graph("GET", f"{PFX}/{entity['id']}")).json["keyName"]
        assert name == ("Second" if switch == "upsert" else "PfxImportKey")


async def test_documented_profile_answers_patch_with_the_entity(tmp_path: Path) -> None:
    """With code_profile documented PATCH answers 200 and the entity, with delete_missing 404 a second DELETE 404."""
    switches = Switches(code_profile="documented", delete_missing="404")
    async with new_lab(tmp_path, Config(switches=switches)) as lab:
        graph, entity = await created(lab)
        reply = await graph("PATCH", f"{PFX}/{entity['id']}", {"keyName": "New"})
        assert (reply.status, reply.json["keyName"], reply.json["encryptedPfxBlob"]) == (200, "New", "AA==")
        assert (await graph("DELETE", f"{PFX}/{entity['id']}")).status == 204
        assert (await graph("DELETE", f"{PFX}/{entity['id']}")).status == 404


async def test_legacy_padding_switch(tmp_path: Path) -> None:
    """Retired paddings are stored by default, and refused with the switch."""
    async with new_lab(tmp_path, Config(switches=Switches(legacy_padding="reject400"))) as lab:
        reply = await (await admin(lab))("POST", PFX, record(lab, paddingScheme="pkcs1"))
        assert reply.status == 400


async def test_malformed_thumbprint_is_accepted(lab: Lab) -> None:
    """A thumbprint with a suffix is created and listed, as one user of the real service reported."""
    _, entity = await created(lab, thumbprint=f"{THUMBPRINT}-enc")
    assert entity["thumbprint"] == f"{THUMBPRINT}-enc"


@pytest.mark.parametrize(
    ("data", "headers", "text"),
    [
        (b"{", {"Content-Type": "application/json"}, "Unable to read JSON request payload."),
        (b"[]", {"Content-Type": "application/json"}, "Unable to read JSON request payload."),
        (b"{}", {"Content-Type": "text/plain"}, "Unable to read JSON request payload."),
        (b"", {"Content-Type": "application/json"}, "Empty Payload. JSON content expected."),
    ],
)
async def test_gateway_errors(lab: Lab, data: bytes, headers: dict[str, str], text: str) -> None:
    """A body that is missing, not JSON, or without a JSON Content-Type is refused by the gateway with 400, never 415."""
    reply = await (await admin(lab))("POST", PFX, data=data, headers=headers)
    assert (reply.status, reply.code) == (400, "BadRequest")
    assert reply.message.startswith(text)


async def test_invalid_utf_8_is_a_model_error(lab: Lab) -> None:
    """A body in Latin-1, as PowerShell 5.1 sends it, is a ModelValidationFailure."""
    body = '{"keyName":"Schlüssel"}'.encode("latin-1")
    reply = await (await admin(lab))("POST", PFX, data=body, headers={"Content-Type": "application/json"})
    assert (reply.status, reply.code) == (400, MODEL)


def _refused(reply: Reply, status: int, code: str) -> bool:
    return (reply.status, reply.code) == (status, code)


async def test_missing_permission_names_sufficient_ones(lab: Lab) -> None:
    """An app without Intune permission gets 403 Forbidden with the scopes that would do, for reading and writing."""
    made = lab.operator.credentials
    async with lab.graph() as client:
        form = {"client_id": made.limited_client_id, "client_secret": made.limited_client_secret}
        limited = Raw(lab, await client.sign_in({"grant_type": "client_credentials", **form}))
    read, write = await limited("GET", PFX), await limited("POST", PFX, record(lab))
    assert _refused(read, 403, "Forbidden")
    assert (
        "DeviceManagementConfiguration.Read.All, DeviceManagementConfiguration.ReadWrite.All - Op"
        in read.envelope["Message"]
    )
    assert "scopes: DeviceManagementConfiguration.ReadWrite.All - Op" in write.envelope["Message"]


async def test_user_without_intune_role_is_refused(lab: Lab) -> None:
    """A signed-in user with the scope but without an Intune role gets 403."""
    lab.add_user("plain@pfxlab.example")
    token = await lab.user_token("plain@pfxlab.example", lab.operator.passwords["plain@pfxlab.example"])
    reply = await Raw(lab, token)("GET", PFX)
    assert _refused(reply, 403, "Forbidden")
    assert reply.envelope["Message"].startswith("User is not authorized to perform this operation")


async def test_unusable_tokens_are_401(lab: Lab) -> None:
    """No token, rubbish and a foreign signature get 401 with a WWW-Authenticate header."""
    good = (await admin(lab))._token or ""
    head, payload, _ = good.split(".")
    for token in (None, "rubbish", f"{head}.{payload}.AAAA"):
        reply = await Raw(lab, token)("GET", PFX)
        assert _refused(reply, 401, "InvalidAuthenticationToken")
        assert reply.headers["WWW-Authenticate"].startswith('Bearer realm=""')


async def test_expired_token_is_401(lab: Lab) -> None:
    """A token is refused once the wall clock has passed its end."""
    graph = await admin(lab)
    movable_wall(lab).advance(timedelta(seconds=3601))
    reply = await graph("GET", PFX)
    assert _refused(reply, 401, "InvalidAuthenticationToken")
    assert reply.message == "Lifetime validation failed, the token is expired."


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/deviceManagement/userPfxCertificates", 404, "Invalid version: devicemanagement"),
        ("GET", "/v1.0/deviceManagement/userPfxCertificates", 400, "Resource not found for the segment 'userPfxCertificates'."),
        ("GET", "/beta/deviceManagement/nothing", 400, "Resource not found for the segment 'nothing'."),
        ("POST", "/beta/users/x", 405, "Specified HTTP method is not allowed for the request target."),
    ],
)  # fmt: skip
async def test_wrong_paths_have_graphs_texts(lab: Lab, method: str, path: str, status: int, message: str) -> None:
    """A missing version is 404, an unknown segment 400, a wrong method 405, each with Graph's text."""
    reply = await (await admin(lab))(method, path)
    assert (reply.status, reply.message) == (status, message)


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("GET", f"{PFX}?$skip=99999999999999999999", b""),
        ("GET", f"{PFX}?$top={'9' * 5000}", b""),
        ("GET", f"{PFX}?$skiptoken=eyJvIjoxZTk5OX0", b""),
        ("GET", "/beta/deviceManagement/deviceConfigurations?$filter=version%20eq%2099999999999999999999", b""),
        ("POST", PFX, b'{"keyName": "\\ud800"}'),
        ("POST", PFX, b'{"keyName": ' + b"9" * 5000 + b"}"),
        ("POST", PFX, b"[" * 100_000),
    ],
)
async def test_extreme_input_is_a_clear_400(lab: Lab, method: str, path: str, data: bytes) -> None:
    """Numbers without end, half characters and deep nesting are refused in Graph's form, never a 500."""
    headers = {"Content-Type": "application/json"}
    reply = await (await admin(lab))(method, path, data=data, headers=headers)
    assert reply.status == 400
    assert reply.headers["request-id"]
    assert reply.message


async def test_body_too_large_is_413_in_graphs_form(lab: Lab) -> None:
    """A body above the limit is refused in Graph's form."""
    data = io.BytesIO(b'{"keyName": "' + b"x" * (17 * 2**20) + b'"}')
    reply = await (await admin(lab))("POST", PFX, data=data, headers={"Content-Type": "application/json"})
    assert (reply.status, reply.code) == (413, "RequestEntityTooLarge")


async def test_defect_is_graphs_500_with_the_truth_in_the_journal(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is Graph's 500 without its details; the journal names it."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("canary")

    graph = await admin(lab)
    monkeypatch.setattr(type(lab.cloud.certificates), "get", broken)
    reply = await graph("GET", f"{PFX}/x")
    assert (reply.status, reply.code) == (500, "InternalServerError")
    assert "canary" not in reply.text
    assert "ZeroDivisionError" in str(lab.cloud.journal.entries()[-1].reason)
