"""/admin/devices: enrolled devices with what they hold; one of them with its certificates, sessions and messages."""

from collections.abc import Iterable
from typing import Any, Final

from pfxlab.emulator.admin.page import Look, Shown, Table, not_found
from pfxlab.emulator.admin.pages.certificates import state_of
from pfxlab.emulator.admin.pages.events import row_of
from pfxlab.emulator.admin.pages.messages import pretty
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.delivery_states import State

_PAGE: Final = 50
_EXPORTED: Final = 100_000
_EVENTS: Final = 30
_LOOKED_AT: Final = 50_000
COLUMNS: Final = ("id", "deviceName", "platform", "osVersion", "user", "model", "serialNumber", "enrolled", "lastSync")


def _row(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "deviceName": row["device_name"],
        "platform": row["platform"],
        "osVersion": row["os_version"],
        "user": row["user"] or "",
        "model": row["model"],
        "serialNumber": row["serial_number"],
        "enrolled": row["enrolled"],
        "lastSync": row["last_sync"],
    }


def show_all(look: Look) -> Shown:
    """Return a page of the devices, those enrolled last first; by name or user, and by platform."""
    cloud, skipped = look.cloud, look.number("skip")
    wanted = (look.tenant_id, look.query.get("search", "").strip().lower(), look.query.get("platform", ""))
    rows = [_row(row) for row in cloud.devices.search(*wanted, limit=_PAGE + 1, skip=skipped)]
    shown = rows[:_PAGE]
    held = cloud.deliveries.states_by_device([row["id"] for row in shown])
    for row in shown:
        row["states"] = [(*state_of(state), number) for state, number in held.get(row["id"], {}).items()]

    def exported() -> Iterable[dict[str, Any]]:
        return map(_row, cloud.devices.search(*wanted, limit=_EXPORTED))

    return Shown(
        "devices.html",
        {
            "rows": shown,
            "platforms": sorted(cloud.devices.platforms(look.tenant_id)),
            "skipped": skipped,
            "following": skipped + _PAGE if len(rows) > _PAGE else 0,
            "previous": max(0, skipped - _PAGE) if skipped else None,
        },
        Table(COLUMNS, exported),
    )


def show_one(look: Look) -> Shown:
    """Return one device: what the service knows it to hold, its latest messages and events."""
    cloud, wanted = look.cloud, look.place["id"]
    device = cloud.devices.get(wanted)
    if device is None or device.tenant_id != look.tenant_id:
        return not_found("device", wanted)
    user = cloud.directory.user(look.tenant_id, device.user_id) if device.user_id else None
    certificates = []
    for one in cloud.deliveries.of_device(device.id):
        look_class, words = state_of(one.state)
        profile = cloud.profiles.get(one.tenant_id, one.profile_id)
        certificates.append(
            {
                "certificate": one.certificate_id,
                "thumbprint": one.thumbprint,
                "purpose": one.purpose.name,
                "profile": "" if profile is None else profile.display_name,
                "state": str(one.state),
                "class": look_class,
                "words": words,
                "reason": one.reason or "",
                "lastModified": one.last_modified.isoformat(),
            }
        )
    entries = cloud.journal.entries(
        after=max(0, cloud.journal.last() - _LOOKED_AT), device=device.id, limit=_EVENTS, newest=True
    )
    messages = [
        {
            "number": one.number,
            "time": one.time.isoformat(),
            "request": pretty(one.request),
            "answer": pretty(one.answer),
        }
        for one in reversed(cloud.conversations.of(device.id))
    ]
    values = {
        "device": device,
        "user": "" if user is None else user["user_principal_name"],
        "certificates": certificates,
        "installed": sum(one["state"] == State.INSTALLED for one in certificates),
        "leaving": cloud.devices.leaving(device.id),
        "events": [row_of(entry) for entry in entries],
        "messages": messages,
        "older": cloud.journal.last() > _LOOKED_AT,
    }
    columns = ("certificate", "thumbprint", "purpose", "profile", "state", "reason", "lastModified")
    return Shown("device.html", values, Table(columns, lambda: certificates))
