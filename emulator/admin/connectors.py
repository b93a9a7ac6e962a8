"""What the pages on connectors show: each connector's state, what it processed by the hour, and its event log."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from emulator.cloud import Cloud
from emulator.intune import connector_versions as versions
from emulator.store.devices import Connector

COLUMNS: Final = ("id", "name", "machine", "state", "version", "versionStatus", "lastContact", "enrolled")
EVENT_COLUMNS: Final = ("time", "level", "event", "name", "channel", "text")
LEVELS: Final = ("Error", "Warning", "Information")
_DAY: Final = timedelta(hours=24)


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


def processed(cloud: Cloud, connector_id: str) -> dict[str, int]:
    """Return how many requests a connector answered within a day."""
    hours = cloud.connectors.health(connector_id, cloud.clock.now() - _DAY)
    return {name: sum(hour[name] for hour in hours) for name in ("succeeded", "failed")}


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
