"""A program a customer could have written: msgraph-beta-sdk and azure-identity, nothing of this project."""

import asyncio
import json
import ssl
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
from azure.identity import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph_beta import GraphRequestAdapter, GraphServiceClient
from msgraph_beta.generated.applications.item.add_password.add_password_post_request_body import (
    AddPasswordPostRequestBody,
)
from msgraph_beta.generated.device_management.certificate_connector_details.item.get_health_metrics import (
    get_health_metrics_post_request_body as health,
)
from msgraph_beta.generated.device_management.device_configurations.item.assign.assign_post_request_body import (
    AssignPostRequestBody,
)
from msgraph_beta.generated.device_management.user_pfx_certificates.user_pfx_certificates_request_builder import (
    UserPfxCertificatesRequestBuilder,
)
from msgraph_beta.generated.models.application import Application
from msgraph_beta.generated.models.device_configuration_assignment import DeviceConfigurationAssignment
from msgraph_beta.generated.models.group_assignment_target import GroupAssignmentTarget
from msgraph_beta.generated.models.intended_purpose import IntendedPurpose
from msgraph_beta.generated.models.ios_imported_p_f_x_certificate_profile import IosImportedPFXCertificateProfile
from msgraph_beta.generated.models.key_storage_provider_option import KeyStorageProviderOption
from msgraph_beta.generated.models.o_data_errors.o_data_error import ODataError
from msgraph_beta.generated.models.password_profile import PasswordProfile
from msgraph_beta.generated.models.service_principal import ServicePrincipal
from msgraph_beta.generated.models.user import User
from msgraph_beta.generated.models.user_p_f_x_certificate import UserPFXCertificate
from msgraph_beta.generated.models.user_pfx_intended_purpose import UserPfxIntendedPurpose
from msgraph_beta.generated.models.user_pfx_padding_scheme import UserPfxPaddingScheme
from msgraph_beta.generated.models.windows10_imported_p_f_x_certificate_profile import (
    Windows10ImportedPFXCertificateProfile,
)
from msgraph_beta.generated.users.users_request_builder import UsersRequestBuilder
from msgraph_core.requests.batch_request_builder import BatchRequestBuilder
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

GetHealthMetricsPostRequestBody = health.GetHealthMetricsPostRequestBody


def client_for(facts: dict[str, Any], app: str = "application") -> GraphServiceClient:
    """Return a Graph client as its documentation shows, pointed at the lab."""
    credential = ClientSecretCredential(
        facts["tenant_id"],
        facts[app]["client_id"],
        facts[app]["client_secret"],
        authority=facts["graph_url"],
        disable_instance_discovery=True,
    )
    client = GraphServiceClient(credential, scopes=["https://graph.microsoft.com/.default"])
    client.request_adapter.base_url = facts["graph_url"] + "/beta"
    return client


def new_record(facts: dict[str, Any], number: int = 1) -> UserPFXCertificate:
    """Return a record to import."""
    return UserPFXCertificate(
        thumbprint=format(number, "040x"),
        intended_purpose=UserPfxIntendedPurpose.SmimeEncryption,
        user_principal_name=facts["mail_user"]["upn"],
        start_date_time=datetime(2026, 1, 1, tzinfo=UTC),
        expiration_date_time=datetime(2029, 1, 1, tzinfo=UTC),
        provider_name="Microsoft Software Key Storage Provider",
        key_name="KeyA",
        padding_scheme=UserPfxPaddingScheme.OaepSha512,
        encrypted_pfx_blob=b"pfx bytes",
        encrypted_pfx_password="cGFzc3dvcmQ=",
    )


async def filtered(client: GraphServiceClient, text: str) -> int:
    """Return how many records a filter finds."""
    parameters = UserPfxCertificatesRequestBuilder.UserPfxCertificatesRequestBuilderGetQueryParameters(filter=text)
    configuration = UserPfxCertificatesRequestBuilder.UserPfxCertificatesRequestBuilderGetRequestConfiguration(
        query_parameters=parameters
    )
    page = await client.device_management.user_pfx_certificates.get(configuration)
    return len(page.value)


