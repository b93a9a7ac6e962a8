"""/deviceManagement/managedDevices and ndesConnectors. Source: reference graph-intune 4.1 and 4.3."""

from datetime import timedelta

from emulator.graph import errors
from emulator.graph.collection import Collection
from emulator.graph.odata import Field
from emulator.graph.permissions import CONFIGURATION_READ, DEVICE_ACTION, DEVICE_READ
from emulator.graph.request import Answer, GraphRequest, Json
from emulator.graph.router import Route, Router
from emulator.intune.deliveries import apply, possible
from emulator.intune.delivery import Trigger
from emulator.store.database import Row
from emulator.store.devices import Connector, Device, connector_from_row, device_from_row
from emulator.wire.edm import format_date_time
from emulator.wire.enums import NdesConnectorState

DEVICES = "deviceManagement/managedDevices"
CONNECTORS = "deviceManagement/ndesConnectors"
DETAILS = "deviceManagement/certificateConnectorDetails"
_OPERATING_SYSTEM = {"ios": "iOS", "windows": "Windows", "macos": "macOS"}
_DEVICE_TYPE = {"ios": "iPhone", "windows": "windowsRT", "macos": "macMDM"}
_DEVICE_FIELDS = {
    "id": Field("id"),
    "deviceName": Field("device_name"),
    "enrolledDateTime": Field("enrolled", "date"),
    "lastSyncDateTime": Field("last_sync", "date"),
}


def device_json(row: Row) -> Json:
    """Return a managedDevice."""
    device = device_from_row(row)
    return {
        "id": device.id,
        "userId": device.user_id,
        "deviceName": device.device_name,
        "managedDeviceName": device.device_name,
        "managedDeviceOwnerType": "company",
        "ownerType": "company",
        "operatingSystem": _OPERATING_SYSTEM.get(device.platform, "Android"),
        "osVersion": device.os_version,
        "model": device.model,
        "manufacturer": device.manufacturer,
        "serialNumber": device.serial_number,
        "managementAgent": "mdm",
        "managementState": "managed",
        "complianceState": "compliant",
        "deviceRegistrationState": "registered",
        "deviceType": _DEVICE_TYPE.get(device.platform, "android"),
        "enrolledDateTime": format_date_time(device.enrolled),
        "lastSyncDateTime": format_date_time(device.last_sync),
        "jailBroken": "Unknown",
        "deviceActionResults": [],
        "roleScopeTagIds": ["0"],
    }


_DEVICES = Collection(DEVICES, "devices", _DEVICE_FIELDS, "managedDevice", device_json)


def list_devices(request: GraphRequest) -> Answer:
    """GET /deviceManagement/managedDevices."""
    return _DEVICES.page(request, "tenant_id = ?", (request.caller.tenant_id,), request.cloud.config.switches.page_size)


def _device(request: GraphRequest) -> Device:
    device = request.cloud.devices.get(request.keys[0])
    if device is None or device.tenant_id != request.caller.tenant_id:
        raise errors.intune_not_found(errors.DEVICE_SERVICE, f"no managed device has the id {request.keys[0]!r}")
    return device


def get_device(request: GraphRequest) -> Answer:
    """GET /deviceManagement/managedDevices/{id}."""
    device = _device(request)
    row = request.cloud.store.row("select * from devices where id = ?", (device.id,))
    entity = {"@odata.context": request.context(f"{DEVICES}/$entity"), **device_json(row or {})}
    return Answer(200, request.query.project(entity))


def sync_device(request: GraphRequest) -> Answer:
    """POST …/syncDevice: failed deliveries of the device are tried anew at its next check-in."""
    cloud, device = request.cloud, _device(request)
    with cloud.store.atomic():
        for delivery in cloud.deliveries.of_device(device.id):
            if possible(delivery, Trigger.RETRY):
                apply(cloud, delivery, Trigger.RETRY)
        cloud.journal.record("graph", "sync asked for", device=device.id)
    return Answer(204)


