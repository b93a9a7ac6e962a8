"""The service's side of the connector contract (pfxlab.emulator.wire.connector): enrol, lease, complete, heartbeat."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.emulator.boundary import Component
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, client_certificate, origin_of
from pfxlab.emulator.entra.bearer import TokenRefused, caller_of
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR
from pfxlab.emulator.intune import connector_versions as versions
from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.pki import RequestRefused, key_digest, thumbprint
from pfxlab.emulator.store.connectors import Connector
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.edm import parse_binary
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.platforms import APPLE

T = TypeVar("T")
_POLL_SECONDS = 0.05
_ENROLMENT: Final = "connector-enrolment"
_ENROLMENT_SECONDS: Final = 24 * 3600


class Refused(Exception):
    """The service refuses a connector; `reason` is sent to it, since it is the customer's own server."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason


async def _body(request: web.Request, schema: str) -> dict[str, Any]:
    return _read(lambda data: contract.checked(schema, jsontext.decode(data)), await request.read())


def _read(reader: Callable[[bytes], T], data: bytes) -> T:
    try:
        return reader(data)
    except contract.ContractError as error:
        raise Refused(400, "ContractBroken", str(error)) from None
    except ValueError as error:
        raise Refused(400, "NotJson", f"expected a JSON body, got none ({error})") from None


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=jsontext.encode(body), status=status, content_type="application/json")


def _connector(request: web.Request) -> Connector:
    cloud, certificate = request.app[CLOUD], client_certificate(request)
    if certificate is None:
        raise Refused(401, "NoClientCertificate", "expected a connector's client certificate, got none")
    found = cloud.connectors.by_certificate(thumbprint(certificate))
    if found is None:
        raise _unknown()
    if certificate.not_valid_after_utc < cloud.clock.now():
        raise Refused(403, "CertificateExpired", f"the connector's certificate ended {certificate.not_valid_after_utc}")
    return found


def _unknown() -> Refused:
    return Refused(
        403, contract.UNKNOWN_CONNECTOR, "expected the certificate of an enrolled connector, got another; enrol again"
    )


async def _enroll(request: web.Request) -> web.Response:
    cloud = request.app[CLOUD]
    body = await _body(request, "enroll")
    try:
        caller = caller_of(cloud, request.headers.get("Authorization"), origin_of(request))
    except TokenRefused as error:
        raise Refused(401, error.code, error.reason) from None
    if not {INTUNE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR} & caller.directory_roles:
        raise Refused(403, "NotAdministrator", "expected the token of an Intune or Global Administrator")
    names = (caller.tenant_id, body["connectorName"], body["machineName"])
    enrolment = " ".join((*map(repr, names), _key_of(body["certificateRequest"])))
    earlier = _enrolled_by(cloud, enrolment)
    enrolled, most = cloud.connectors.of_tenant(caller.tenant_id), cloud.config.switches.connectors_per_tenant
    if earlier is None and len(enrolled) >= most:
        reason = f"expected at most {most} connectors in the tenant, got one more; delete one of them first"
        raise Refused(409, "TooManyConnectors", reason)
    connector_id, now = cloud.chance.guid() if earlier is None else earlier.id, cloud.clock.now()
    certificate = _issue(cloud, body["certificateRequest"], connector_id)
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
        ticket = {"tenant_id": caller.tenant_id, "app_id": "", "scope": "", "facts": {"id": connector.id}}
        cloud.tickets.remember(_ENROLMENT, enrolment, now, _ENROLMENT_SECONDS, **ticket)
        cloud.journal.record("intune", "connector enrolled", connector=connector.id, name=connector.display_name)
    return _json({"connectorId": connector.id, "certificate": certificate.public_bytes(Encoding.DER)}, 201)


def _enrolled_by(cloud: Cloud, enrolment: str) -> Connector | None:
    """Return the connector that an enrolment with the same names and key made within a day; it never got the answer.

    One that has been in contact since has its certificate: then it is another.
    """
    ticket = cloud.tickets.find(_ENROLMENT, enrolment)
    if ticket is None or ticket.expires <= cloud.clock.now():
        return None
    found = cloud.connectors.get(str((ticket.facts or {})["id"]))
    return found if found is not None and found.last_connection == found.enrolled else None


def _key_of(request: str) -> str:
    try:
        return key_digest(parse_binary(request))
    except (RequestRefused, ValueError) as error:
        raise Refused(400, "RequestRefused", str(error)) from None


def _issue(cloud: Cloud, request: str, connector_id: str) -> x509.Certificate:
    try:
        return cloud.connector_ca.issue(parse_binary(request), connector_id, cloud.clock.now())
    except (RequestRefused, ValueError) as error:
        raise Refused(400, "RequestRefused", str(error)) from None


async def _renew(request: web.Request) -> web.Response:
    """Give a connector its next certificate; the present one is good until the next is used for the first time."""
    cloud, connector = request.app[CLOUD], _connector(request)
    body = await _body(request, "renew")
    certificate = _issue(cloud, body["certificateRequest"], connector.id)
    with cloud.store.atomic():
        cloud.connectors.renewing(connector.id, thumbprint(certificate))
        cloud.journal.record("intune", "connector certificate renewed", connector=connector.id)
    return _json({"connectorId": connector.id, "certificate": certificate.public_bytes(Encoding.DER)})


