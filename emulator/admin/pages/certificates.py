"""/admin/certificates: imported certificates with what became of each, by search and filter; one of them in full."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from pfxlab.emulator.admin.page import PREFIX, Look, Shown, Table, not_found
from pfxlab.emulator.admin.pages.timeline import LOOKED_AT, timeline
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.graph.intune.user_pfx_certificates import to_json
from pfxlab.emulator.lab.explain import explain
from pfxlab.emulator.store.database import Row, to_text
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.pfx_certificates import Search
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme

_PAGE: Final = 50
_EXPORTED: Final = 100_000
_SOON: Final = timedelta(days=30)
_DIGITS: Final = 6
COLUMNS: Final = (
    "id", "userPrincipalName", "thumbprint", "intendedPurpose", "startDateTime", "expirationDateTime", "paddingScheme",
    "providerName", "keyName", "createdDateTime",
)  # fmt: skip
EXPIRY: Final = {"valid": "valid for more than 30 days", "soon": "ends within 30 days", "expired": "expired"}


def state_of(state: State) -> tuple[str, str]:
    """Return (class, sign with words) of a delivery's state, as the pages show it."""
    return {
        State.INSTALLED: ("good", "✔ Installed"),
        State.FAILED: ("bad", "✖ Failed"),
        State.REQUESTED: ("busy", "… Waiting for a connector"),
        State.LEASED: ("busy", "… A connector works on it"),
        State.WANTED: ("busy", "… Waiting for a check-in"),
        State.READY: ("busy", "… Waiting for the device"),
        State.OFFERED: ("busy", "… Sent, not confirmed yet"),
        State.REMOVING: ("busy", "… Being removed"),
        State.REMOVED: ("quiet", "– Removed"),
        State.SUPERSEDED: ("quiet", "– A newer one took its place"),
        State.LEFT: ("quiet", "– Left on the device"),
    }[state]


def _search(look: Look) -> Search:
    """Return what a look's search and filters ask for."""
    text = look.query.get("search", "").strip().lower()
    # Windows shows thumbprints with spaces, OpenSSL with colons.
    digits = text.replace(" ", "").replace(":", "")
    is_thumbprint = len(digits) >= _DIGITS and set(digits) <= set("0123456789abcdef")
    now = look.cloud.clock.now()
    ends_after, ends_by = {
        "expired": (None, now), "soon": (now, now + _SOON), "valid": (now + _SOON, None)
    }.get(look.query.get("expiry", ""), (None, None))  # fmt: skip
    return Search(
        look.tenant_id,
        user_begins=text,
        thumbprint_begins=digits if is_thumbprint else "",
        purpose=IntendedPurpose.__members__.get(look.query.get("purpose", "")),
        ends_after=ends_after,
        ends_by=ends_by,
    )


def _row(row: Row, now: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "userPrincipalName": row["user_principal_name"],
        "thumbprint": row["thumbprint"],
        "intendedPurpose": IntendedPurpose(row["intended_purpose"]).name,
        "startDateTime": row["start_date"],
        "expirationDateTime": row["expiration_date"],
        "paddingScheme": PaddingScheme(row["padding_scheme"]).name,
        "providerName": row["provider_name"],
        "keyName": row["key_name"],
        "createdDateTime": row["created"],
        "expired": row["expiration_date"] <= now,
    }


def show_all(look: Look) -> Shown:
    """Return a page of the certificates, those imported last first."""
    cloud, now = look.cloud, to_text(look.cloud.clock.now())
    wanted, skipped = _search(look), look.number("skip")
    rows = [_row(row, now) for row in cloud.certificates.search(wanted, limit=_PAGE + 1, skip=skipped)]
    shown = rows[:_PAGE]
    states = cloud.deliveries.states_by_certificate([row["id"] for row in shown])
    for row in shown:
        row["states"] = [(*state_of(state), number) for state, number in states.get(row["id"], {}).items()]

    def exported() -> Iterable[dict[str, Any]]:
        return (_row(row, now) for row in cloud.certificates.search(wanted, limit=_EXPORTED))

    return Shown(
        "certificates.html",
        {
            "rows": shown,
            "purposes": list(IntendedPurpose.__members__),
            "expiries": EXPIRY,
            "skipped": skipped,
            "following": skipped + _PAGE if len(rows) > _PAGE else 0,
            "previous": max(0, skipped - _PAGE) if skipped else None,
        },
        Table(COLUMNS, exported),
    )


def _delivery(cloud: Cloud, one: Delivery) -> dict[str, Any]:
    device = cloud.devices.get(one.device_id)
    profile = cloud.profiles.get(one.tenant_id, one.profile_id)
    look, words = state_of(one.state)
    return {
        "device": one.device_id,
        "deviceName": device.device_name if device is not None else "a device that has left",
        "platform": device.platform if device is not None else "",
        "profile": profile.display_name if profile is not None else "",
        "state": str(one.state),
        "class": look,
        "words": words,
        "reason": one.reason or "",
        "lastModified": one.last_modified.isoformat(),
    }


def show_one(look: Look) -> Shown:
    """Return one certificate: its deliveries, its timeline, why it has not arrived, its record as Graph returns it."""
    cloud, wanted = look.cloud, look.place["id"]
    record = cloud.certificates.get(look.tenant_id, wanted)
    if record is None:
        return not_found("imported certificate", wanted)
    devices = [_delivery(cloud, one) for one in cloud.deliveries.of_certificate(record.id)]
    explanations = explain(cloud, look.tenant_id, record.user_id, thumbprint=record.thumbprint)
    broken = [
        {
            "device": one.device_name or "",
            "link": one.broken.name,
            "code": one.broken.code,
            "evidence": one.broken.evidence,
            "remedy": one.broken.remedy,
        }
        for one in explanations
        if one.broken is not None
    ]
    hops = timeline(cloud, record)
    values = {
        "record": to_json(record),
        "blob_bytes": len(record.encrypted_pfx_blob),
        "expired": record.expiration_date <= cloud.clock.now(),
        "devices": devices,
        "broken": broken,
        "hops": hops,
        "older": cloud.journal.last() > LOOKED_AT,
        "list": f"{PREFIX}/certificates",
    }
    columns = ("time", "party", "what", "inClear", "bytes", "cryptography")
    return Shown("certificate.html", values, Table(columns, lambda: hops))
