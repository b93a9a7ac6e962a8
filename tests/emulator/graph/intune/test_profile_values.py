"""Values of profiles. Expected values: sources.md#profile-values, sources.md#profile-ranges."""

from typing import Any

import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import CONFIGURATIONS, admin
from tests.emulator.graph.intune.test_assignment_filters import reason
from tests.emulator.graph.intune.test_device_configurations import WINDOWS, created

MAC = "#microsoft.graph.macOSImportedPFXCertificateProfile"
OWNER = "#microsoft.graph.androidDeviceOwnerImportedPFXCertificateProfile"


@pytest.mark.parametrize(
    ("odata_type", "name", "value"),
    [
        (WINDOWS, "subjectNameFormat", "shortName"),
        (WINDOWS, "certificateValidityPeriodScale", "decades"),
        (WINDOWS, "subjectAlternativeNameType", "postcode"),
        (WINDOWS, "subjectAlternativeNameType", "emailAddress,postcode"),
        (WINDOWS, "keyStorageProvider", "useNothing"),
        (MAC, "subjectNameFormat", "commonNameAsDurableDeviceId"),
        (MAC, "deploymentChannel", "radio"),
        (OWNER, "certificateAccessType", "everybody"),
        (WINDOWS, "renewalThresholdPercentage", 0),
        (WINDOWS, "renewalThresholdPercentage", 100),
        (OWNER, "renewalThresholdPercentage", -1),
        (WINDOWS, "certificateValidityPeriodValue", 2**31),
    ],
)
async def test_values_that_a_profile_cannot_have(lab: Lab, odata_type: str, name: str, value: Any) -> None:
    """A value outside an enumeration or a range is refused as a model validation failure, on create and on PATCH."""
    graph = await admin(lab)
    body = {"@odata.type": odata_type, "displayName": "p", "intendedPurpose": "smimeEncryption", name: value}
    profile = (await created(graph, odata_type))["id"]
    patch = {"@odata.type": odata_type, name: value}
    for method, path, sent in (("POST", CONFIGURATIONS, body), ("PATCH", f"{CONFIGURATIONS}/{profile}", patch)):
        reply = await graph(method, path, sent)
        assert (reply.status, reply.code) == (400, "ModelValidationFailure")
        assert name in reason(lab, "ValueInvalid")
    assert len((await graph("GET", CONFIGURATIONS)).json["value"]) == 1


@pytest.mark.parametrize(
    ("odata_type", "name", "value", "kept"),
    [
        (WINDOWS, "subjectNameFormat", "COMMONNAMEASEMAIL", "commonNameAsEmail"),
        (WINDOWS, "certificateValidityPeriodScale", "Years", "years"),
        (WINDOWS, "subjectAlternativeNameType", "EmailAddress,userprincipalname", "emailAddress,userPrincipalName"),
        (MAC, "deploymentChannel", "DeviceChannel", "deviceChannel"),
        (WINDOWS, "renewalThresholdPercentage", 1, 1),
        (WINDOWS, "renewalThresholdPercentage", 99, 99),
    ],
)
async def test_values_are_kept_in_the_case_of_the_model(
    lab: Lab, odata_type: str, name: str, value: Any, kept: Any
) -> None:
    """Members of enumerations are taken in any case and shown in the model's, and both ends of a range are taken."""
    entity = await created(await admin(lab), odata_type, **{name: value})
    assert entity[name] == kept
