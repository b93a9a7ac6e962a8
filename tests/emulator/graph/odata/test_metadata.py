"""$metadata, metadata levels and ETags.

Expected values: sources.md#odata-metadata, sources.md#metadata-levels, sources.md#odata-context.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.graph.odata.model import ENUM_TYPES, properties_of
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.graph.client import CONFIGURATIONS, PFX, Raw, admin, record, setup
from tests.end_to_end.test_life import bring, history, ready_lab, settle

__all__ = ["history"]
NODE = Path(__file__).parents[3] / "clients" / "node"
EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
FULL = {"Accept": "application/json;odata.metadata=full"}
installed = shutil.which("node") is not None and (NODE / "node_modules" / ".ready").exists()


async def document(lab: Lab) -> Element:
    """Return the parsed metadata document."""
    reply = await Raw(lab, None)("GET", "/beta/$metadata")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/xml")
    root: Element = fromstring(reply.text)
    return root


async def test_metadata_needs_no_token(lab: Lab) -> None:
    """Anybody may read $metadata and the service document; nothing else is public."""
    names = {e.get("Name") for e in (await document(lab)).iter(f"{EDM}EntityType")}
    assert {"userPFXCertificate", "iosImportedPFXCertificateProfile", "ndesConnector", "user"} <= names
    service = (await Raw(lab, None)("GET", "/beta/")).json
    assert {"name": "users", "kind": "EntitySet", "url": "users"} in service["value"]
    assert (await Raw(lab, None)("GET", "/beta/users")).status == 401


async def test_metadata_matches_the_reference(lab: Lab) -> None:
    """Properties, types and enumeration numbers of an imported certificate are those of Microsoft's reference."""
    root = await document(lab)
    entity = next(e for e in root.iter(f"{EDM}EntityType") if e.get("Name") == "userPFXCertificate")
    shown = {p.get("Name"): p.get("Type") for p in entity.iter(f"{EDM}Property")}
    assert shown["encryptedPfxBlob"] == "Edm.Binary"
    assert shown["paddingScheme"] == "microsoft.graph.userPfxPaddingScheme"
    assert "keyAlgorithm" not in shown
    padding = next(e for e in root.iter(f"{EDM}EnumType") if e.get("Name") == "userPfxPaddingScheme")
    assert {m.get("Name"): m.get("Value") for m in padding} == {
        "none": "0", "pkcs1": "1", "oaepSha1": "2", "oaepSha256": "3", "oaepSha384": "4", "oaepSha512": "5"
    }  # fmt: skip
    purposes = {
        name: [m.get("Value") for m in next(e for e in root.iter(f"{EDM}EnumType") if e.get("Name") == name)]
        for name in ("userPfxIntendedPurpose", "intendedPurpose")
    }
    assert purposes == {
        "userPfxIntendedPurpose": ["0", "1", "2", "4", "8"],
        "intendedPurpose": ["1", "2", "3", "4", "5"],
    }


@pytest.mark.skipif(
    not installed and not os.environ.get("CI"), reason="needs node and the packages `make test` installs"
)
@pytest.mark.parametrize("version", ["beta", "v1.0"])
async def test_oasis_reads_the_metadata(lab: Lab, tmp_path: Path, version: str) -> None:
    """The OData committee's converter parses the document, and every type it names exists."""
    path = tmp_path / "metadata.xml"
    path.write_text((await Raw(lab, None)("GET", f"/{version}/$metadata")).text)
    code = (
        "const csdl = require('odata-csdl'), fs = require('fs');"
        "console.log(JSON.stringify(csdl.xml2json(fs.readFileSync(process.argv[1], 'utf8'))))"
    )
    done = subprocess.run(
        ["node", "-e", code, str(path)], cwd=NODE, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["$Version"], document["$EntityContainer"]) == ("4.0", "microsoft.graph.GraphService")
    types = document["microsoft.graph"]
    named = {part for kind in types.values() if isinstance(kind, dict) for part in _types(kind)}
    assert {name for name in named if name.startswith("microsoft.graph.")} <= {f"microsoft.graph.{n}" for n in types}


