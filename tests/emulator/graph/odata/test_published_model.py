"""`$metadata` of both versions, against the list of names and numbers extracted from Microsoft's published documents.

Expected values: sources.md#published-model. The list is read here by other code than the emulator's.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from pfxlab.emulator.graph.odata.model import property_names
from pfxlab.emulator.graph.odata.versions import shown
from pfxlab.emulator.wire import enums
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import Raw, admin, setup

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
LIST: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "emulator" / "graph" / "odata" / "served_types.json").read_text("utf-8")
)
FEW = (
    "userPFXCertificate",
    "managedDevice",
    "servicePrincipal",
    "appRoleAssignment",
    "managementAgentType",
    "keyUsages",
)
VERSIONS = ("beta", "v1.0")


async def document(lab: Lab, version: str) -> Element:
    """Return a version's metadata document."""
    reply = await Raw(lab, None)("GET", f"/{version}/$metadata")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/xml")
    root: Element = fromstring(reply.text)
    return root


def said(facts: dict[str, str], version: str) -> dict[str, str]:
    """Return the facts that hold in a version: a fact of one version only begins with the version's name."""
    found = {}
    for name, fact in facts.items():
        for part in fact.split("|"):
            words = part.split(" ", 1)
            if words[0] == version:
                found[name] = words[1]
            elif words[0] not in VERSIONS:
                found[name] = part
    return found


def type_of(fact: str) -> tuple[str, bool]:
    """Return a fact's type as CSDL writes it, and whether a value may be null."""
    bare = fact.rstrip("+!").removesuffix("[]")
    own = bare in LIST["types"] or bare in LIST["enumerations"]
    full = f"microsoft.graph.{bare}" if own else f"Edm.{bare}"
    return (f"Collection({full})" if "[]" in fact else full), "!" not in fact


def declared(root: Element) -> dict[str, Element]:
    """Return the types of a document by name."""
    kinds = ("EntityType", "ComplexType", "EnumType")
    return {str(e.get("Name")): e for kind in kinds for e in root.iter(f"{EDM}{kind}")}


def differences(version: str, names: list[str], types: dict[str, Element]) -> Iterator[str]:
    """Say where a document's types differ from the list."""
    for name in names:
        if name in LIST["enumerations"]:
            members = {m: n for m, n in said(LIST["enumerations"][name], version).items() if m != "is"}
            shown = {str(m.get("Name")): m.get("Value") for m in types[name]}
            if shown != members:
                yield f"{name}: expected {members}, got {shown}"
            continue
        expected = {n: type_of(f) for n, f in said(LIST["types"][name]["properties"], version).items()}
        found = {
            str(p.get("Name")): (str(p.get("Type")), p.get("Nullable") != "false")
            for p in types[name].iter(f"{EDM}Property")
        }
        # The few properties of types that the document does not declare are left out.
        known = {n: t for n, t in expected.items() if n in found or t[0].removesuffix(")").rpartition(".")[2] in types}
        if found != known:
            yield f"{name}: expected {known}, got {found}"


@pytest.mark.parametrize("version", VERSIONS)
async def test_metadata_is_the_published_model(lab: Lab, version: str, whole: bool) -> None:
    """Each version's types have the published names, types, numbers and nullability, and no others."""
    types = declared(await document(lab, version))
    listed = {
        name
        for name, entry in {**LIST["types"], **LIST["enumerations"]}.items()
        if entry["is"].split()[0] not in VERSIONS or f"{version} " in entry["is"]
    }
    assert set(types) == listed
    names = sorted(listed if whole else listed & set(FEW))
    assert list(differences(version, names, types)) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_metadata_is_whole(lab: Lab, version: str) -> None:
    """Each type that a document names is declared in it, names are simple ones, and no enumeration is without members."""
    root = await document(lab, version)
    types = declared(root)
    named = [str(e.get(key)) for e in root.iter() for key in ("Type", "BaseType", "EntityType") if e.get(key)]
    bare = {one.removeprefix("Collection(").removesuffix(")") for one in named}
    assert {one for one in bare if not one.startswith("Edm.")} <= {f"microsoft.graph.{name}" for name in types}
    assert [name for e in root.iter() if not (name := e.get("Name", "x")).isidentifier()] == []
    assert [e.get("Name") for e in root.iter(f"{EDM}EnumType") if not len(e)] == []


BETA_NUMBERS = {
    "managementAgentType": {"eas": 1, "mdm": 2, "intuneAosp": 2048, "google": 8192, "unknownFutureValue": 8193},
    "deviceEnrollmentType": {"azureAdJoinUsingAzureVmExtension": 14, "appleAccountDrivenUserEnrollment": 25},
    "deviceType": {"macMDM": 14, "holoLens": 15, "visionOS": 23, "blackberry": 100, "unknown": 255, "cloudPC": 257},
    "devicePlatformType": {"androidAOSP": 9, "unknownFutureValue": 12, "windowsMobileApplicationManagement": 13},
    "managementState": {"wipeCanceled": 9, "retireCanceled": 10, "discovered": 11, "unknownFutureValue": 12},
    "ndesConnectorState": {"none": 0, "active": 1, "inactive": 2},
    "complianceState": {"inGracePeriod": 254, "configManager": 255},
    "appleSubjectNameFormat": {"commonNameIncludingEmail": 3, "commonNameAsIMEI": 5, "commonNameAsSerialNumber": 6},
}
"""Numbers read by eye in the published beta document."""


