"""What became of profiles: statuses of devices and users, overviews, certificate states.

Sources: sources.md#status-rows, sources.md#certificate-states.

Rows are computed from deliveries, as the service computes them: there are lists, but no single rows.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.collection import computed
from pfxlab.emulator.graph.intune.device_configurations import FRAGMENT, find_profile
from pfxlab.emulator.graph.odata.types import without_nulls
from pfxlab.emulator.graph.permissions import CONFIGURATION_READ
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.device_configurations import DeviceConfiguration
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.ids import status_row_id
from pfxlab.emulator.wire.platforms import PLATFORM_OF_TYPE, PLATFORMS

STATUS_OF_STATE: Final = {
    State.INSTALLED: "compliant",
    State.FAILED: "error",
    State.REMOVED: "notApplicable",
    State.SUPERSEDED: "notApplicable",
    State.LEFT: "notApplicable",
}
"""complianceStatus of a delivery; every state not named here is still under way: unknown."""

ISSUANCE_OF_STATE: Final = {
    State.WANTED: "requested",
    State.REQUESTED: "issuePending",
    State.LEASED: "issuePending",
    State.READY: "issued",
    State.OFFERED: "responsePending",
    State.INSTALLED: "installed",
    State.FAILED: "issueFailed",
    State.SUPERSEDED: "removedFromCollection",
    State.REMOVING: "removedFromCollection",
    State.LEFT: "removedFromCollection",
    State.REMOVED: "deleted",
}
"""certificateIssuanceStates of a delivery; a failure on the device itself is installFailed."""

_WORST_FIRST: Final = ("error", "unknown", "compliant", "notApplicable")
_NEVER: Final = "9999-12-31T23:59:59.9999999Z"


@dataclass(frozen=True)
class _Row:
    """A device that a profile has deliveries on, with the user they are for."""

    device: Device
    user: Row
    deliveries: tuple[Delivery, ...]

    def status(self) -> str:
        """Return the worst status of the deliveries."""
        statuses = {STATUS_OF_STATE.get(delivery.state, "unknown") for delivery in self.deliveries}
        return next(status for status in _WORST_FIRST if status in statuses)

    def reported(self) -> str:
        """Return when something last changed."""
        return format_date_time(max(delivery.last_modified for delivery in self.deliveries))


def _rows(request: GraphRequest, profile: DeviceConfiguration) -> list[_Row]:
    by_device: dict[tuple[str, str], list[Delivery]] = {}
    for delivery in request.cloud.deliveries.of_profile(profile.id):
        by_device.setdefault((delivery.device_id, delivery.user_id), []).append(delivery)
    rows = []
    for (device_id, user_id), deliveries in by_device.items():
        device = request.cloud.devices.get(device_id)
        user = None if device is None else request.cloud.directory.user(profile.tenant_id, user_id)
        if device is not None and user is not None:
            rows.append(_Row(device, user, tuple(deliveries)))
    return rows


def _list(request: GraphRequest, profile: DeviceConfiguration, name: str, items: list[Json], kind: str) -> Answer:
    size = request.cloud.config.switches.page_size
    return computed(request, f"{FRAGMENT}('{profile.id}')/{name}", items, kind, size)


def device_statuses(request: GraphRequest) -> Answer:
    """GET /deviceStatuses: one row for each device."""
    profile = find_profile(request)
    items = [
        {
            "id": status_row_id(row.user["id"], profile.id, row.device.id),
            "deviceDisplayName": row.device.device_name,
            "userName": row.user["display_name"],
            "deviceModel": None,
            "platform": 0,
            "complianceGracePeriodExpirationDateTime": _NEVER,
            "status": row.status(),
            "lastReportedDateTime": row.reported(),
            "userPrincipalName": row.user["user_principal_name"],
        }
        for row in _rows(request, profile)
    ]
    return _list(request, profile, "deviceStatuses", items, "deviceConfigurationDeviceStatus")


def _users(rows: list[_Row]) -> list[tuple[Row, list[_Row]]]:
    by_user: dict[str, list[_Row]] = {}
    for row in rows:
        by_user.setdefault(row.user["id"], []).append(row)
    return [(mine[0].user, mine) for mine in by_user.values()]


def _worst(rows: list[_Row]) -> str:
    return next(status for status in _WORST_FIRST if status in {row.status() for row in rows})


def user_statuses(request: GraphRequest) -> Answer:
    """GET /userStatuses: one row for each user."""
    profile = find_profile(request)
    items = [
        {
            "id": f"{user['id']}_{profile.id}",
            "userDisplayName": user["display_name"],
            "devicesCount": len(rows),
            "status": _worst(rows),
            "lastReportedDateTime": max(row.reported() for row in rows),
            "userPrincipalName": user["user_principal_name"],
        }
        for user, rows in _users(_rows(request, profile))
    ]
    return _list(request, profile, "userStatuses", items, "deviceConfigurationUserStatus")


def _overview(request: GraphRequest, name: str, statuses: list[str]) -> Answer:
    profile, counted = find_profile(request), Counter(statuses)
    body: Json = {
        "@odata.context": request.context(f"{FRAGMENT}('{profile.id}')/{name}/$entity"),
        "id": profile.id,
        "pendingCount": counted["unknown"],
        "notApplicableCount": counted["notApplicable"],
        "successCount": counted["compliant"],
        "errorCount": counted["error"],
        "failedCount": 0,
        "conflictCount": 0,
        "lastUpdateDateTime": format_date_time(request.cloud.clock.now()),
        "configurationVersion": profile.version,
    }
    if name == "deviceStatusOverview":
        body["notApplicablePlatformCount"] = 0
    return Answer(200, request.query.project(body))


def device_overview(request: GraphRequest) -> Answer:
    """GET /deviceStatusOverview: how many devices are in which status."""
    return _overview(request, "deviceStatusOverview", [row.status() for row in _rows(request, find_profile(request))])


def user_overview(request: GraphRequest) -> Answer:
    """GET /userStatusOverview: how many users are in which status."""
    statuses = [_worst(rows) for _, rows in _users(_rows(request, find_profile(request)))]
    return _overview(request, "userStatusOverview", statuses)


def no_single_row(request: GraphRequest) -> Answer:
    """GET of one status row by its id: Graph knows the path, Intune has no handler."""
    address = f"{errors.CONFIGURATION_SERVICE}/{request.path}"
    template = "~/singleton/navigation/key/navigation/key"
    raise errors.no_route(request.method, template, address, "rows are computed: read the list")


def _issuance(delivery: Delivery) -> str:
    on_device = (delivery.reason or "").startswith(("Windows:", "Apple:"))
    return "installFailed" if delivery.state is State.FAILED and on_device else ISSUANCE_OF_STATE[delivery.state]


def _certificate_state(request: GraphRequest, profile: DeviceConfiguration, row: _Row, delivery: Delivery) -> Json:
    record = request.cloud.certificates.get(profile.tenant_id, delivery.certificate_id)
    changed = format_date_time(delivery.last_modified)
    # Issuer, serial number, key length and usages lie inside the PFX, which the cloud cannot open.
    return {
        "id": delivery.id,
        "devicePlatform": PLATFORMS[row.device.platform].status_platform,
        "certificateKeyUsage": None,
        "certificateValidityPeriodUnits": None,
        "certificateIssuanceState": _issuance(delivery),
        "certificateKeyStorageProvider": profile.properties.get("keyStorageProvider"),
        "certificateSubjectNameFormat": None,
        "certificateSubjectAlternativeNameFormat": None,
        "certificateRevokeStatus": "none",
        "certificateProfileDisplayName": profile.display_name,
        "deviceDisplayName": row.device.device_name,
        "userDisplayName": row.user["display_name"],
        "certificateExpirationDateTime": None if record is None else format_date_time(record.expiration_date),
        "certificateLastIssuanceStateChangedDateTime": changed,
        "lastCertificateStateChangeDateTime": changed,
        "certificateIssuer": None,
        "certificateThumbprint": delivery.thumbprint,
        "certificateSerialNumber": None,
        "certificateKeyLength": None,
        "certificateEnhancedKeyUsage": None,
        "certificateValidityPeriod": None,
        "certificateSubjectNameFormatString": None,
        "certificateSubjectAlternativeNameFormatString": None,
        "certificateIssuanceDateTime": None if record is None else format_date_time(record.start_date),
        "certificateErrorCode": delivery.error_code,
    }


def _states_of(odata_type: str) -> Callable[[GraphRequest], Answer]:
    def certificate_states(request: GraphRequest) -> Answer:
        profile = find_profile(request)
        if profile.odata_type != odata_type:
            reason = f"the profile is a {profile.odata_type}, not a {odata_type}"
            raise errors.intune_not_found(errors.CONFIGURATION_SERVICE, reason)
        rows = _rows(request, profile)
        states = [_certificate_state(request, profile, row, d) for row in rows for d in row.deliveries]
        items = [without_nulls("managedDeviceCertificateState", state) for state in states]
        cast = odata_type.removeprefix("#")
        name = f"{cast}/managedDeviceCertificateStates"
        return _list(request, profile, name, items, "managedDeviceCertificateState")

    return certificate_states


def all_certificate_states(request: GraphRequest) -> Answer:
    """GET /deviceManagement/deviceConfigurationsAllManagedDeviceCertificateStates: of every profile together."""
    name = "deviceManagement/deviceConfigurationsAllManagedDeviceCertificateStates"
    items = [
        {
            "id": delivery.id,
            "certificateRevokeStatus": "none",
            "certificateRevokeStatusLastChangeDateTime": None,
            "managedDeviceDisplayName": row.device.device_name,
            "userPrincipalName": row.user["user_principal_name"],
            "certificateExpirationDateTime": state["certificateExpirationDateTime"],
            "certificateIssuerName": None,
            "certificateThumbprint": delivery.thumbprint,
            "certificateSerialNumber": None,
            "certificateSubjectName": None,
            "certificateKeyUsages": None,
            "certificateExtendedKeyUsages": None,
            "certificateIssuanceDateTime": state["certificateIssuanceDateTime"],
        }
        for profile in request.cloud.profiles.all(request.caller.tenant_id)
        for row in _rows(request, profile)
        for delivery in row.deliveries
        if (state := _certificate_state(request, profile, row, delivery))
    ]
    size = request.cloud.config.switches.page_size
    kind = "managedAllDeviceCertificateState"
    return computed(request, name, [without_nulls(kind, item) for item in items], kind, size)


def add_routes(router: Router) -> None:
    """Register the status resources; imported-PFX types exist in beta only."""
    beta, one = ("beta",), f"{FRAGMENT}/{{}}"
    lists = {
        "deviceStatuses": device_statuses,
        "userStatuses": user_statuses,
        "deviceStatusOverview": device_overview,
        "userStatusOverview": user_overview,
    }
    for name, handler in lists.items():
        router.add("GET", f"{one}/{name}", Route(handler, CONFIGURATION_READ, beta))
    for name in ("deviceStatuses", "userStatuses"):
        router.add("GET", f"{one}/{name}/{{}}", Route(no_single_row, CONFIGURATION_READ, beta))
    for odata_type in PLATFORM_OF_TYPE:
        path = f"{one}/{odata_type.removeprefix('#')}/managedDeviceCertificateStates"
        router.add("GET", path, Route(_states_of(odata_type), CONFIGURATION_READ, beta))
    everything = "deviceManagement/deviceConfigurationsAllManagedDeviceCertificateStates"
    router.add("GET", everything, Route(all_certificate_states, CONFIGURATION_READ, beta))