def _types(kind: dict[str, Any]) -> list[str]:
    own = [kind.get("$BaseType", "")]
    return own + [value.get("$Type", "") for value in kind.values() if isinstance(value, dict)]


def conforms(entity: dict[str, Any], kind: str) -> list[str]:
    """Return the properties of an entity that the model lacks, or has with another type."""
    problems = []
    types = properties_of(kind)
    for name, value in entity.items():
        if "@" in name or value is None:
            continue
        short = types.get(name)
        natural = {"Int32": int, "Boolean": bool, "String": str, "DateTimeOffset": str}.get(short or "")
        if short is None or (natural is not None and not isinstance(value, natural)):
            problems.append(f"{kind}.{name}: {short}, {value!r}")
        if short in ENUM_TYPES and value not in ENUM_TYPES[short]:
            problems.append(f"{kind}.{name}: {value!r} is no member of {short}")
    return problems


async def test_everything_served_is_in_the_model(lab: Lab, history: Any) -> None:
    """Each entity of a lab at work has only properties of the model, of its types, with members that exist."""
    devices, (ios, windows) = await ready_lab(lab)
    await bring(lab, history[2])
    await settle(lab, devices)
    graph, directory = await admin(lab), await setup(lab)
    cast = "microsoft.graph.windows10ImportedPFXCertificateProfile"
    wanted = {
        PFX: "userPFXCertificate",
        f"{CONFIGURATIONS}/{ios}/assignments": "deviceConfigurationAssignment",
        f"{CONFIGURATIONS}/{ios}/deviceStatuses": "deviceConfigurationDeviceStatus",
        f"{CONFIGURATIONS}/{ios}/userStatuses": "deviceConfigurationUserStatus",
        f"{CONFIGURATIONS}/{windows}/{cast}/managedDeviceCertificateStates": "managedDeviceCertificateState",
        "/beta/deviceManagement/deviceConfigurationsAllManagedDeviceCertificateStates": "managedAllDeviceCertificateState",
        "/beta/deviceManagement/ndesConnectors": "ndesConnector",
        "/beta/deviceManagement/certificateConnectorDetails": "certificateConnectorDetails",
        "/beta/deviceManagement/managedDevices": "managedDevice",
        "/beta/users": "user",
        "/beta/groups": "group",
    }
    more = {
        "/beta/applications": "application",
        "/beta/servicePrincipals": "servicePrincipal",
        "/beta/directoryRoles": "directoryRole",
        "/beta/oauth2PermissionGrants": "oAuth2PermissionGrant",
        "/beta/organization": "organization",
    }
    problems = []
    for client, paths in ((graph, wanted), (directory, more)):
        for path, kind in paths.items():
            items = (await client("GET", path)).json["value"]
            assert items, path
            problems += [problem for item in items for problem in conforms(item, kind)]
    for item in (await graph("GET", CONFIGURATIONS)).json["value"]:
        problems += conforms(item, item["@odata.type"].removeprefix("#microsoft.graph."))
    for name, kind in (("device", "Device"), ("user", "User")):
        overview = (await graph("GET", f"{CONFIGURATIONS}/{ios}/{name}StatusOverview")).json
        problems += conforms(overview, f"deviceConfiguration{kind}Overview")
    assert problems == []