def work_item(cloud: Cloud, row: Row) -> contract.WorkItem | None:
    """Return a leased delivery as work, or None when it cannot be worked on; it then has failed with the reason."""
    if row["certificate"] is None or row["padding_scheme"] is None:
        _give_up(cloud, row["id"], "the device or the imported certificate is gone")
        return None
    try:
        password = _ciphertext(row["encrypted_pfx_password"])
    except ValueError as error:
        _give_up(cloud, row["id"], f"PasswordNotBase64: encryptedPfxPassword, {error}")
        return None
    common = (
        row["id"],
        row["provider_name"],
        row["key_name"],
        PaddingScheme(row["padding_scheme"]),
        password,
        row["certificate"],
        row["key_thumbprint"],
    )
    if row["platform"] not in APPLE:
        return contract.PasswordRecryption(*common)
    template = mdm.pkcs12_payload_template(row["payload_uuid"], mdm.profile_identifier(row["id"]), row["thumbprint"])
    return contract.PayloadEncryption(*common, template, row["payload_uuid"], row["encrypted_pfx_blob"])


def _ciphertext(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        # White space is taken too, anything else refused in words.
        return parse_binary(text)


def _give_up(cloud: Cloud, delivery_id: str, reason: str) -> None:
    delivery = cloud.deliveries.get(delivery_id)
    if delivery is not None:
        deliveries.give_up(cloud, delivery, reason)


async def _lease(request: web.Request) -> web.Response:
    cloud, connector = request.app[CLOUD], _connector(request)
    body = await _body(request, "lease")
    deadline = asyncio.get_running_loop().time() + body["waitSeconds"]
    cloud.connectors.seen(connector.id, cloud.clock.now())
    while True:
        if cloud.connectors.get(connector.id) is None:
            # Deleted while it waited.
            raise _unknown()
        with cloud.store.atomic():
            lease_id, leased = deliveries.lease(cloud, connector.tenant_id, connector.id, body["max"])
            work = [item for item in (work_item(cloud, row) for row in leased) if item is not None]
        if work or asyncio.get_running_loop().time() >= deadline or cloud.stopping:
            break
        await asyncio.sleep(_POLL_SECONDS)
        if request.transport is None:
            # The connector has gone, as it does when it stops: nothing may be leased to nobody.
            raise web.HTTPNoContent
    seconds = cloud.config.switches.connector_lease_seconds
    answer = contract.write_work(lease_id if work else None, seconds, work)
    return web.Response(body=answer, content_type="application/json")


async def _complete(request: web.Request) -> web.Response:
    cloud, connector = request.app[CLOUD], _connector(request)
    done = _read(contract.read_completion, await request.read())
    with cloud.store.atomic():
        cloud.connectors.seen(connector.id, cloud.clock.now())
        answers = deliveries.complete(cloud, connector.id, done.lease_id, done.results)
    return _json({"results": answers})


async def _heartbeat(request: web.Request) -> web.Response:
    cloud, connector = request.app[CLOUD], _connector(request)
    body = await _body(request, "heartbeat")
    now = cloud.clock.now()
    status = versions.status(body["connectorVersion"], now)
    with cloud.store.atomic():
        cloud.connectors.note_contact(connector.id, body["connectorVersion"], now)
        cloud.connectors.logged(connector.id, body.get("events", []))
        if body["started"] or body.get("stopping"):
            deliveries.release(cloud, connector.id)
            event = "connector started" if body["started"] else "connector stopped"
            cloud.journal.record("intune", event, connector=connector.id, version=body["connectorVersion"])
        if body["started"] and status != "active":
            reason = f"version {body['connectorVersion']} is {status}, the latest is {versions.LATEST}"
            cloud.journal.record("intune", "connector version", outcome="failed", reason=reason, connector=connector.id)
    return _json({"versionStatus": status, "latestVersion": versions.LATEST})


def _with_refusals(
    handler: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Refused as refused:
            return _refuse(request, refused)

    return answer


def _refuse(request: web.Request, refused: Refused) -> web.Response:
    journal = request.app[CLOUD].journal
    journal.record("intune", "connector refused", outcome="refused", reason=refused.reason, code=refused.code)
    return _error(refused.status, refused.code, refused.reason)


def _error(status: int, code: str, reason: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": reason}}, status=status)


COMPONENT: Final = Component("intune", lambda _, problem: _error(problem.status, problem.code, problem.text))


def add_routes(app: web.Application) -> None:
    """Register the connector contract."""
    app.router.add_post(contract.ENROLL_PATH, _with_refusals(_enroll))
    app.router.add_post(contract.LEASE_PATH, _with_refusals(_lease))
    app.router.add_post(contract.COMPLETE_PATH, _with_refusals(_complete))
    app.router.add_post(contract.HEARTBEAT_PATH, _with_refusals(_heartbeat))
    app.router.add_post(contract.RENEW_PATH, _with_refusals(_renew))
