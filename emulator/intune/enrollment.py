"""Enrolment of devices: signs their identity certificate and knows them again by it."""

import json

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from emulator.cloud import Cloud
from emulator.edge import CLOUD, client_certificate, origin_of
from emulator.graph.dispatch import caller_of
from emulator.graph.errors import GraphError
from emulator.intune.deliveries import reconcile
from emulator.pki import RequestRefused, thumbprint
from emulator.store.devices import Device
from emulator.wire import enrollment
from emulator.wire.edm import format_binary, parse_binary
from emulator.wire.schemas import first_problem


def _refuse(cloud: Cloud, status: int, code: str, reason: str) -> web.Response:
    cloud.journal.record("intune", "enrolment refused", outcome="refused", reason=reason, code=code)
    return web.json_response({"error": {"code": code, "message": reason}}, status=status)


async def enroll(request: web.Request) -> web.Response:
    """POST: a signed-in user enrols a device; the answer carries the device's id and identity certificate."""
    cloud = request.app[CLOUD]
    try:
        caller = caller_of(cloud, request.headers.get("Authorization"), origin_of(request))
        body = json.loads(await request.read())
    except GraphError as error:
        return _refuse(cloud, 401, error.code, error.reason)
    except ValueError:
        return _refuse(cloud, 400, "NotJson", "expected a JSON body")
    if caller.user_id is None:
        return _refuse(
            cloud, 403, "NoUser", "expected a user's token, got an application's: a device belongs to a user"
        )
    problem = first_problem(enrollment.SCHEMA, body)
    if problem is not None:
        return _refuse(cloud, 400, "EnrollmentDataInvalid", problem)
    device_id, now = cloud.chance.guid(), cloud.clock.now()
    try:
        certificate = cloud.device_ca.issue(parse_binary(body["certificateRequest"]), device_id, now)
    except (RequestRefused, ValueError) as error:
        return _refuse(cloud, 400, "CertificateRequest", str(error))
    device = Device(
        id=device_id,
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        platform=body["platform"],
        device_name=body["deviceName"],
        os_version=body["osVersion"],
        model=body["model"],
        manufacturer=body["manufacturer"],
        serial_number=body["serialNumber"],
        udid=body["udid"],
        certificate=certificate.public_bytes(Encoding.DER),
        key_thumbprint=thumbprint(certificate),
        enrolled=now,
        last_sync=now,
    )
    with cloud.store.atomic():
        cloud.devices.save(device)
        cloud.journal.record("intune", "device enrolled", device=device.id, platform=device.platform)
        reconcile(cloud, device)
    answer = {"deviceId": device.id, "certificate": format_binary(device.certificate)}
    return web.json_response(answer, status=201)


def device_of(request: web.Request) -> Device | None:
    """Return the enrolled device whose identity certificate the connection proved, or None."""
    cloud, certificate = request.app[CLOUD], client_certificate(request)
    if certificate is None or certificate.not_valid_after_utc < cloud.clock.now():
        return None
    return cloud.devices.by_key(thumbprint(certificate))


def add_routes(app: web.Application) -> None:
    """Register enrolment."""
    app.router.add_post(enrollment.ENROLL_PATH, enroll)
