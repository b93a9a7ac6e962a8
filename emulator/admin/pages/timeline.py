"""A certificate's timeline: each hop with its party, clear text, size and cryptography.

Built from the journal and the store. Where the password is in clear text follows from
sources.md#how-delivery-works: in the import tool, in the connector's memory and on the device; never in the cloud.
"""

from typing import Any, Final

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.emulator.store.pfx_certificates import PfxCertificate
from pfxlab.emulator.wire.platforms import APPLE

LOOKED_AT: Final = 50_000
"""Journal entries that are searched for a certificate, newest first."""

_SHOWN: Final = 300
_NOTHING: Final = "nothing"

_STEPS: Final[dict[str, tuple[str, str, str]]] = {
    "delivery wanted": ("Intune service", "a profile targets the device with the certificate", ""),
    "delivery device asked": ("device", "checked in and requested the certificate", "mutual TLS"),
    "delivery re-encrypted": ("connector", "decrypted the password and encrypted it for the device", "{recrypted}"),
    "delivery sent to device": ("Intune service", "sent it with the device's check-in", "mutual TLS, {sent}"),
    "delivery device confirmed": ("device", "installed the PFX and reported its thumbprint", ""),
    "delivery device refused": ("device", "refused it", ""),
    "delivery missing on device": ("device", "no longer holds it", ""),
    "delivery device key renewed": (
        "device",
        "has a new identity key; it cannot use what was encrypted for the old one",
        "",
    ),
    "delivery record changed": ("Intune service", "delivers the record again, because its content has changed", ""),
    "delivery attempt failed": ("connector", "could not re-encrypt it, and will retry", ""),
    "delivery last attempt failed": ("connector", "could not re-encrypt it", ""),
    "delivery lease expired": ("Intune service", "ended the lease of a silent connector", ""),
    "delivery removal confirmed": ("device", "removed it", ""),
}
"""Journal event → party, what it did, cryptography."""

_IN_CLEAR: Final = {
    "delivery re-encrypted": "the password, in the connector's memory only",
    "delivery device confirmed": "password and private key, on the device only",
}


def _cryptography(template: str, record: PfxCertificate, platform: str) -> str:
    apple = platform in APPLE
    recrypted = (
        f"RSA decryption with {record.padding_scheme.name} under {record.key_name!r}; CMS EnvelopedData for the"
        f" device's certificate, of {'the whole payload' if apple else 'the password'}"
    )
    sent = (
        "a configuration profile, encrypted"
        if apple
        else "SyncML nodes of ClientCertificateInstall, password encrypted"
    )
    return template.format(recrypted=recrypted, sent=sent)


def _hop(entry: Entry, record: PfxCertificate, names: dict[str, tuple[str, str]]) -> dict[str, Any]:
    device = str(entry.fields.get("device", ""))
    name, platform = names.get(device, ("", ""))
    party, what, template = _STEPS.get(entry.event, ("Intune service", entry.event.removeprefix("delivery "), ""))
    return {
        "time": entry.time,
        "party": party,
        "device": device,
        "deviceName": name,
        "what": what,
        "inClear": _IN_CLEAR.get(entry.event, _NOTHING),
        "bytes": entry.fields.get("payload_bytes"),
        "cryptography": _cryptography(template, record, platform),
        "reason": entry.reason or "",
        "outcome": entry.outcome,
    }


def _import_hop(record: PfxCertificate) -> dict[str, Any]:
    return {
        "time": record.created.isoformat(),
        "party": "administrator's tool",
        "device": "",
        "deviceName": "",
        "what": "encrypted the password and imported the record over Graph",
        "inClear": "the password, in the tool only; Graph gets ciphertext",
        "bytes": len(record.encrypted_pfx_blob) + len(record.encrypted_pfx_password),
        "cryptography": f"RSA encryption with {record.padding_scheme.name} to {record.key_name!r} of"
        f" {record.provider_name}; the PFX stays under its password",
        "reason": "",
        "outcome": "ok",
    }


def timeline(cloud: Cloud, record: PfxCertificate) -> list[dict[str, Any]]:
    """Return the hops of a certificate, oldest first: its import, then its latest journal entries."""
    last = cloud.journal.last()
    entries = cloud.journal.entries(
        after=max(0, last - LOOKED_AT), thumbprint=record.thumbprint, limit=_SHOWN, newest=True
    )
    mine = {delivery.id: delivery.device_id for delivery in cloud.deliveries.of_certificate(record.id)}
    names = {}
    for device_id in set(mine.values()):
        device = cloud.devices.get(device_id)
        if device is not None:
            names[device_id] = (device.device_name, device.platform)
    journalled = [entry for entry in reversed(entries) if entry.fields.get("delivery") in mine]
    return [_import_hop(record), *(_hop(entry, record, names) for entry in journalled)]
