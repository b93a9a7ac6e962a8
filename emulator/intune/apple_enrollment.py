"""Apple enrolment: a signed profile for a signed-in user, an identity by SCEP, the device known from Authenticate on.

Sources: sources.md#apple-enrolment, sources.md#apple-commands (access rights), sources.md#apple-signed-profiles,
sources.md#scep, sources.md#signed-by-intune.
"""

import base64
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, origin_of
from pfxlab.emulator.entra.bearer import TokenRefused, caller_of
from pfxlab.emulator.intune import enrollment
from pfxlab.emulator.intune.enrollment import Facts, MessageTooLarge, NoUser
from pfxlab.emulator.pki import Authority, RequestRefused, challenge_of, thumbprint
from pfxlab.emulator.store.devices import Device, Expected
from pfxlab.emulator.store.tickets import Ticket
from pfxlab.emulator.wire import scep
from pfxlab.emulator.wire.apple import enrollment as wire
from pfxlab.emulator.wire.apple.mdm import Plist
from pfxlab.emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH, APPLE_ENROLL_PATH, APPLE_SCEP_PATH

_TICKET: Final = "apple-enrolment"
_TICKET_SECONDS: Final = 3600


def signed(authority: Authority, profile: bytes) -> bytes:
    """Return a profile as CMS SignedData, signed by the authority that devices' identities come from."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(profile)
    builder = builder.add_signer(authority.certificate, authority.key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def profile_for(cloud: Cloud, origin: str, tenant_id: str, user_id: str, device_id: str) -> bytes:
    """Return a signed enrolment profile; its challenge is good once, for an hour, and for this device id only."""
    ticket = {"tenant_id": tenant_id, "app_id": "", "scope": "", "user_id": user_id}
    challenge = cloud.tickets.issue(_TICKET, cloud.wall.now(), _TICKET_SECONDS, **ticket, facts={"id": device_id})
    profile = wire.EnrollmentProfile(
        scep_url=f"{origin}{APPLE_SCEP_PATH}",
        challenge=challenge,
        common_name=device_id,
        checkin_url=f"{origin}{APPLE_CHECKIN_PATH}",
        server_url=f"{origin}{APPLE_COMMAND_PATH}",
        root=cloud.tls_root,
        uuid=cloud.chance.guid().upper(),
        sign_message=cloud.config.switches.sign_message != "off",
    )
    return signed(cloud.device_ca, wire.serialize(profile))


async def download(request: web.Request) -> web.Response:
    """GET with a user's token: the enrolment profile. `?userAffinity=none` makes one for a device without user."""
    cloud = request.app[CLOUD]
    try:
        caller = caller_of(cloud, request.headers.get("Authorization"), origin_of(request))
        user_id = enrollment.owner_of(caller, user_affinity=request.query.get("userAffinity") != "none")
    except (TokenRefused, NoUser) as error:
        status, code = (401, error.code) if isinstance(error, TokenRefused) else (403, "NoUser")
        reason = error.reason if isinstance(error, TokenRefused) else str(error)
        enrollment.refused(cloud, "enrolment refused", reason, code=code)
        return web.json_response({"error": {"code": code, "message": reason}}, status=status)
    with cloud.store.atomic():
        body = profile_for(cloud, origin_of(request), caller.tenant_id, user_id, cloud.chance.guid())
    return web.Response(body=body, content_type=wire.CONTENT_TYPE)


async def scep_service(request: web.Request) -> web.Response:
    """GET and POST of the SCEP operations GetCACaps, GetCACert and PKIOperation."""
    cloud, operation = request.app[CLOUD], request.query.get("operation")
    if operation == "GetCACaps":
        return web.Response(text=scep.CAPABILITIES)
    if operation == "GetCACert":
        der = cloud.device_ca.certificate.public_bytes(Encoding.DER)
        return web.Response(body=der, content_type=scep.CA_CONTENT_TYPE)
    if operation != "PKIOperation":
        reason = f"expected GetCACaps, GetCACert or PKIOperation, got {(operation or '')[:50]!r}"
        enrollment.refused(cloud, "SCEP request refused", reason)
        return web.Response(status=400)
    try:
        answer = _pki_operation(cloud, await _message(request))
    except MessageTooLarge:
        return web.Response(status=413)
    except ValueError as error:
        enrollment.refused(cloud, "SCEP request refused", str(error))
        return web.Response(status=400)
    return web.Response(body=answer, content_type=scep.CONTENT_TYPE)