async def test_enumerations_have_the_numbers_that_were_read(lab: Lab) -> None:
    """Members that the lab once lacked or numbered wrongly have the numbers of the published document."""
    types = declared(await document(lab, "beta"))
    for name, members in BETA_NUMBERS.items():
        shown = {m.get("Name"): int(m.get("Value", "")) for m in types[name]}
        assert {member: shown.get(member) for member in members} == members, name


async def test_versions_differ_as_published(lab: Lab) -> None:
    """What exists in beta only is not in v1.0, and each document has the alias that clients' types begin with."""
    for version, here, gone in (
        ("beta", {"ndesConnector", "userPFXCertificate", "managedDeviceCertificateState"}, set()),
        ("v1.0", {"managedDevice", "user"}, {"ndesConnector", "userPFXCertificate", "managedDeviceCertificateState"}),
    ):
        root = await document(lab, version)
        (schema,) = root.iter(f"{EDM}Schema")
        assert (schema.get("Namespace"), schema.get("Alias")) == ("microsoft.graph", "graph")
        types = declared(root)
        assert here <= set(types)
        assert not gone & set(types)
    assert {"publishedPermissionScopes"} <= property_names("servicePrincipal", "beta")
    assert "publishedPermissionScopes" not in property_names("servicePrincipal", "v1.0")
    assert {"deviceType", "ownerType"} <= property_names("managedDevice") - property_names("managedDevice", "v1.0")
    assert {"users", "id"} <= property_names("managedDevice", "v1.0")


ACTIONS = {
    ("retire", "managedDevice"): {},
    ("syncDevice", "managedDevice"): {},
    ("getHealthMetricTimeSeries", "certificateConnectorDetails"): {"timeSeries": "microsoft.graph.timeSeriesParameter"},
    ("getHealthMetrics", "certificateConnectorDetails"): {"metricNames": "Collection(Edm.String)"},
    ("assign", "deviceConfiguration"): {
        "deviceConfigurationGroupAssignments": "Collection(microsoft.graph.deviceConfigurationGroupAssignment)",
        "assignments": "Collection(microsoft.graph.deviceConfigurationAssignment)",
    },
}


async def test_actions_are_declared_with_their_parameters(lab: Lab) -> None:
    """The actions that the lab answers stand in the document, bound and with the published parameters."""
    root = await document(lab, "beta")
    found = {}
    for action in root.iter(f"{EDM}Action"):
        bound, *others = action.iter(f"{EDM}Parameter")
        key = (action.get("Name"), str(bound.get("Type")).removeprefix("microsoft.graph."))
        found[key] = {p.get("Name"): p.get("Type") for p in others}
    assert {key: found.get(key) for key in ACTIONS} == ACTIONS
    assert {"keepEnrollmentData", "keepUserData", "macOsUnlockCode"} <= set(found["wipe", "managedDevice"])


def test_numbers_on_the_wire_are_those_of_the_model() -> None:
    """The enumerations that import tools send have the same numbers in the wire's contract as in the list."""
    for name, kind in {
        "userPfxIntendedPurpose": enums.IntendedPurpose,
        "userPfxPaddingScheme": enums.PaddingScheme,
        "keyStorageProviderOption": enums.KeyStorageProviderOption,
        "ndesConnectorState": enums.NdesConnectorState,
    }.items():
        listed = {m: int(n) for m, n in said(LIST["enumerations"][name], "beta").items() if m != "is"}
        assert {member.name: member.value for member in kind} == listed, name


@pytest.mark.parametrize("many", [True, False])
def test_properties_of_beta_only_are_not_shown_in_v1(many: bool) -> None:
    """A device in v1.0 has none of the properties that only beta has, in a list and alone; in beta it keeps them."""
    device = {"id": "1", "deviceName": "d", "ownerType": "company", "deviceType": "iPhone", "roleScopeTagIds": ["0"]}
    path = "deviceManagement/managedDevices"

    def body(version: str, entity: dict[str, Any]) -> dict[str, Any]:
        context = f"https://localhost/{version}/$metadata#{path}"
        listed = {"@odata.context": context, "value": [entity, entity]}
        return listed if many else {"@odata.context": f"{context}/$entity", **entity}

    assert shown(body("beta", device), "beta") == body("beta", device)
    assert shown(body("v1.0", device), "v1.0") == body("v1.0", {"id": "1", "deviceName": "d"})


async def test_bodies_have_the_properties_of_their_version(lab: Lab) -> None:
    """A service principal's consentable permissions, an assignment's time: each version has its own name for them."""
    client, other = await setup(lab), await admin(lab)
    names = {
        "beta": ("publishedPermissionScopes", "creationTimestamp"),
        "v1.0": ("oauth2PermissionScopes", "createdDateTime"),
    }
    for version, (scopes, time) in names.items():
        foreign = {name for v, both in names.items() if v != version for name in both}
        principal = (await client("GET", f"/{version}/servicePrincipals")).json["value"][0]
        assert principal[scopes][0]["value"]
        assignments = await client("GET", f"/{version}/servicePrincipals/{principal['id']}/appRoleAssignedTo")
        assert time in assignments.json["value"][0]
        assert not foreign & ({*principal} | {*assignments.json["value"][0]})
    held = (await other("GET", "/v1.0/deviceManagement/deviceConfigurations")).json
    assert held["value"] == []
