"""/deviceManagement/managedDevices. Source: sources.md#managed-devices."""

import json
from functools import lru_cache

from cryptography import x509

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.collection import Collection
from pfxlab.emulator.graph.permissions import DEVICE_ACTION, DEVICE_READ, DEVICE_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Handler, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import apply, device_gone, possible
from pfxlab.emulator.store.database import Row, from_text
from pfxlab.emulator.store.delivery_states import Trigger
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.store.lists.columns import constant
from pfxlab.emulator.store.lists.conditions import Compare, Condition
from pfxlab.emulator.store.lists.views import DEVICES as VIEW
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.emulator.wire.text import quoted

DEVICES = "deviceManagement/managedDevices"
_FIELDS = {
    "id": VIEW["id"],
    "userId": VIEW["user_id"],
    "userPrincipalName": VIEW["user_principal_name"],
    "deviceName": VIEW["device_name"],
    "operatingSystem": VIEW["operating_system"],
    "osVersion": VIEW["os_version"],
    "model": VIEW["model"],
    "manufacturer": VIEW["manufacturer"],
    "serialNumber": VIEW["serial_number"],
    "azureADDeviceId": VIEW["id_of_directory"],
    "enrolledDateTime": VIEW["enrolled"],
    "lastSyncDateTime": VIEW["last_sync"],
    "deviceCategoryDisplayName": constant("Unknown", "name"),
    "jailBroken": constant("Unknown", "name"),
    "managedDeviceOwnerType": VIEW["owner_type"],
    "ownerType": VIEW["owner_type"],
    "complianceState": constant("compliant", "name"),
    "managementAgent": constant("mdm", "name"),
    "deviceEnrollmentType": constant("userEnrollment", "name"),
    "deviceRegistrationState": constant("registered", "name"),
}
_DOCUMENTED = ("deviceName", "enrolledDateTime", "lastSyncDateTime", "deviceCategoryDisplayName", "jailBroken")


@lru_cache(maxsize=4096)
def _certificate_end(der: bytes) -> str:
    return format_date_time(x509.load_der_x509_certificate(der).not_valid_after_utc)


def _management_state(actions: list[Row]) -> str:
    pending = {action["action"] for action in actions if action["state"] == "pending"}
    return next((f"{action}Pending" for action in ("wipe", "retire") if action in pending), "managed")


def _action_json(row: Row) -> Json:
    return {
        "actionName": row["action"],
        "actionState": row["state"],
        "startDateTime": format_date_time(from_text(row["started"])),
        "lastUpdatedDateTime": format_date_time(from_text(row["updated"])),
    }


def device_json(row: Row) -> Json:
    """Return a managedDevice; a device whose user was deleted keeps the user's id alone."""
    return {
        "id": row["id"],
        "userId": row["user_id"],
        "userPrincipalName": row["user_principal_name"],
        "userDisplayName": row["user_display_name"],
        "emailAddress": row["user_mail"],
        "deviceName": row["device_name"],
        "managedDeviceName": row["device_name"],
        "managedDeviceOwnerType": row["owner_type"],
        "ownerType": row["owner_type"],
        "operatingSystem": PLATFORMS[row["platform"]].operating_system,
        "osVersion": row["os_version"],
        "model": row["model"],
        "manufacturer": row["manufacturer"],
        "serialNumber": row["serial_number"],
        "imei": None,
        "managementAgent": "mdm",
        "managementState": _management_state(json.loads(row["actions"])),
        "complianceState": "compliant",
        "deviceEnrollmentType": "userEnrollment",
        "deviceRegistrationState": "registered",
        "enrolledDateTime": format_date_time(from_text(row["enrolled"])),
        "lastSyncDateTime": format_date_time(from_text(row["last_sync"])),
        "azureADRegistered": True,
        "azureADDeviceId": row["id"],
        "deviceType": PLATFORMS[row["platform"]].device_type,
        "deviceCategoryDisplayName": "Unknown",
        "isEncrypted": True,
        "isSupervised": False,
        "jailBroken": "Unknown",
        "managementCertificateExpirationDate": _certificate_end(row["certificate"]),
        "deviceActionResults": [_action_json(action) for action in json.loads(row["actions"])],
        "roleScopeTagIds": ["0"],
    }


_DEVICES = Collection(DEVICES, VIEW, _FIELDS, "managedDevice", device_json)
_QUIRKY = Collection(
    DEVICES, VIEW, {name: _FIELDS[name] for name in _DOCUMENTED}, "managedDevice", device_json, quirky=True
)


def _page(request: GraphRequest, within: Condition | None = None) -> Answer:
    switches = request.cloud.config.switches
    collection = _QUIRKY if switches.filter_quirks == "on" else _DEVICES
    return collection.page(request, switches.page_size, within=within)