async def _message(request: web.Request) -> bytes:
    if request.method == "GET":
        return base64.b64decode(request.query.get("message", ""), validate=True)
    return await enrollment.message_of(request)


def _pki_operation(cloud: Cloud, data: bytes) -> bytes:
    authority = cloud.device_ca
    csr = scep.read_pkcs_req(data, authority.certificate, authority.key)
    with cloud.store.atomic():
        issued = _issued(cloud, csr)
    if isinstance(issued, scep.FailInfo):
        return scep.cert_rep_failure(csr, issued, authority.certificate, authority.key)
    return scep.cert_rep(csr, issued, authority.certificate, authority.key)


def _issued(cloud: Cloud, csr: scep.PkcsReq) -> x509.Certificate | scep.FailInfo:
    """Return an identity for a request whose challenge is one of ours, or why there is none."""
    try:
        ticket = _ticket(cloud, challenge_of(csr.request))
        device_id = str((ticket.facts or {})["id"])
        certificate = enrollment.issue(cloud, csr.request, device_id)
    except _NoTicket as error:
        enrollment.refused(cloud, "SCEP request refused", str(error))
        return scep.FailInfo.BAD_MESSAGE_CHECK
    except RequestRefused as error:
        enrollment.refused(cloud, "SCEP request refused", str(error))
        return scep.FailInfo.BAD_REQUEST
    cloud.tickets.spend(ticket)
    device = cloud.devices.get(device_id)
    if device is not None:
        enrollment.renew(cloud, device, certificate)
    else:
        cloud.devices.expect(Expected(thumbprint(certificate), device_id, ticket.tenant_id, ticket.user_id or ""))
    return certificate


class _NoTicket(Exception):
    pass


def _ticket(cloud: Cloud, challenge: str) -> Ticket:
    ticket = cloud.tickets.find(_TICKET, challenge)
    if ticket is None:
        raise _NoTicket("expected the challenge of an enrolment profile, got another or one that was used")
    if ticket.expires <= cloud.wall.now():
        raise _NoTicket(f"expected a fresh challenge, got one that expired at {ticket.expires:%Y-%m-%d %H:%M} UTC")
    return ticket


def expected_with(cloud: Cloud, certificate: x509.Certificate | None) -> Expected | None:
    """Return the enrolment a certificate was issued for, of a device that has not sent Authenticate yet."""
    if certificate is None or certificate.not_valid_after_utc < cloud.clock.now():
        return None
    return cloud.devices.expected(thumbprint(certificate))


def authenticated(cloud: Cloud, expected: Expected, certificate: x509.Certificate, message: Plist) -> Device:
    """Register a device by its Authenticate."""

    def text(key: str, most: int = 128) -> str:
        return str(message.get(key) or "")[:most]

    is_mac = text("ProductName").startswith("Mac") or text("ModelName").startswith("Mac")
    facts = Facts(
        platform="macos" if is_mac else "ios",
        device_name=text("DeviceName", 256) or text("SerialNumber"),
        os_version=text("OSVersion", 64),
        model=text("ModelName") or text("Model"),
        manufacturer="Apple",
        serial_number=text("SerialNumber"),
        udid=text("UDID"),
    )
    cloud.devices.arrived(expected)
    owner = expected.tenant_id, expected.user_id
    return enrollment.register(cloud, owner, expected.device_id, certificate, facts)


def add_routes(app: web.Application) -> None:
    """Register the enrolment profile and SCEP."""
    app.router.add_get(APPLE_ENROLL_PATH, download)
    app.router.add_get(APPLE_SCEP_PATH, scep_service)
    app.router.add_post(APPLE_SCEP_PATH, scep_service)
