"""Requests of PFXImport 2 and 3 in their exact form: sources.md#pfximport-2, sources.md#pfximport-3."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import CONFIGURATIONS, PFX, Raw, admin, record

GUEST = "mail_customer.example#EXT#@pfxlab.example"
JSON = {"Content-Type": "application/json"}


def v2_body(lab: Lab, **changes: Any) -> bytes:
    """Return a record as Newtonsoft writes it: indented, PascalCase enums, local offset, seven fraction digits."""
    return json.dumps(record(lab, **changes), indent=2).replace("\n", "\r\n").encode()


def v3_body(lab: Lab, **changes: Any) -> dict[str, Any]:
    """Return a record as the script module writes it: an empty id first, camelCase enums, UTC dates."""
    body = {
        "id": "",
        **record(lab),
        "intendedPurpose": "smimeSigning",
        "paddingScheme": "oaepSha384",
        "startDateTime": "2026-01-05T07:00:00.0000000Z",
        "expirationDateTime": "2029-01-04T07:00:00.0000000+00:00",
        "createdDateTime": "2026-02-01T09:00:00.1234567Z",
        "lastModifiedDateTime": "2026-02-01T09:00:00.1234567Z",
    }
    return {**body, **changes}


async def test_v2_imports_updates_and_removes(lab: Lab) -> None:
    """Version 2: POST, user look-up, PATCH with the id in bare parentheses, filter with raw quotes, DELETE with 204."""
    graph, upn = await admin(lab), lab.operator.credentials.user_upn
    expecting = {**JSON, "Expect": "100-continue"}
    assert (await graph("POST", PFX, data=v2_body(lab), headers=expecting)).status == 201
    user = (await graph("GET", f"/beta/users?$filter=userPrincipalName%20eq%20'{upn}'")).json["value"][0]["id"]
    thumbprint = record(lab)["thumbprint"]
    key = f"{user.replace('-', '')}-{thumbprint}"
    changed = await graph("PATCH", f"{PFX}({key})", data=v2_body(lab, keyName="Second"), headers=JSON)
    assert changed.status in (200, 204)
    query = f"?$filter=tolower(userPrincipalName)%20eq%20'{upn}'%20and%20tolower(thumbprint)%20eq%20'{thumbprint}'"
    (found,) = (await graph("GET", PFX + query)).json["value"]
    assert (found["keyName"], found["intendedPurpose"]) == ("Second", "smimeEncryption")
    removed = await graph("DELETE", f"{PFX}/{user.replace('-', '')}-{thumbprint.upper()}")
    assert (removed.status, bool(removed.headers["request-id"])) == (204, True)
    assert (await graph("GET", PFX)).json["value"] == []


async def test_v3_imports_and_its_early_release_is_refused(lab: Lab) -> None:
    """Version 3's body is created; with the keyAlgorithm of its pre-release it is refused by the model."""
    graph = await admin(lab)
    refused = await graph("POST", PFX, v3_body(lab, keyAlgorithm="RSA"))
    assert (refused.status, refused.code) == (400, "ModelValidationFailure")
    entity = (await graph("POST", PFX, v3_body(lab))).json
    assert (entity["paddingScheme"], entity["expirationDateTime"]) == ("oaepSha384", "2029-01-04T07:00:00Z")
    escaped = quote(f"tolower(userPrincipalName) eq '{lab.operator.credentials.user_upn}'", safe="")
    assert len((await graph("GET", f"{PFX}?$filter={escaped}")).json["value"]) == 1


async def test_guest_with_a_number_sign_is_found(lab: Lab) -> None:
    """A guest's UPN with # works in filters and keys when encoded, and its certificates are imported under it."""
    lab.add_user(GUEST)
    graph = await admin(lab)
    filtered = await graph("GET", f"/beta/users?$filter={quote(f'userPrincipalName eq {chr(39)}{GUEST}{chr(39)}')}")
    assert [user["userPrincipalName"] for user in filtered.json["value"]] == [GUEST]
    assert (await graph("GET", f"/beta/users/{quote(GUEST)}")).json["userPrincipalName"] == GUEST
    assert (await graph("GET", f"/beta/users('{quote(GUEST)}')")).json["userPrincipalName"] == GUEST
    assert (await graph("POST", PFX, v3_body(lab, userPrincipalName=GUEST))).status == 201


async def test_expired_certificate_is_still_listed(lab: Lab) -> None:
    """A record outlives its certificate: expired ones are imported and listed like others."""
    graph = await admin(lab)
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    await graph("POST", PFX, v3_body(lab, startDateTime="2020-01-01T00:00:00Z", expirationDateTime=past))
    assert len((await graph("GET", PFX)).json["value"]) == 1


@pytest.mark.parametrize("purpose", ["unassigned", "smimeEncryption", "smimeSigning", "vpn", "wifi"])
async def test_purposes_match_by_name(lab: Lab, purpose: str) -> None:
    """Records and profiles have the same name for every purpose, although their numbers differ."""
    graph = await admin(lab)
    imported = await graph("POST", PFX, v3_body(lab, intendedPurpose=purpose))
    odata_type = "#microsoft.graph.iosImportedPFXCertificateProfile"
    body = {"@odata.type": odata_type, "displayName": "p", "intendedPurpose": purpose.upper()}
    profile = await graph("POST", CONFIGURATIONS, body)
    assert imported.json["intendedPurpose"] == profile.json["intendedPurpose"] == purpose


async def test_token_of_another_lab_is_refused(lab: Lab, tmp_path: Any) -> None:
    """A token signed by another authority is refused, although issuer, audience and tenant are the same."""
    async with Lab(tmp_path / "other") as other:
        foreign = (await admin(other))._token
    reply = await Raw(lab, foreign)("GET", PFX)
    assert (reply.status, reply.code) == (401, "InvalidAuthenticationToken")
