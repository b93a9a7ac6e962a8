"""deviceConfigurations over HTTP. Expected values: sources.md#profile-operations."""

from pathlib import Path
from typing import Any

import pytest

from pfxlab.emulator.config import Config, Switches
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.graph.client import CONFIGURATIONS, Raw, admin

IOS = "#microsoft.graph.iosImportedPFXCertificateProfile"
WINDOWS = "#microsoft.graph.windows10ImportedPFXCertificateProfile"
ALL_USERS = "acacacac-9df4-4c7d-9d50-4ef0226f57a9"


async def created(graph: Raw, odata_type: str = IOS, **properties: Any) -> dict[str, Any]:
    """Return a new profile."""
    body = {"@odata.type": odata_type, "displayName": "p", "intendedPurpose": "smimeEncryption", **properties}
    reply = await graph("POST", CONFIGURATIONS, body)
    assert reply.status == 201, reply.text
    entity: dict[str, Any] = reply.json
    return entity


async def test_ios_profile_has_the_observed_shape(lab: Lab) -> None:
    """A new iOS profile shows the base properties with their defaults and its own purpose last."""
    entity = await created(await admin(lab))
    for name in ("@odata.context", "id", "createdDateTime", "lastModifiedDateTime"):
        entity.pop(name)
    assert list(entity.items()) == list(
        {
            "@odata.type": IOS,
            "roleScopeTagIds": ["0"],
            "supportsScopeTags": True,
            "deviceManagementApplicabilityRuleOsEdition": None,
            "deviceManagementApplicabilityRuleOsVersion": None,
            "deviceManagementApplicabilityRuleDeviceMode": None,
            "description": None,
            "displayName": "p",
            "version": 1,
            "intendedPurpose": "smimeEncryption",
        }.items()
    )


async def test_life_of_a_profile_has_the_observed_codes(lab: Lab) -> None:
    """PATCH answers 204 and keeps the rest, DELETE 200 with nothing, GET afterwards 404, PUT 400."""
    graph = await admin(lab)
    path = f"{CONFIGURATIONS}/{(await created(graph, WINDOWS, keyStorageProvider='UseSoftwareKsp'))['id']}"
    changed = await graph("PATCH", path, {"@odata.type": WINDOWS, "intendedPurpose": "smimeSigning"})
    assert (changed.status, changed.text) == (204, "")
    shown = (await graph("GET", path)).json
    assert (shown["intendedPurpose"], shown["keyStorageProvider"], shown["version"]) == (
        "smimeSigning",
        "useSoftwareKsp",
        2,
    )
    assert (await graph("PUT", path, {})).status == 400
    deleted = await graph("DELETE", path)
    assert (deleted.status, deleted.text) == (200, "")
    gone = await graph("GET", path)
    assert (gone.status, gone.code) == (404, "ResourceNotFound")


async def test_documented_codes_by_switch(tmp_path: Path) -> None:
    """With code_profile documented, PATCH and assign answer bodies and DELETE 204."""
    async with new_lab(tmp_path, Config(switches=Switches(code_profile="documented"))) as lab:
        graph = await admin(lab)
        path = f"{CONFIGURATIONS}/{(await created(graph))['id']}"
        assert (await graph("PATCH", path, {"@odata.type": IOS, "displayName": "q"})).json["displayName"] == "q"
        target = {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}
        told = await graph("POST", f"{path}/assign", {"assignments": [{"target": target}]})
        assert told.json["value"][0]["id"].endswith(f"_{ALL_USERS}")
        assert (await graph("DELETE", path)).status == 204


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"displayName": "p"}, "Cannot create an abstract class."),
        ({"@odata.type": "#microsoft.graph.cheese", "displayName": "p"}, "A type named 'microsoft.graph.cheese' could not be resolved by the model."),
        ({"@odata.type": IOS, "displayName": "p", "keyStorageProvider": "useSoftwareKsp"}, "The property 'keyStorageProvider' does not exist on type 'microsoft.management.services.api.iosImportedPFXCertificateProfile'."),
        ({"@odata.type": IOS, "displayName": "p", "intendedPurpose": "cheese"}, "Cannot convert the literal 'cheese'"),
    ],
)  # fmt: skip
async def test_model_errors_have_microsofts_texts(lab: Lab, body: Any, message: str) -> None:
    """A body without type, of an unknown type, or with another type's property is refused with the model's text."""
    reply = await (await admin(lab))("POST", CONFIGURATIONS, body)
    assert (reply.status, reply.code) == (400, "ModelValidationFailure")
    assert reply.message.startswith(message)