async def test_full_metadata_names_types_and_links(lab: Lab) -> None:
    """The level full adds type, id, edit link and the types JSON cannot show, for lists, entities and profiles alike."""
    graph = await admin(lab)
    await graph("POST", PFX, record(lab))
    reply = await graph("GET", PFX, headers=FULL)
    assert "odata.metadata=full" in reply.headers["Content-Type"]
    (item,) = reply.json["value"]
    address = f"deviceManagement/userPfxCertificates('{item['id']}')"
    assert (item["@odata.type"], item["@odata.id"], item["@odata.editLink"]) == (
        "#microsoft.graph.userPFXCertificate",
        address,
        address,
    )
    assert item["startDateTime@odata.type"] == "#DateTimeOffset"
    assert item["encryptedPfxBlob@odata.type"] == "#Binary"
    assert item["paddingScheme@odata.type"] == "#microsoft.graph.userPfxPaddingScheme"
    assert "thumbprint@odata.type" not in item
    one = (await graph("GET", f"{PFX}/{item['id']}", headers=FULL)).json
    assert next(iter(one)) == "@odata.context"
    assert one["@odata.id"] == address
    body = {"@odata.type": "#microsoft.graph.iosImportedPFXCertificateProfile", "displayName": "p",
            "intendedPurpose": "smimeSigning"}  # fmt: skip
    profile = (await graph("POST", CONFIGURATIONS, body)).json["id"]
    shown = (await graph("GET", f"{CONFIGURATIONS}/{profile}", headers=FULL)).json
    assert shown["roleScopeTagIds@odata.type"] == "#Collection(String)"
    assert shown["intendedPurpose@odata.type"] == "#microsoft.graph.intendedPurpose"
    assert shown["@odata.id"] == f"deviceManagement/deviceConfigurations('{profile}')"
    user = (await graph("GET", "/v1.0/users?$select=id", headers=FULL)).json["value"][0]
    assert user["@odata.id"] == f"users('{user['id']}')"


async def test_if_match_is_ignored_by_default(lab: Lab) -> None:
    """Without the switch there is no ETag, and a change with any If-Match succeeds."""
    graph = await admin(lab)
    entity = (await graph("POST", PFX, record(lab))).json
    assert "@odata.etag" not in entity
    reply = await graph("PATCH", f"{PFX}/{entity['id']}", {"keyName": "B"}, headers={"If-Match": 'W/"other"'})
    assert reply.status == 204


async def test_honoured_etags_protect_against_lost_updates(tmp_path: Path) -> None:
    """With the switch a change based on an older state is 412 and changes nothing, for records and profiles."""
    async with new_lab(tmp_path, Config(switches=Switches(etags="honour"))) as lab:
        graph = await admin(lab)
        body = {"@odata.type": "#microsoft.graph.iosImportedPFXCertificateProfile", "displayName": "p",
                "intendedPurpose": "smimeSigning"}  # fmt: skip
        for path, sent, change in (
            (PFX, record(lab), {"keyName": "B"}),
            (CONFIGURATIONS, body, {**body, "displayName": "q"}),
        ):
            entity = (await graph("POST", path, sent)).json
            one, old = f"{path}/{entity['id']}", {"If-Match": entity["@odata.etag"]}
            assert (await graph("GET", one)).json["@odata.etag"] == entity["@odata.etag"]
            assert (await graph("PATCH", one, change, headers=old)).status == 204
            for method, content in (("PATCH", change), ("DELETE", None)):
                late = await graph(method, one, content, headers=old)
                assert (late.status, late.code) == (412, "PreconditionFailed")
            new = {"If-Match": (await graph("GET", one)).json["@odata.etag"]}
            assert (await graph("DELETE", one, headers=new)).status in (200, 204)


async def test_reads_can_be_unmasked_for_debugging(tmp_path: Path) -> None:
    """With mask_reads off, list and entity show the ciphertext as it was sent; by default neither does."""
    async with new_lab(tmp_path, Config(switches=Switches(mask_reads="off"))) as lab:
        graph, sent = await admin(lab), record(lab)
        entity = (await graph("POST", PFX, sent)).json
        for shown in (
            entity,
            (await graph("GET", f"{PFX}/{entity['id']}")).json,
            (await graph("GET", PFX)).json["value"][0],
        ):
            assert shown["encryptedPfxPassword"] == sent["encryptedPfxPassword"]
            assert shown["encryptedPfxBlob"] == sent["encryptedPfxBlob"]
