"""/admin/connectors: each connector's state, what it processed by the hour, and its event log."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pfxlab.emulator.admin.page import Look, Shown, Table, moment, not_found
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.intune import connector_versions as versions
from pfxlab.emulator.store.connectors import Connector

COLUMNS: Final = ("id", "name", "machine", "state", "version", "versionStatus", "lastContact", "enrolled")
EVENT_COLUMNS: Final = ("time", "level", "event", "name", "channel", "text")
LEVELS: Final = ("Error", "Warning", "Information")
_DAY: Final = timedelta(hours=24)
_HOURS: Final = 24


def summary(cloud: Cloud, connector: Connector, now: datetime) -> dict[str, Any]:
    """Return a connector as a row of the list."""
    silent = now - connector.last_connection
    active = silent < timedelta(seconds=cloud.config.switches.connector_inactive_after_seconds)
    return {
        "id": connector.id,
        "name": connector.display_name,
        "machine": connector.machine_name,
        "state": "Active" if active else "Inactive",
        "version": connector.version,
        "versionStatus": versions.status(connector.version, now),
        "lastContact": _shown(connector.last_connection),
        "enrolled": _shown(connector.enrolled),
    }


def rows(cloud: Cloud, tenant_id: str) -> list[dict[str, Any]]:
    """Return the connectors of a tenant."""
    now = cloud.clock.now()
    return [summary(cloud, connector, now) for connector in cloud.connectors.of_tenant(tenant_id)]


def events(cloud: Cloud, connector_id: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a connector's latest events, newest first; `level` in the query names one level."""
    level = query.get("level", "")
    found = cloud.connectors.events(connector_id, [level] if level in LEVELS else [])
    return [{name: one[name] for name in EVENT_COLUMNS} for one in found]


def health(cloud: Cloud, connector_id: str) -> list[dict[str, Any]]:
    """Return how many requests a connector answered in each hour of the last day, hours without any included."""
    now = cloud.clock.now()
    seen = {str(hour["hour"])[:13]: hour for hour in cloud.connectors.health(connector_id, now - _DAY)}
    found = []
    for back in range(_HOURS - 1, -1, -1):
        hour = now - timedelta(hours=back)
        row = seen.get(hour.isoformat()[:13], {"succeeded": 0, "failed": 0})
        found.append({"hour": f"{hour:%d.%m. %H}:00", "succeeded": row["succeeded"], "failed": row["failed"]})
    return found


def _shown(when: datetime) -> str:
    return f"{moment(when)} UTC"


def show_all(look: Look) -> Shown:
    """Return the connectors."""
    found = rows(look.cloud, look.tenant_id)
    return Shown("connectors.html", {"connectors": found}, Table(COLUMNS, lambda: found))


def show_one(look: Look) -> Shown:
    """Return a connector: state, what it processed, and its event log; `?level=Error` narrows that down."""
    cloud, wanted = look.cloud, look.place["id"]
    connector = cloud.connectors.get(wanted)
    if connector is None or connector.tenant_id != look.tenant_id:
        return not_found("connector", wanted)
    found, hours = events(cloud, connector.id, look.query), health(cloud, connector.id)
    values = {
        "connector": summary(cloud, connector, cloud.clock.now()),
        "hours": hours,
        "processed": {name: sum(hour[name] for hour in hours) for name in ("succeeded", "failed")},
        "busiest": max(1, *(hour["succeeded"] + hour["failed"] for hour in hours)),
        "events": found,
        "levels": LEVELS,
        "level": look.query.get("level", ""),
    }
    return Shown("connector.html", values, Table(EVENT_COLUMNS, lambda: found))