async def test_assign_replaces_the_whole_set(lab: Lab) -> None:
    """A second assign replaces the first, an empty one clears it, and ids consist of configuration and group."""
    graph, group = await admin(lab), lab.operator.credentials.group_id
    profile = (await created(graph))["id"]
    path = f"{CONFIGURATIONS}('{profile}')"
    everybody = {"target": {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}}
    include = {"id": "", "target": {"@odata.type": "microsoft.graph.groupAssignmentTarget", "groupId": group.upper()}}
    for wanted, ids in (([everybody], [f"{profile}_{ALL_USERS}"]), ([include], [f"{profile}_{group}"]), ([], [])):
        reply = await graph("POST", f"{path}/assign", {"assignments": wanted})
        assert (reply.status, reply.text) == (200, "")
        shown = (await graph("GET", f"{path}/assignments")).json
        assert [a["id"] for a in shown["value"]] == ids
        assert shown["@odata.context"].endswith(f"#deviceManagement/deviceConfigurations('{profile}')/assignments")


async def test_legacy_assign_body_works(lab: Lab) -> None:
    """The older body of assign, with group ids and an exclude flag, is understood."""
    graph, group = await admin(lab), lab.operator.credentials.group_id
    path = f"{CONFIGURATIONS}/{(await created(graph))['id']}"
    body = {"deviceConfigurationGroupAssignments": [{"targetGroupId": group, "excludeGroup": True}]}
    assert (await graph("POST", f"{path}/assign", body)).status == 200
    (shown,) = (await graph("GET", f"{path}/assignments")).json["value"]
    assert shown["target"]["@odata.type"] == "#microsoft.graph.exclusionGroupAssignmentTarget"


@pytest.mark.parametrize(
    "targets",
    [
        [{"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "no guid"}],
        [{"@odata.type": "#microsoft.graph.cheese"}],
        [{"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}] * 2,
    ],
)
async def test_bad_targets_are_refused_whole(lab: Lab, targets: list[Any]) -> None:
    """An invalid target, or one given twice, is refused and the old set is kept."""
    graph = await admin(lab)
    path = f"{CONFIGURATIONS}/{(await created(graph))['id']}"
    everybody = {"target": {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}}
    await graph("POST", f"{path}/assign", {"assignments": [everybody]})
    reply = await graph("POST", f"{path}/assign", {"assignments": [{"target": target} for target in targets]})
    assert reply.status == 400
    assert len((await graph("GET", f"{path}/assignments")).json["value"]) == 1


async def test_list_names_each_type(lab: Lab) -> None:
    """The collection mixes types and names the type of each element."""
    graph = await admin(lab)
    for odata_type in (IOS, WINDOWS):
        await created(graph, odata_type)
    shown = (await graph("GET", CONFIGURATIONS)).json["value"]
    assert [item["@odata.type"] for item in shown] == [IOS, WINDOWS]


@pytest.mark.parametrize(("switch", "expected"), [("on", [1, 2]), ("off", [0, 1])])
async def test_android_profiles_get_any_purpose_each_time(tmp_path: Path, switch: Any, expected: list[int]) -> None:
    """Owner profiles get one more Any Purpose usage on create and on each PATCH that names them, as observed."""
    owner = "#microsoft.graph.androidDeviceOwnerImportedPFXCertificateProfile"
    async with new_lab(tmp_path, Config(switches=Switches(any_purpose_eku=switch))) as lab:
        graph = await admin(lab)
        entity = await created(graph, owner, extendedKeyUsages=[])
        assert len(entity["extendedKeyUsages"]) == expected[0]
        mail = {"name": "Secure Email", "objectIdentifier": "1.3.6.1.5.5.7.3.4"}
        body = {"@odata.type": owner, "extendedKeyUsages": [mail]}
        await graph("PATCH", f"{CONFIGURATIONS}/{entity['id']}", body)
        shown = (await graph("GET", f"{CONFIGURATIONS}/{entity['id']}")).json["extendedKeyUsages"]
        assert len(shown) == expected[1]
        assert shown[0] == mail


async def test_metadata_none_omits_annotations(lab: Lab) -> None:
    """With odata.metadata=none a response has no annotations but links and counts, at any depth."""
    graph = await admin(lab)
    await created(graph)
    headers = {"Accept": "application/json;odata.metadata=none"}
    reply = await graph("GET", f"{CONFIGURATIONS}?$count=true&$expand=assignments", headers=headers)
    assert "odata.metadata=none" in reply.headers["Content-Type"]
    assert [name for name in reply.json if "@" in name] == ["@odata.count"]
    assert "@odata" not in str(reply.json["value"])
