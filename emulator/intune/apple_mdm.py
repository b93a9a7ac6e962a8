"""Apple: the server's side of MDM check-in and the command queue. Sources: reference devices B1 to B4.

A profile is believed installed only when CertificateList shows the certificate itself.
"""

import hashlib

from aiohttp import web

from emulator.cloud import Cloud
from emulator.edge import CLOUD
from emulator.intune import deliveries, portal_errors
from emulator.intune.delivery import State, Trigger
from emulator.intune.enrollment import device_of
from emulator.store.deliveries import Delivery, MdmCommand
from emulator.store.devices import Device
from emulator.wire import apple
from emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH

_ON_DEVICE = (State.OFFERED, State.INSTALLED)


def _queue(cloud: Cloud, device: Device, request_type: str, delivery: Delivery | None = None) -> None:
    delivery_id = None if delivery is None else delivery.id
    if not cloud.commands.pending(device.id, request_type, delivery_id):
        command_id = cloud.chance.guid().upper()
        cloud.commands.queue(MdmCommand(command_id, device.id, delivery_id, request_type, cloud.clock.now()))


def begin(cloud: Cloud, device: Device) -> None:
    """Idle: reconcile, request what is lacking, queue what can be done."""
    cloud.devices.seen(device.id, cloud.clock.now())
    known = deliveries.reconcile(cloud, device)
    if any(delivery.state in _ON_DEVICE for delivery in known):
        _queue(cloud, device, "CertificateList")
    deliveries.ask(cloud, known, device)
    for delivery in known:
        if delivery.state is State.READY:
            _queue(cloud, device, "InstallProfile", delivery)
        elif delivery.state is State.REMOVING:
            _queue(cloud, device, "RemoveProfile", delivery)


def next_command(cloud: Cloud, device: Device, *, skip_not_now: bool) -> apple.Plist | None:
    """Return the next command to send, or None; commands whose delivery has moved on are dropped."""
    while (command := cloud.commands.next(device.id, skip_not_now=skip_not_now)) is not None:
        body = _command_body(cloud, command)
        if body is not None:
            cloud.commands.set_state(command.id, "sent")
            return {"CommandUUID": command.id, "Command": {"RequestType": command.request_type, **body}}
        cloud.commands.set_state(command.id, "done")
    return None


def _command_body(cloud: Cloud, command: MdmCommand) -> apple.Plist | None:
    if command.request_type == "CertificateList":
        return {}
    delivery = cloud.deliveries.get(command.delivery_id or "")
    if delivery is None:
        return None
    identifier = apple.profile_identifier(delivery.id)
    if command.request_type == "RemoveProfile":
        return {"Identifier": identifier} if delivery.state is State.REMOVING else None
    if delivery.state not in (State.READY, State.OFFERED) or delivery.payload is None:
        return None
    deliveries.apply(cloud, delivery, Trigger.SENT)
    name = f"S/MIME certificate {delivery.thumbprint[:8]}"
    return {"Payload": apple.encrypted_profile(identifier, delivery.id.upper(), name, delivery.payload)}


def _describe(report: apple.Plist) -> str:
    chain = report.get("ErrorChain") or []
    links = [f"{link.get('ErrorDomain')} {link.get('ErrorCode')} {link.get('USEnglishDescription')}" for link in chain]
    return "Apple: " + (" ← ".join(links) or str(report.get("Status")))


def _error_code(report: apple.Plist) -> int:
    """Return the portal's number of the innermost cause."""
    codes = [link.get("ErrorCode") for link in report.get("ErrorChain") or []]
    numbers = [code for code in codes if isinstance(code, int)]
    return portal_errors.of_apple(numbers[-1]) if numbers else portal_errors.REMEDIATION_FAILED


