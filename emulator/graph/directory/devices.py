"""/devices: the devices of the directory, one for each managed device. Source: sources.md#directory-devices."""

import json
from typing import Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.collection import Collection, Listing, StoredListing, add_listing
from pfxlab.emulator.graph.directory.visibility import visible
from pfxlab.emulator.graph.permissions import DEVICE_OBJECT_READ
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.store.database import Row, from_text
from pfxlab.emulator.store.lists.columns import constant
from pfxlab.emulator.store.lists.views import REGISTERED_DEVICES
from pfxlab.emulator.wire.edm import format_date_time

_FIELDS: Final = {
    "id": REGISTERED_DEVICES["id"],
    "deviceId": REGISTERED_DEVICES["id"],
    "displayName": REGISTERED_DEVICES["display_name"],
    "operatingSystem": REGISTERED_DEVICES["operating_system"],
    "operatingSystemVersion": REGISTERED_DEVICES["os_version"],
    "registrationDateTime": REGISTERED_DEVICES["created"],
    "accountEnabled": constant(1, "boolean"),
}


def device_object_json(row: Row) -> Json:
    """Return a device of the directory."""
    held = json.loads(row["properties"])
    return {
        "id": row["id"],
        "deletedDateTime": None,
        "accountEnabled": True,
        "deviceId": row["id"],
        "displayName": row["display_name"],
        "isCompliant": True,
        "isManaged": True,
        "manufacturer": held["manufacturer"],
        "model": held["model"],
        "operatingSystem": held["operatingSystem"],
        "operatingSystemVersion": held["operatingSystemVersion"],
        "registrationDateTime": format_date_time(from_text(row["created"])),
    }


def _shown(request: GraphRequest, item: Json) -> Json:
    return visible(request, "device", item)


DEVICE_OBJECTS: Final = StoredListing(
    "device",
    Collection("devices", REGISTERED_DEVICES, _FIELDS, "device", device_object_json, counts=False),
    _shown,
)


def _devices(_: GraphRequest) -> Listing:
    return DEVICE_OBJECTS


def find_device(request: GraphRequest) -> Row:
    """Return the device of the directory that a path names.

    Raises:
        GraphError: there is none in the caller's tenant.

    """
    row = request.cloud.lists.row(REGISTERED_DEVICES, request.keys[0].lower())
    if row is None or row["tenant_id"] != request.caller.tenant_id:
        raise errors.directory_not_found(request.keys[0])
    return row


def get_device(request: GraphRequest) -> Answer:
    """GET /devices/{id}."""
    shown = _shown(request, device_object_json(find_device(request)))
    return Answer(200, request.query.project({"@odata.context": request.context("devices/$entity"), **shown}))


def add_routes(router: Router) -> None:
    """Register the devices of the directory."""
    add_listing(router, "devices", DEVICE_OBJECT_READ, _devices, "device")
    router.add("GET", "devices/{}", Route(get_device, DEVICE_OBJECT_READ))
