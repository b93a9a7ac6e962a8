"""The service's side of the connector contract (emulator.wire.connector): enrol, lease, complete, heartbeat."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from emulator.cloud import Cloud
from emulator.edge import CLOUD, client_certificate, origin_of
from emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR
from emulator.graph.dispatch import caller_of
from emulator.graph.errors import GraphError
from emulator.intune import deliveries
from emulator.intune.delivery import Trigger
from emulator.pki import RequestRefused, thumbprint
from emulator.store.deliveries import Delivery
from emulator.store.devices import Connector
from emulator.wire import apple
from emulator.wire import connector as contract
from emulator.wire.edm import format_binary, parse_binary

_POLL_SECONDS = 0.05


class Refused(Exception):
    """The service refuses a connector; `reason` is told to it, since it is the customer's own server."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason


async def _body(request: web.Request, schema: str) -> dict[str, Any]:
    try:
        return contract.checked(schema, json.loads(await request.read()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "NotJson", f"expected a JSON body, got none ({error})") from None
    except contract.ContractError as error:
        raise Refused(400, "ContractBroken", str(error)) from None


def _connector(request: web.Request) -> Connector:
    cloud, certificate = request.app[CLOUD], client_certificate(request)
    if certificate is None:
        raise Refused(401, "NoClientCertificate", "expected a connector's client certificate, got none")
    found = cloud.connectors.by_certificate(thumbprint(certificate))
    if found is None:
        raise Refused(403, "UnknownConnector", "expected the certificate of an enrolled connector, got another")
    if certificate.not_valid_after_utc < cloud.clock.now():
        raise Refused(403, "CertificateExpired", f"the connector's certificate ended {certificate.not_valid_after_utc}")
    return found


async def _enroll(request: web.Request) -> web.Response:
    cloud = request.app[CLOUD]
    body = await _body(request, "enroll")
    try:
        caller = caller_of(cloud, request.headers.get("Authorization"), origin_of(request))
    except GraphError as error:
        raise Refused(401, error.code, error.reason) from None
    if not {INTUNE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR} & caller.directory_roles:
        raise Refused(403, "NotAdministrator", "expected the token of an Intune or Global Administrator")
    connector_id, now = cloud.chance.guid(), cloud.clock.now()
    try:
        certificate = cloud.connector_ca.issue(parse_binary(body["certificateRequest"]), connector_id, now)
    except (RequestRefused, ValueError) as error:
        raise Refused(400, "RequestRefused", str(error)) from None
    connector = Connector(
        id=connector_id,
        tenant_id=caller.tenant_id,
        display_name=body["connectorName"],
        machine_name=body["machineName"],
        version=body["connectorVersion"],
        enrolled=now,
        last_connection=now,
        certificate_thumbprint=thumbprint(certificate),
    )
    with cloud.store.atomic():
        cloud.connectors.save(connector)
        cloud.journal.record("intune", "connector enrolled", connector=connector.id, name=connector.display_name)
    answer = {
        "connectorId": connector.id,
        "certificate": format_binary(certificate.public_bytes(Encoding.DER)),
    }
    return web.json_response(answer, status=201)


def _work_item(cloud: Cloud, delivery: Delivery) -> contract.WorkItem | None:
    """Return a leased delivery as work, or None when it cannot be worked on; it then has failed with the reason."""
    device = cloud.devices.get(delivery.device_id)
    record = cloud.certificates.get(delivery.tenant_id, delivery.certificate_id)
    if device is None or record is None:
        deliveries.apply(cloud, delivery, Trigger.GAVE_UP, "the device or the imported certificate is gone")
        return None
    try:
        password = parse_binary(record.encrypted_pfx_password)
    except ValueError as error:
        deliveries.apply(cloud, delivery, Trigger.GAVE_UP, f"PasswordNotBase64: encryptedPfxPassword, {error}")
        return None
    common: dict[str, Any] = {
        "request_id": delivery.id,
        "provider_name": record.provider_name,
        "key_name": record.key_name,
        "padding_scheme": record.padding_scheme,
        "encrypted_pfx_password": password,
        "device_certificate": device.certificate,
        "device_key_thumbprint": device.key_thumbprint,
    }
    if device.platform not in ("ios", "macos"):
        return contract.PasswordRecryption(**common)
    identifier = apple.profile_identifier(delivery.id)
    return contract.PayloadEncryption(
        **common,
        plist_template=apple.pkcs12_payload_template(delivery.payload_uuid, identifier, record.thumbprint),
        cert1_payload_uuid=delivery.payload_uuid,
        encrypted_pfx_blob=record.encrypted_pfx_blob,
    )


async def _lease(request: web.Request) -> web.Response:
    cloud, connector = request.app[CLOUD], _connector(request)
    body = await _body(request, "lease")
    deadline = asyncio.get_running_loop().time() + body["waitSeconds"]
    cloud.connectors.seen(connector.id, cloud.clock.now())
    while True:
        with cloud.store.atomic():
            lease_id, leased = deliveries.lease(cloud, connector.tenant_id, connector.id, body["max"])
            work = [item for item in (_work_item(cloud, delivery) for delivery in leased) if item is not None]
        if work or asyncio.get_running_loop().time() >= deadline or cloud.stopping:
            break
        await asyncio.sleep(_POLL_SECONDS)
    answer = {
        "leaseId": lease_id if work else None,
        "leaseSeconds": cloud.config.switches.connector_lease_seconds,
        "items": [contract.item_to_json(item) for item in work],
    }
    return web.json_response(answer)


async def _complete(request: web.Request) -> web.Response:
    cloud, connector = request.app[CLOUD], _connector(request)
    body = await _body(request, "complete")
    results = [contract.result_from_json(result) for result in body["results"]]
    with cloud.store.atomic():
        cloud.connectors.seen(connector.id, cloud.clock.now())
        answers = deliveries.complete(cloud, connector.id, body["leaseId"], results)
    return web.json_response({"results": answers})


async def _heartbeat(request: web.Request) -> web.Response:
    cloud, connector = request.app[CLOUD], _connector(request)
    body = await _body(request, "heartbeat")
    with cloud.store.atomic():
        contact = {"version": body["connectorVersion"], "last_connection": cloud.clock.now()}
        cloud.connectors.save(Connector(**{**vars(connector), **contact}))
        if body["started"]:
            deliveries.release(cloud, connector.id)
    return web.json_response({})


def _told(
    handler: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Refused as refused:
            cloud = request.app[CLOUD]
            cloud.journal.record(
                "intune", "connector refused", outcome="refused", reason=refused.reason, code=refused.code
            )
            error = {"code": refused.code, "message": refused.reason}
            return web.json_response({"error": error}, status=refused.status)

    return answer


def add_routes(app: web.Application) -> None:
    """Register the connector contract."""
    app.router.add_post(contract.ENROLL_PATH, _told(_enroll))
    app.router.add_post(contract.LEASE_PATH, _told(_lease))
    app.router.add_post(contract.COMPLETE_PATH, _told(_complete))
    app.router.add_post(contract.HEARTBEAT_PATH, _told(_heartbeat))
