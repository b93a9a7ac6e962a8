"""/deviceManagement/ndesConnectors and certificateConnectorDetails.

Sources: sources.md#ndes-connectors, sources.md#connector-health. The names of health metrics are the lab's own:
sources.md#health-metric-names.
"""

from datetime import timedelta
from typing import Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import computed
from pfxlab.emulator.graph.permissions import CONFIGURATION_READ, CONFIGURATION_WRITE, CONNECTOR_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import release
from pfxlab.emulator.store.connectors import Connector
from pfxlab.emulator.store.database import from_text
from pfxlab.emulator.wire.edm import format_date_time, parse_date_time
from pfxlab.emulator.wire.enums import NdesConnectorState
from pfxlab.emulator.wire.text import quoted

CONNECTORS = "deviceManagement/ndesConnectors"
DETAILS = "deviceManagement/certificateConnectorDetails"
METRICS: Final = {"PkcsImportSuccessCount": "succeeded", "PkcsImportFailureCount": "failed"}
"""Health metric → what of a connector's hours it adds up."""


def _details_json(connector: Connector) -> Json:
    return {
        "id": connector.id,
        "connectorName": connector.display_name,
        "machineName": connector.machine_name,
        "enrollmentDateTime": format_date_time(connector.enrolled),
        "lastCheckinDateTime": format_date_time(connector.last_connection),
        "connectorVersion": connector.version,
    }


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


def _find(request: GraphRequest) -> Connector:
    connector = request.cloud.connectors.get(request.keys[0])
    if connector is None or connector.tenant_id != request.caller.tenant_id:
        raise errors.intune_not_found(
            errors.CONFIGURATION_SERVICE, f"no connector has the id {quoted(request.keys[0])}"
        )
    return connector


def _one(request: GraphRequest, fragment: str, entity: Json) -> Answer:
    return Answer(200, request.query.project({"@odata.context": request.context(f"{fragment}/$entity"), **entity}))


def _all(request: GraphRequest) -> list[Connector]:
    return request.cloud.connectors.of_tenant(request.caller.tenant_id)


def list_details(request: GraphRequest) -> Answer:
    """GET /deviceManagement/certificateConnectorDetails."""
    size = request.cloud.config.switches.page_size
    return computed(request, DETAILS, [_details_json(c) for c in _all(request)], "certificateConnectorDetails", size)


def get_details(request: GraphRequest) -> Answer:
    """GET /deviceManagement/certificateConnectorDetails/{id}: the ndesConnector's id."""
    return _one(request, DETAILS, _details_json(_find(request)))


def list_connectors(request: GraphRequest) -> Answer:
    """GET /deviceManagement/ndesConnectors."""
    items, size = [_connector_json(request, c) for c in _all(request)], request.cloud.config.switches.page_size
    return computed(request, CONNECTORS, items, "ndesConnector", size)


def get_connector(request: GraphRequest) -> Answer:
    """GET /deviceManagement/ndesConnectors/{id}."""
    return _one(request, CONNECTORS, _connector_json(request, _find(request)))


def count_connectors(request: GraphRequest) -> Answer:
    """GET /$count of either view: digits as plain text."""
    return Answer(200, str(len(_all(request))))


def rename_connector(request: GraphRequest) -> Answer:
    """PATCH: the display name is all that can be set."""
    cloud, connector, body = request.cloud, _find(request), read_json(request)
    check("ndesConnector", "ndesConnector", body, errors.CONFIGURATION_SERVICE)
    renamed = Connector(**{**vars(connector), "display_name": body.get("displayName") or connector.display_name})
    cloud.connectors.save(renamed)
    cloud.journal.record("graph", "connector renamed", connector=connector.id, name=renamed.display_name)
    if cloud.config.switches.code_profile == "documented":
        return _one(request, CONNECTORS, _connector_json(request, renamed))
    return Answer(204)


def delete_connector(request: GraphRequest) -> Answer:
    """DELETE: its certificate is refused from now on, what it had leased returns to the queue."""
    cloud, connector = request.cloud, _find(request)
    with cloud.store.atomic():
        release(cloud, connector.id)
        cloud.connectors.remove(connector.id)
        cloud.journal.record("graph", "connector deleted", connector=connector.id)
    return Answer(204)


def health_metrics(request: GraphRequest) -> Answer:
    """POST …/getHealthMetrics {"metricNames": […]}: totals; a name nobody knows counts nothing."""
    connector, body = _find(request), read_json(request)
    check("getHealthMetrics", "getHealthMetrics", body, errors.CONFIGURATION_SERVICE)
    hours = request.cloud.connectors.health(connector.id)
    names = body.get("metricNames") or METRICS
    values = [
        {"name": name, "value": sum(hour[METRICS[name]] for hour in hours) if name in METRICS else 0} for name in names
    ]
    return Answer(200, {"@odata.context": request.context("Collection(microsoft.graph.keyLongValuePair)"),
                        "value": values})  # fmt: skip


def health_time_series(request: GraphRequest) -> Answer:
    """POST …/getHealthMetricTimeSeries {"timeSeries": {startDateTime, endDateTime, metricName}}: hour by hour.

    Without an end, up to now.
    """
    connector, body = _find(request), read_json(request)
    check("getHealthMetricTimeSeries", "getHealthMetricTimeSeries", body, errors.CONFIGURATION_SERVICE)
    asked = body["timeSeries"]
    start, end = parse_date_time(asked["startDateTime"]), request.cloud.clock.now()
    if asked.get("endDateTime") is not None:
        end = parse_date_time(asked["endDateTime"])
    start = start.replace(minute=0, second=0, microsecond=0)  # the hour it lies in counts as a whole
    values = [
        {
            "dateTime": format_date_time(from_text(hour["hour"])),
            "successCount": hour["succeeded"],
            "failureCount": hour["failed"],
        }
        for hour in request.cloud.connectors.health(connector.id, start, end)
        if asked.get("metricName") in METRICS
    ]
    fragment = "Collection(microsoft.graph.certificateConnectorHealthMetricValue)"
    return Answer(200, {"@odata.context": request.context(fragment), "value": values})


def add_routes(router: Router) -> None:
    """Register both views of a connector."""
    beta = ("beta",)
    router.add("GET", DETAILS, Route(list_details, CONFIGURATION_READ, beta))
    router.add("GET", f"{DETAILS}/$count", Route(count_connectors, CONFIGURATION_READ, beta))
    router.add("GET", f"{CONNECTORS}/$count", Route(count_connectors, CONFIGURATION_READ, beta))
    router.add("GET", f"{DETAILS}/{{}}", Route(get_details, CONFIGURATION_READ, beta))
    router.add("POST", f"{DETAILS}/{{}}/getHealthMetrics", Route(health_metrics, CONFIGURATION_READ, beta))
    router.add("POST", f"{DETAILS}/{{}}/getHealthMetricTimeSeries", Route(health_time_series, CONFIGURATION_READ, beta))
    router.add("GET", CONNECTORS, Route(list_connectors, CONFIGURATION_READ, beta))
    router.add("GET", f"{CONNECTORS}/{{}}", Route(get_connector, CONFIGURATION_READ, beta))
    router.add("PATCH", f"{CONNECTORS}/{{}}", Route(rename_connector, CONNECTOR_WRITE, beta))
    router.add("DELETE", f"{CONNECTORS}/{{}}", Route(delete_connector, CONFIGURATION_WRITE, beta))