def list_devices(request: GraphRequest) -> Answer:
    """GET /deviceManagement/managedDevices."""
    return _page(request)


def _device(request: GraphRequest) -> Device:
    device = request.cloud.devices.get(request.keys[-1])
    if device is None or device.tenant_id != request.caller.tenant_id:
        raise errors.intune_not_found(errors.DEVICE_SERVICE, f"no managed device has the id {quoted(request.keys[-1])}")
    if len(request.keys) > 1 and _owner(request)["id"] != device.user_id:
        raise errors.intune_not_found(
            errors.DEVICE_SERVICE, f"the device {device.id} is not {quoted(request.keys[0])}'s"
        )
    return device


def _owner(request: GraphRequest) -> Row:
    user = request.cloud.directory.user(request.caller.tenant_id, request.keys[0])
    if user is None:
        raise errors.directory_not_found(request.keys[0])
    return user


def get_device(request: GraphRequest) -> Answer:
    """GET /deviceManagement/managedDevices/{id}."""
    row = request.cloud.lists.row(VIEW, _device(request).id)
    entity = {"@odata.context": request.context(f"{DEVICES}/$entity"), **device_json(row or {})}
    return Answer(200, request.query.project(entity))


def device_of_user(request: GraphRequest) -> Answer:
    """GET /users/{id}/managedDevices/{id}: documented, and seen refused (sources.md#device-routes)."""
    if request.cloud.config.switches.device_routes == "observed":
        user, device = (key.replace("'", "''") for key in request.keys)
        _refuse_route("~/entityset/key/navigation/key", f"users('{user}')/managedDevices('{device}')")
    return get_device(request)


def _refuse_route(template: str, address: str) -> None:
    reason = f"Intune does not serve GET {quoted(address)} (switch device_routes)"
    raise errors.no_route("GET", template, f"{errors.DEVICE_SERVICE}/{address}", reason, "Quirk")


def sync_device(request: GraphRequest) -> Answer:
    """POST …/syncDevice: failed deliveries of the device are tried anew at its next check-in."""
    cloud, device = request.cloud, _device(request)
    with cloud.store.atomic():
        for delivery in cloud.deliveries.of_device(device.id):
            if possible(delivery, Trigger.RETRY):
                apply(cloud, delivery, Trigger.RETRY)
        cloud.devices.ask(device.id, "syncDevice", cloud.clock.now())
        cloud.journal.record("graph", "sync asked for", device=device.id)
    return Answer(204)


def _leave(action: str) -> Handler:
    """Return the handler that asks a device to leave management: it does so at its next check-in."""

    def ask(request: GraphRequest) -> Answer:
        cloud, device = request.cloud, _device(request)
        with cloud.store.atomic():
            cloud.devices.ask(device.id, action, cloud.clock.now())
            cloud.journal.record("graph", f"{action} asked for", device=device.id)
        return Answer(204)

    return ask


def delete_device(request: GraphRequest) -> Answer:
    """DELETE /deviceManagement/managedDevices/{id}: the service forgets the device, which is not told."""
    cloud, device = request.cloud, _device(request)
    with cloud.store.atomic():
        device_gone(cloud, device)
        cloud.journal.record("graph", "device deleted", device=device.id)
    return Answer(204)


def devices_of_user(request: GraphRequest) -> Answer:
    """GET /users/{id}/managedDevices."""
    return _page(request, Compare(VIEW["owner"], "=", _owner(request)["id"]))


def count_devices(request: GraphRequest) -> Answer:
    """GET /deviceManagement/managedDevices/$count: in the model, and seen refused (sources.md#device-routes)."""
    if request.cloud.config.switches.device_routes == "observed":
        _refuse_route("~/singleton/navigation/$count", f"{DEVICES}/$count")
    return Answer(200, str(_DEVICES.count(request)))


def add_routes(router: Router) -> None:
    """Register devices, below deviceManagement and below their users."""
    mine = "users/{}/managedDevices"
    router.add("GET", DEVICES, Route(list_devices, DEVICE_READ))
    router.add("GET", mine, Route(devices_of_user, DEVICE_READ))
    router.add("GET", f"{DEVICES}/$count", Route(count_devices, DEVICE_READ))
    for path, read in ((DEVICES, get_device), (mine, device_of_user)):
        router.add("GET", f"{path}/{{}}", Route(read, DEVICE_READ))
        router.add("POST", f"{path}/{{}}/syncDevice", Route(sync_device, DEVICE_ACTION))
        for action in ("retire", "wipe"):
            router.add("POST", f"{path}/{{}}/{action}", Route(_leave(action), DEVICE_ACTION))
    router.add("DELETE", f"{DEVICES}/{{}}", Route(delete_device, DEVICE_WRITE))
