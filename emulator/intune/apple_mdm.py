"""Apple: the server's side of MDM check-in and the command queue.

A profile is believed installed only when CertificateList shows the certificate itself. Sources:
sources.md#apple-check-in, sources.md#apple-command-loop, sources.md#apple-not-now, sources.md#apple-commands.
"""

import hashlib
from typing import Final

from aiohttp import web
from cryptography import x509

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, origin_of
from pfxlab.emulator.intune import deliveries, portal_errors
from pfxlab.emulator.intune.apple_enrollment import authenticated, expected_with, profile_for, signed
from pfxlab.emulator.intune.apple_signature import Replayed, identity_of
from pfxlab.emulator.intune.enrollment import MessageTooLarge, device_with, is_due_for_renewal, message_of, refused
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State, Trigger
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.store.mdm_commands import MdmCommand
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.apple.enrollment import IDENTIFIER
from pfxlab.emulator.wire.apple.plist import PlistError
from pfxlab.emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH

_LARGEST_CODE: Final = 2**31
_ON_DEVICE = (State.OFFERED, State.INSTALLED)


def _queue(cloud: Cloud, device: Device, request_type: str, delivery: Delivery | None = None) -> None:
    delivery_id = None if delivery is None else delivery.id
    if not cloud.commands.pending(device.id, request_type, delivery_id):
        command_id = cloud.chance.guid().upper()
        cloud.commands.queue(MdmCommand(command_id, device.id, delivery_id, request_type, cloud.clock.now()))


def begin(cloud: Cloud, device: Device) -> None:
    """Idle: reconcile, request what is lacking, queue what can be done; an identity that ends soon is renewed."""
    cloud.devices.seen(device.id, cloud.clock.now())
    cloud.commands.forget_done(device.id)
    leaving = cloud.devices.leaving(device.id)
    if leaving is not None:
        # First of all: what else was queued is worth nothing to a device that leaves.
        cloud.commands.forget(device.id)
        _queue(cloud, device, "EraseDevice" if leaving == "wipe" else "RemoveProfile")
        return
    if is_due_for_renewal(cloud, device):
        _queue(cloud, device, "InstallProfile")
    known = deliveries.reconcile(cloud, device)
    if any(delivery.state in _ON_DEVICE for delivery in known):
        _queue(cloud, device, "CertificateList")
    deliveries.ask(cloud, known, device)
    for delivery in known:
        if delivery.state is State.READY:
            _queue(cloud, device, "InstallProfile", delivery)
        elif delivery.state is State.REMOVING:
            _queue(cloud, device, "RemoveProfile", delivery)


def next_command(cloud: Cloud, device: Device, origin: str, *, skip_not_now: bool) -> mdm.Plist | None:
    """Return the next command to send, or None; commands whose delivery has moved on are dropped."""
    while (command := cloud.commands.next(device.id, skip_not_now=skip_not_now)) is not None:
        body = _command_body(cloud, device, command, origin)
        if body is not None:
            cloud.commands.set_state(command.id, "sent")
            return {"CommandUUID": command.id, "Command": {"RequestType": command.request_type, **body}}
        cloud.commands.set_state(command.id, "done")
    return None


def _command_body(cloud: Cloud, device: Device, command: MdmCommand, origin: str) -> mdm.Plist | None:
    if command.delivery_id is None:
        return _command_for_device(cloud, device, command, origin)
    delivery = cloud.deliveries.get(command.delivery_id or "")
    if delivery is None:
        return None
    identifier = mdm.profile_identifier(delivery.id)
    if command.request_type == "RemoveProfile":
        return {"Identifier": identifier} if delivery.state is State.REMOVING else None
    if delivery.state not in (State.READY, State.OFFERED) or delivery.payload is None:
        return None
    deliveries.apply(cloud, delivery, Trigger.SENT)
    name = f"S/MIME certificate {delivery.thumbprint[:8]}"
    profile = mdm.encrypted_profile(identifier, delivery.id.upper(), name, delivery.payload)
    # Encryption is inside, the signature outside: sources.md#apple-encrypted-profiles.
    return {"Payload": signed(cloud.device_ca, profile) if cloud.config.switches.sign_profiles == "on" else profile}


