"""Enrolled devices: registers them, knows them again by their identity certificate, lets that be renewed.

How each platform asks is in mde2.py (Windows, Android) and apple_enrollment.py.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.emulator.boundary import Component
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, OBSERVER, client_certificate
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR
from pfxlab.emulator.intune.deliveries import device_gone, reconcile
from pfxlab.emulator.pki import thumbprint
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.wire.enrollment import LARGEST_MESSAGE


class NoUser(Exception):
    """The token stands for no user to whom the device could belong; the text says what was expected."""


class MessageTooLarge(Exception):
    """A device sent more than a message may have."""


@dataclass(frozen=True)
class Facts:
    """What a device says about itself when it enrols."""

    platform: str
    device_name: str
    os_version: str
    model: str
    manufacturer: str
    serial_number: str
    udid: str


def owner_of(caller: Caller, *, user_affinity: bool = True) -> str:
    """Return the id of the user a device will belong to, empty for one without: an administrator enrols those.

    Raises:
        NoUser: an application's token, or one of no administrator for a device without user.

    """
    if caller.user_id is None:
        raise NoUser("expected a user's token, got an application's: a device belongs to a user")
    if user_affinity:
        return caller.user_id
    if not {INTUNE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR} & caller.directory_roles:
        raise NoUser("expected the token of an Intune or Global Administrator for a device without user")
    return ""


def register(
    cloud: Cloud, owner: tuple[str, str], device_id: str, certificate: x509.Certificate, facts: Facts
) -> Device:
    """Save an enrolled device and what it should have; `owner` is (tenant id, user id or empty).

    A device that enrols again, as after an enrolment that was cut off, leaves no second record:
    sources.md#device-enrolled-again.
    """
    now = cloud.clock.now()
    device = Device(
        id=device_id,
        tenant_id=owner[0],
        user_id=owner[1],
        certificate=certificate.public_bytes(Encoding.DER),
        key_thumbprint=thumbprint(certificate),
        enrolled=now,
        last_sync=now,
        **vars(facts),
    )
    with cloud.store.atomic():
        cloud.devices.save(device)
        cloud.journal.record("intune", "device enrolled", device=device.id, platform=device.platform)
        for earlier in cloud.devices.earlier(device) if cloud.config.switches.enrolled_again == "replaced" else ():
            device_gone(cloud, earlier)
            cloud.journal.record("intune", "device record replaced", device=earlier.id, by=device.id)
        reconcile(cloud, device)
    return device


def issue(cloud: Cloud, request_der: bytes, device_id: str) -> x509.Certificate:
    """Return an MDM identity for a certification request.

    Raises:
        RequestRefused: not a request this authority signs.

    """
    days = cloud.config.switches.device_certificate_days
    return cloud.device_ca.issue(request_der, device_id, cloud.clock.now(), days)


def renew(cloud: Cloud, device: Device, certificate: x509.Certificate) -> None:
    """Let a device's next identity wait for its first use; until then the present one stays good."""
    der, name = certificate.public_bytes(Encoding.DER), thumbprint(certificate)
    cloud.devices.save(replace(device, next_certificate=der, next_thumbprint=name))
    cloud.journal.record("intune", "identity renewed", device=device.id, thumbprint=name)


def is_due_for_renewal(cloud: Cloud, device: Device) -> bool:
    """Return whether a device's identity ends within the renewal period."""
    ends = x509.load_der_x509_certificate(device.certificate).not_valid_after_utc
    return ends - cloud.clock.now() <= timedelta(days=cloud.config.switches.device_certificate_renew_days)


def device_with(cloud: Cloud, certificate: x509.Certificate | None) -> Device | None:
    """Return the enrolled device a certificate belongs to, or None. The first use of a renewed one ends the old one."""
    if certificate is None or certificate.not_valid_after_utc < cloud.clock.now():
        return None
    return cloud.devices.by_key(thumbprint(certificate))


def device_of(request: web.Request) -> Device | None:
    """Return the enrolled device whose identity certificate the connection proved, or None."""
    return device_with(request.app[CLOUD], client_certificate(request))


def refused(cloud: Cloud, event: str, reason: str, **fields: object) -> None:
    """Write down why a device's message was refused."""
    cloud.journal.record("intune", event, outcome="refused", reason=reason, **fields)


COMPONENT: Final = Component("intune", lambda _, problem: web.Response(status=problem.status))
"""OMA-DM, Apple MDM and SCEP report an error by the HTTP status alone."""


async def message_of(request: web.Request) -> bytes:
    """Return the body of a device's message.

    Raises:
        MessageTooLarge: written down already.

    """
    length = request.content_length or 0
    if OBSERVER in request.app and length <= LARGEST_MESSAGE:
        # Whoever observes has read it already; it can be had again, the stream cannot.
        return await request.read()
    body = b"" if length > LARGEST_MESSAGE else await request.content.read(LARGEST_MESSAGE + 1)
    while body and len(body) <= LARGEST_MESSAGE and not request.content.at_eof():
        body += await request.content.read(LARGEST_MESSAGE + 1 - len(body))
    if max(length, len(body)) > LARGEST_MESSAGE:
        reason = f"expected a message of at most {LARGEST_MESSAGE} bytes, got {max(length, len(body))} or more"
        refused(request.app[CLOUD], "message refused", reason, path=request.path)
        raise MessageTooLarge
    return body