async def records(facts: dict[str, Any]) -> dict[str, Any]:
    """Create, list, filter, count, get, patch, delete; then two refusals."""
    client = client_for(facts)
    said: dict[str, Any] = {}
    collection = client.device_management.user_pfx_certificates
    made = await collection.post(new_record(facts))
    facts_of = [made.id.endswith(made.thumbprint), made.intended_purpose.value, made.padding_scheme.value]
    # Kiota hands Edm.Binary out as the text it came as, in bytes.
    blob = made.encrypted_pfx_blob
    said["created"] = [*facts_of, "AA==" if blob in (b"AA==", b"\0") else repr(blob)]
    said["listed"] = len((await collection.get()).value)
    upn = facts["mail_user"]["upn"].lower()
    said["filtered"] = await filtered(client, f"tolower(userPrincipalName) eq '{upn}'")
    said["missed"] = await filtered(client, "tolower(userPrincipalName) eq 'nobody'")
    said["counted"] = await collection.count.get()
    one = collection.by_user_p_f_x_certificate_id(made.id)
    said["got"] = (await one.get()).key_name
    await one.patch(UserPFXCertificate(key_name="KeyB"))
    said["patched"] = (await one.get()).key_name
    await one.delete()
    said["deleted"] = len((await collection.get()).value)
    said["unknown"] = await refusal(one.get())
    said["refused"] = await refusal(
        client_for(facts, "limited_application").device_management.user_pfx_certificates.get()
    )
    return said


async def refusal(call: Any) -> list[Any]:
    """Return code and status of the error a call ends with."""
    try:
        await call
    except ODataError as error:
        return [error.error.code, error.response_status_code]
    return []


async def profiles(facts: dict[str, Any]) -> dict[str, Any]:
    """Create an iOS and a Windows profile, assign one, read both back."""
    client = client_for(facts)
    collection = client.device_management.device_configurations
    ios = IosImportedPFXCertificateProfile(display_name="iOS", intended_purpose=IntendedPurpose.SmimeEncryption)
    windows = Windows10ImportedPFXCertificateProfile(
        display_name="Windows",
        intended_purpose=IntendedPurpose.SmimeSigning,
        key_storage_provider=KeyStorageProviderOption.UseSoftwareKsp,
    )
    for profile in (ios, windows):
        profile.odata_type = f"#microsoft.graph.{type(profile).__name__[0].lower()}{type(profile).__name__[1:]}"
    made = await collection.post(ios)
    await collection.post(windows)
    target = GroupAssignmentTarget(group_id=facts["group_id"])
    body = AssignPostRequestBody(assignments=[DeviceConfigurationAssignment(target=target)])
    one = collection.by_device_configuration_id(made.id)
    await one.assign.post(body)
    assigned = await one.assignments.get()
    return {
        "created": type(made).__name__,
        "listed": [type(profile).__name__ for profile in (await collection.get()).value],
        "assignments": [type(assignment.target).__name__ for assignment in assigned.value],
    }


async def batch(facts: dict[str, Any]) -> dict[str, Any]:
    """Count and filter in one batch, as msgraph-core builds it."""
    client = client_for(facts)
    collection = client.device_management.user_pfx_certificates
    await collection.post(new_record(facts, 7))
    content = BatchRequestContent()
    for information in (collection.to_get_request_information(), client.users.to_get_request_information()):
        item = BatchRequestItem(information)
        # Graph reads an absolute address as a path: sources.md#batch-addresses.
        item.url = item.url.removeprefix(f"{facts['graph_url']}/beta")
        content.add_request(item.id, item)
    answered = await BatchRequestBuilder(client.request_adapter).post(content)
    return {"statuses": sorted(answer.status for answer in answered.responses.values())}


async def directory(facts: dict[str, Any]) -> dict[str, Any]:
    """Register an application with a secret, add a user, and read connectors and devices, all by the typed client."""
    setup, admin = client_for(facts, "setup_application"), client_for(facts)
    app = await setup.applications.post(Application(display_name="by SDK"))
    secret = await setup.applications.by_application_id(app.id).add_password.post(AddPasswordPostRequestBody())
    principal = await setup.service_principals.post(ServicePrincipal(app_id=app.app_id))
    profile = PasswordProfile(password="canary-Only-for-tests", force_change_password_next_sign_in=False)
    user = await setup.users.post(
        User(
            account_enabled=True,
            display_name="by SDK",
            mail_nickname="sdk",
            user_principal_name="sdk@pfxlab.example",
            password_profile=profile,
        )
    )
    roles = (await setup.directory_roles.get()).value
    connectors = (await admin.device_management.ndes_connectors.get()).value
    metrics = await admin.device_management.certificate_connector_details.by_certificate_connector_details_id(
        connectors[0].id
    ).get_health_metrics.post(GetHealthMetricsPostRequestBody(metric_names=["PkcsImportSuccessCount"]))
    (device, *_) = (await admin.device_management.managed_devices.get()).value
    await admin.device_management.managed_devices.by_managed_device_id(device.id).sync_device.post()
    synced = await admin.device_management.managed_devices.by_managed_device_id(device.id).get()
    return {
        "app": [app.app_id == principal.app_id, len(secret.secret_text) >= 32, secret.hint == secret.secret_text[:3]],
        "user": [user.user_principal_name, user.account_enabled],
        "roles": sorted(role.display_name for role in roles),
        "connector": [connectors[0].state.value, metrics.value[0].name, metrics.value[0].value],
        "device": [device.compliance_state.value, device.management_state.value, device.user_principal_name],
        "action": [synced.device_action_results[0].action_name, synced.device_action_results[0].action_state.value],
    }