def _command_for_device(cloud: Cloud, device: Device, command: MdmCommand, origin: str) -> mdm.Plist:
    """Return the body of a command that concerns no certificate."""
    if command.request_type == "InstallProfile":
        return {"Payload": profile_for(cloud, origin, device.tenant_id, device.user_id, device.id)}
    return {"Identifier": IDENTIFIER} if command.request_type == "RemoveProfile" else {}


def _describe(report: mdm.Plist) -> str:
    links = [
        f"{link.get('ErrorDomain')} {link.get('ErrorCode')} {link.get('USEnglishDescription')}"
        for link in mdm.dictionaries(report, "ErrorChain")
    ]
    return "Apple: " + (" ← ".join(links) or str(report.get("Status")))


def _error_code(report: mdm.Plist) -> int:
    """Return the portal's number of the innermost cause."""
    codes = [link.get("ErrorCode") for link in mdm.dictionaries(report, "ErrorChain")]
    numbers = [code for code in codes if isinstance(code, int) and abs(code) < _LARGEST_CODE]
    return portal_errors.of_apple(numbers[-1]) if numbers else portal_errors.REMEDIATION_FAILED


def take_report(cloud: Cloud, device: Device, command: MdmCommand, report: mdm.Plist) -> None:
    """Settle a command by the device's answer; an answer that comes twice changes nothing the second time."""
    status = report.get("Status")
    if status == "NotNow":
        cloud.commands.set_state(command.id, "notnow")
        return
    if command.state == "done":
        return
    cloud.commands.set_state(command.id, "done")
    delivery = cloud.deliveries.get(command.delivery_id or "")
    leaves = command.request_type == "EraseDevice" or (command.request_type == "RemoveProfile" and delivery is None)
    if leaves and command.delivery_id is None and status == "Acknowledged":
        deliveries.device_gone(cloud, device)
    elif command.request_type == "CertificateList" and status == "Acknowledged":
        _compare(cloud, device, report)
    elif command.request_type == "InstallProfile" and delivery is not None:
        if status == "Acknowledged":
            _queue(cloud, device, "CertificateList")
        elif delivery.state is State.OFFERED:
            deliveries.apply(cloud, delivery, Trigger.REFUSED, _describe(report), error_code=_error_code(report))
    elif command.request_type == "RemoveProfile" and delivery is not None and _removed(delivery, report):
        deliveries.apply(cloud, delivery, Trigger.REMOVAL_CONFIRMED)


def _removed(delivery: Delivery, report: mdm.Plist) -> bool:
    gone = report.get("Status") == "Acknowledged" or _has_code(report, mdm.PROFILE_NOT_FOUND)
    return gone and delivery.state is State.REMOVING


def _has_code(report: mdm.Plist, code: int) -> bool:
    return any(link.get("ErrorCode") == code for link in mdm.dictionaries(report, "ErrorChain"))


def _compare(cloud: Cloud, device: Device, report: mdm.Plist) -> None:
    """Confirm what the device lists as identities, note what it lacks."""
    held = {
        hashlib.sha1(entry["Data"], usedforsecurity=False).hexdigest()
        for entry in mdm.dictionaries(report, "CertificateList")
        if entry.get("IsIdentity") and isinstance(entry.get("Data"), bytes)
    }
    for delivery in cloud.deliveries.of_device(device.id):
        present = delivery.thumbprint.lower() in held
        if delivery.state not in _ON_DEVICE or (present and delivery.state is State.INSTALLED):
            continue
        if cloud.commands.pending(device.id, "InstallProfile", delivery.id):
            continue
        if present and delivery.state is State.OFFERED:
            deliveries.apply(cloud, delivery, Trigger.CONFIRMED)
        elif not present and delivery.state is State.OFFERED:
            reason = f"Apple: profile acknowledged, but no identity with thumbprint {delivery.thumbprint} is listed"
            deliveries.apply(cloud, delivery, Trigger.REFUSED, reason, error_code=portal_errors.REMEDIATION_FAILED)
        elif not present:
            missing = deliveries.apply(cloud, delivery, Trigger.MISSING)
            deliveries.ask(cloud, [missing], device)


