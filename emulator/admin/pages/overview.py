"""/admin: the parties as a chain with their counters, and the latest events."""

from typing import Any, Final

from pfxlab.emulator.admin.page import Look, Shown, Table
from pfxlab.emulator.admin.pages import connectors
from pfxlab.emulator.admin.pages.events import row_of
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.store.delivery_states import State

_RECENT: Final = 12
_GROUPS: Final = {
    "waiting for a check-in": (State.WANTED,),
    "waiting for a connector": (State.REQUESTED, State.LEASED),
    "waiting for the device": (State.READY, State.OFFERED),
    "installed": (State.INSTALLED,),
    "failed": (State.FAILED,),
}
"""Group of deliveries on the page → its states."""


def deliveries(cloud: Cloud, tenant_id: str) -> dict[str, int]:
    """Return how many deliveries there are in each group."""
    count = cloud.deliveries.states_of_tenant(tenant_id)
    return {name: sum(count.get(state, 0) for state in states) for name, states in _GROUPS.items()}


def show(look: Look) -> Shown:
    """Return the overview."""
    cloud, tenant = look.cloud, look.tenant_id
    servers = connectors.rows(cloud, tenant)
    moved, devices = deliveries(cloud, tenant), cloud.devices.platforms(tenant)
    recent = [row_of(entry) for entry in cloud.journal.entries(limit=_RECENT, newest=True)]
    values: dict[str, Any] = {
        "certificates": cloud.certificates.count(tenant),
        "profiles": len(cloud.profiles.all(tenant)),
        "deliveries": moved,
        "connectors": servers,
        "active": sum(one["state"] == "Active" for one in servers),
        "devices": devices,
        "device_count": sum(devices.values()),
        "faults": len(cloud.faults.all()),
        "now": cloud.clock.now(),
        "frozen": cloud.clock.frozen,
        "recent": recent,
    }
    counters = [
        {"what": "imported certificates", "count": values["certificates"]},
        *({"what": f"deliveries {name}", "count": number} for name, number in moved.items()),
        {"what": "active connectors", "count": values["active"]},
        *({"what": f"devices, {name}", "count": number} for name, number in devices.items()),
    ]
    return Shown("overview.html", values, Table(("what", "count"), lambda: counters))