def devices_of_user(request: GraphRequest) -> Answer:
    """GET /users/{id}/managedDevices."""
    user = request.cloud.directory.user(request.caller.tenant_id, request.keys[0])
    if user is None:
        raise errors.directory_not_found(request.keys[0])
    condition, size = "tenant_id = ? and user_id = ?", request.cloud.config.switches.page_size
    return _DEVICES.page(request, condition, (request.caller.tenant_id, user["id"]), size)


def _details_json(connector: Connector) -> Json:
    return {
        "id": connector.id,
        "connectorName": connector.display_name,
        "machineName": connector.machine_name,
        "enrollmentDateTime": format_date_time(connector.enrolled),
        "lastCheckinDateTime": format_date_time(connector.last_connection),
        "connectorVersion": connector.version,
    }


def list_details(request: GraphRequest) -> Answer:
    """GET /deviceManagement/certificateConnectorDetails."""
    items = [_details_json(c) for c in request.cloud.connectors.of_tenant(request.caller.tenant_id)]
    return Answer(200, {"@odata.context": request.context(DETAILS), "value": items})


def get_details(request: GraphRequest) -> Answer:
    """GET /deviceManagement/certificateConnectorDetails/{id}: the ndesConnector's id."""
    connector = request.cloud.connectors.get(request.keys[0])
    if connector is None or connector.tenant_id != request.caller.tenant_id:
        raise errors.intune_not_found(errors.CONFIGURATION_SERVICE, f"no connector has the id {request.keys[0]!r}")
    return Answer(200, {"@odata.context": request.context(f"{DETAILS}/$entity"), **_details_json(connector)})


def _connector_json(request: GraphRequest, connector: Connector) -> Json:
    silent = request.cloud.clock.now() - connector.last_connection
    limit = timedelta(seconds=request.cloud.config.switches.connector_inactive_after_seconds)
    state = NdesConnectorState.active if silent < limit else NdesConnectorState.inactive
    return {
        "id": connector.id,
        "lastConnectionDateTime": format_date_time(connector.last_connection),
        "state": state.name,
        "displayName": connector.display_name,
        "enrolledDateTime": format_date_time(connector.enrolled),
        "machineName": connector.machine_name,
        "connectorVersion": connector.version,
        "roleScopeTagIds": ["0"],
    }


def list_connectors(request: GraphRequest) -> Answer:
    """GET /deviceManagement/ndesConnectors."""
    fields = {"id": Field("id"), "displayName": Field("display_name"), "machineName": Field("machine_name")}

    def to_json(row: Row) -> Json:
        return _connector_json(request, connector_from_row(row))

    collection = Collection(CONNECTORS, "connectors", fields, "ndesConnector", to_json)
    return collection.page(
        request, "tenant_id = ?", (request.caller.tenant_id,), request.cloud.config.switches.page_size
    )


def get_connector(request: GraphRequest) -> Answer:
    """GET /deviceManagement/ndesConnectors/{id}."""
    connector = request.cloud.connectors.get(request.keys[0])
    if connector is None or connector.tenant_id != request.caller.tenant_id:
        raise errors.intune_not_found(errors.CONFIGURATION_SERVICE, f"no connector has the id {request.keys[0]!r}")
    context = request.context(f"{CONNECTORS}/$entity")
    return Answer(200, {"@odata.context": context, **_connector_json(request, connector)})


def add_routes(router: Router) -> None:
    """Register devices and connectors."""
    router.add("GET", DEVICES, Route(list_devices, DEVICE_READ))
    router.add("GET", f"{DEVICES}/{{}}", Route(get_device, DEVICE_READ))
    router.add("POST", f"{DEVICES}/{{}}/syncDevice", Route(sync_device, DEVICE_ACTION))
    router.add("GET", "users/{}/managedDevices", Route(devices_of_user, DEVICE_READ))
    router.add("GET", DETAILS, Route(list_details, CONFIGURATION_READ, ("beta",)))
    router.add("GET", f"{DETAILS}/{{}}", Route(get_details, CONFIGURATION_READ, ("beta",)))
    router.add("GET", CONNECTORS, Route(list_connectors, CONFIGURATION_READ))
    router.add("GET", f"{CONNECTORS}/{{}}", Route(get_connector, CONFIGURATION_READ))