def _read(cloud: Cloud, device: Device, data: bytes) -> mdm.Plist | None:
    """Return a device's message, or None for one that is none or another device's."""
    try:
        message = mdm.parse_dict(data)
        if message.get("UDID") != device.udid:
            raise PlistError(f"expected the UDID {device.udid} of this identity, got {message.get('UDID')!r:.80}")
    except PlistError as error:
        refused(cloud, "MDM message refused", str(error), device=device.id)
        return None
    return message


def authenticate(cloud: Cloud, certificate: x509.Certificate | None, data: bytes) -> bool | None:
    """Take the Authenticate of a device that enrols; return whether it was one, None for an identity nobody expects."""
    expected = expected_with(cloud, certificate)
    if expected is None or certificate is None:
        return None
    try:
        message = mdm.parse_dict(data)
        if message.get("MessageType") != "Authenticate" or not message.get("UDID"):
            raise PlistError(f"expected Authenticate with a UDID first, got {message.get('MessageType')!r:.80}")
    except PlistError as error:
        refused(cloud, "MDM message refused", str(error), device=expected.device_id)
        return False
    with cloud.store.atomic():
        device = authenticated(cloud, expected, certificate, message)
        cloud.journal.record("intune", "MDM Authenticate", device=device.id)
    return True


def answer_check_in(cloud: Cloud, device: Device, data: bytes) -> bool:
    """Take Authenticate, TokenUpdate or CheckOut; return whether it was one."""
    message = _read(cloud, device, data)
    if message is None:
        return False
    kind = message.get("MessageType")
    if kind not in ("Authenticate", "TokenUpdate", "CheckOut"):
        reason = f"expected Authenticate, TokenUpdate or CheckOut, got {kind!r:.80}"
        refused(cloud, "MDM message refused", reason, device=device.id)
        return False
    with cloud.store.atomic():
        if kind == "CheckOut":
            deliveries.device_gone(cloud, device)
        cloud.journal.record("intune", f"MDM {kind}", device=device.id)
    return True


def answer(cloud: Cloud, device: Device, data: bytes, origin: str) -> bytes | None:
    """Return the next command after a device's status, empty when there is none; None to what is no status."""
    message = _read(cloud, device, data)
    if message is None:
        return None
    with cloud.store.atomic():
        if message.get("Status") == "Idle":
            begin(cloud, device)
        else:
            command = cloud.commands.get(str(message.get("CommandUUID")))
            if command is not None and command.device_id == device.id:
                take_report(cloud, device, command, message)
        body = next_command(cloud, device, origin, skip_not_now=message.get("Status") != "Idle")
    return b"" if body is None else mdm.serialize(body)


async def check_in(request: web.Request) -> web.Response:
    """PUT of Authenticate, TokenUpdate or CheckOut."""
    cloud = request.app[CLOUD]
    try:
        data = await message_of(request)
    except MessageTooLarge:
        return web.Response(status=413)
    try:
        certificate = identity_of(request, data)
    except Replayed:
        # Not 401, which ends the enrolment (sources.md#apple-command-loop).
        return web.Response(status=400)
    device = device_with(cloud, certificate)
    taken = authenticate(cloud, certificate, data) if device is None else answer_check_in(cloud, device, data)
    return web.Response(status=401 if taken is None else 200 if taken else 400)


async def connect(request: web.Request) -> web.Response:
    """PUT of a status; the answer is the next command, or nothing at all."""
    cloud = request.app[CLOUD]
    try:
        data = await message_of(request)
    except MessageTooLarge:
        return web.Response(status=413)
    try:
        device = device_with(cloud, identity_of(request, data))
    except Replayed:
        return web.Response(status=400)
    if device is None:
        return web.Response(status=401)
    body = answer(cloud, device, data, origin_of(request))
    cloud.conversations.note(device.id, cloud.clock.now(), data, body or b"")
    if body is None:
        return web.Response(status=400)
    if not body:
        return web.Response()
    return web.Response(body=body, headers={"Content-Type": "application/xml; charset=UTF-8"})


def add_routes(app: web.Application) -> None:
    """Register check-in and command endpoints; devices PUT, some simulators POST."""
    for method in ("PUT", "POST"):
        app.router.add_route(method, APPLE_CHECKIN_PATH, check_in)
        app.router.add_route(method, APPLE_COMMAND_PATH, connect)