async def members(facts: dict[str, Any]) -> dict[str, Any]:
    """List, count and filter a group's users by the builders of a type, and find a user by an address of a list."""
    setup = client_for(facts, "setup_application")
    group = setup.groups.by_group_id(facts["group_id"])
    listed = await group.members.graph_user.get()
    deep = await group.transitive_members.graph_user.get()
    eventual = RequestConfiguration[Any]()
    eventual.headers.add("ConsistencyLevel", "eventual")
    counted = await group.transitive_members.graph_user.count.get(eventual)
    user = listed.value[0]
    held = await setup.users.by_user_id(user.id).transitive_member_of.graph_group.get()
    text = f"proxyAddresses/any(p:p eq 'smtp:{facts['mail_user']['upn']}')"
    query = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(filter=text, select=["id", "proxyAddresses"])
    found = await setup.users.get(RequestConfiguration(query_parameters=query))
    refused = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(filter="accountEnabled ne false")
    return {
        "types": [type(one).__name__ for one in (*listed.value, *deep.value, *held.value)],
        "counted": counted,
        "found": [one.proxy_addresses for one in found.value],
        "refused": await refusal(setup.users.get(RequestConfiguration(query_parameters=refused))),
    }


async def withheld(facts: dict[str, Any]) -> dict[str, Any]:
    """Ask at an address that the SDK does not take for Microsoft's, as its other languages do by default."""
    credential = ClientSecretCredential(
        facts["tenant_id"],
        facts["application"]["client_id"],
        facts["application"]["client_secret"],
        authority=facts["graph_url"],
        disable_instance_discovery=True,
    )
    provider = AzureIdentityAuthenticationProvider(
        credential, scopes=["https://graph.microsoft.com/.default"], allowed_hosts=["graph.microsoft.com"]
    )
    client = GraphServiceClient(request_adapter=GraphRequestAdapter(provider))
    client.request_adapter.base_url = facts["graph_url"] + "/beta"
    headers, verify = {"Authorization": f"Bearer {facts['control_token']}"}, ssl.create_default_context()
    async with httpx.AsyncClient(verify=verify, headers=headers, base_url=facts["control_url"]) as control:
        try:
            await client.users.get()
        except ODataError as error:
            entries = (await control.get("journal", params={"rule": "TokenWithheld"})).json()["entries"]
            return {"refused": [error.response_status_code, error.error.message], "rules": len(entries)}
    return {}


async def time(facts: dict[str, Any]) -> dict[str, Any]:
    """Let one client go on over a month of the lab's, then over a token that is revoked under it."""
    client, verify = client_for(facts), ssl.create_default_context()
    headers = {"Authorization": f"Bearer {facts['control_token']}"}

    async def users() -> int:
        found = await client.users.get()
        return len(found.value)

    async with httpx.AsyncClient(verify=verify, headers=headers, base_url=facts["control_url"]) as control:

        async def tokens() -> int:
            return int((await control.get("journal/count", params={"event": "token issued"})).json()["count"])

        before, issued = await users(), await tokens()
        (await control.post("clock", json={"advance": "30d"}, timeout=600)).raise_for_status()
        after, still = await users(), await tokens()
        (await control.post("faults", json={"kind": "expired_token", "ending": "revoked"})).raise_for_status()
        return {
            "goes_on": after == before,
            "tokens_for_a_month": still - issued,
            "survives_revocation": await users() == before,
            "tokens_for_a_challenge": await tokens() - still,
        }


async def leave(facts: dict[str, Any]) -> dict[str, Any]:
    """Create three records and a profile and leave them there."""
    client = client_for(facts)
    for number in (1, 2, 3):
        await client.device_management.user_pfx_certificates.post(new_record(facts, number))
    profile = IosImportedPFXCertificateProfile(display_name="iOS", intended_purpose=IntendedPurpose.SmimeEncryption)
    profile.odata_type = "#microsoft.graph.iosImportedPFXCertificateProfile"
    await client.device_management.device_configurations.post(profile)
    return {}


async def count(facts: dict[str, Any]) -> dict[str, Any]:
    """Count records and profiles."""
    client = client_for(facts)
    return {
        "records": len((await client.device_management.user_pfx_certificates.get()).value),
        "profiles": len((await client.device_management.device_configurations.get()).value),
    }


if __name__ == "__main__":
    jobs = {
        "records": records,
        "batch": batch,
        "directory": directory,
        "members": members,
        "profiles": profiles,
        "time": time,
        "withheld": withheld,
        "leave": leave,
        "count": count,
    }
    done = {name: asyncio.run(jobs[name](json.loads(sys.argv[1]))) for name in sys.argv[2:]}
    print(json.dumps(done))  # noqa: T201 - its output is the result