def take_report(cloud: Cloud, device: Device, command: MdmCommand, report: apple.Plist) -> None:
    """Settle a command by the device's answer; an answer that comes twice changes nothing the second time."""
    status = report.get("Status")
    if status == "NotNow":
        cloud.commands.set_state(command.id, "notnow")
        return
    if command.state == "done":
        return
    cloud.commands.set_state(command.id, "done")
    delivery = cloud.deliveries.get(command.delivery_id or "")
    if command.request_type == "CertificateList" and status == "Acknowledged":
        _compare(cloud, device, report)
    elif command.request_type == "InstallProfile" and delivery is not None:
        if status == "Acknowledged":
            _queue(cloud, device, "CertificateList")
        elif delivery.state is State.OFFERED:
            deliveries.apply(cloud, delivery, Trigger.REFUSED, _describe(report), error_code=_error_code(report))
    elif command.request_type == "RemoveProfile" and delivery is not None and _removed(delivery, report):
        deliveries.apply(cloud, delivery, Trigger.REMOVAL_CONFIRMED)


def _removed(delivery: Delivery, report: apple.Plist) -> bool:
    gone = report.get("Status") == "Acknowledged" or _has_code(report, apple.PROFILE_NOT_FOUND)
    return gone and delivery.state is State.REMOVING


def _has_code(report: apple.Plist, code: int) -> bool:
    return any(link.get("ErrorCode") == code for link in report.get("ErrorChain") or [])


def _compare(cloud: Cloud, device: Device, report: apple.Plist) -> None:
    """Confirm what the device lists as identities, note what it lacks."""
    held = {
        hashlib.sha1(entry["Data"], usedforsecurity=False).hexdigest()
        for entry in report.get("CertificateList", ())
        if entry.get("IsIdentity") and isinstance(entry.get("Data"), bytes)
    }
    for delivery in cloud.deliveries.of_device(device.id):
        if delivery.state not in _ON_DEVICE or cloud.commands.pending(device.id, "InstallProfile", delivery.id):
            continue
        present = delivery.thumbprint.lower() in held
        if present and delivery.state is State.OFFERED:
            deliveries.apply(cloud, delivery, Trigger.CONFIRMED)
        elif not present and delivery.state is State.OFFERED:
            reason = f"Apple: profile acknowledged, but no identity with thumbprint {delivery.thumbprint} is listed"
            deliveries.apply(cloud, delivery, Trigger.REFUSED, reason, error_code=portal_errors.REMEDIATION_FAILED)
        elif not present:
            missing = deliveries.apply(cloud, delivery, Trigger.MISSING)
            deliveries.ask(cloud, [missing], device)


def _read(cloud: Cloud, device: Device, data: bytes) -> apple.Plist | None:
    """Return a device's message, or None for one that is none or another device's."""
    try:
        message = apple.parse_dict(data)
        if message.get("UDID") != device.udid:
            raise apple.PlistError(f"expected the UDID {device.udid} of this identity, got {message.get('UDID')!r}")
    except apple.PlistError as error:
        cloud.journal.record("intune", "MDM message refused", outcome="refused", reason=str(error), device=device.id)
        return None
    return message


def answer_check_in(cloud: Cloud, device: Device, data: bytes) -> bool:
    """Take Authenticate, TokenUpdate or CheckOut; return whether it was one."""
    message = _read(cloud, device, data)
    if message is None:
        return False
    kind = message.get("MessageType")
    if kind not in ("Authenticate", "TokenUpdate", "CheckOut"):
        reason = f"expected Authenticate, TokenUpdate or CheckOut, got {kind!r}"
        cloud.journal.record("intune", "MDM message refused", outcome="refused", reason=reason, device=device.id)
        return False
    with cloud.store.atomic():
        if kind == "CheckOut":
            deliveries.device_gone(cloud, device)
        cloud.journal.record("intune", f"MDM {kind}", device=device.id)
    return True


def answer(cloud: Cloud, device: Device, data: bytes) -> bytes | None:
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
        body = next_command(cloud, device, skip_not_now=message.get("Status") != "Idle")
    return b"" if body is None else apple.serialize(body)


async def check_in(request: web.Request) -> web.Response:
    """PUT of Authenticate, TokenUpdate or CheckOut."""
    device = device_of(request)
    if device is None:
        return web.Response(status=401)
    taken = answer_check_in(request.app[CLOUD], device, await request.read())
    return web.Response(status=200 if taken else 400)


async def connect(request: web.Request) -> web.Response:
    """PUT of a status; the answer is the next command, or nothing at all."""
    device = device_of(request)
    if device is None:
        return web.Response(status=401)
    body = answer(request.app[CLOUD], device, await request.read())
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
