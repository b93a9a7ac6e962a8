"""Windows enrolment (MDE2): discovery, policies, and WSTEP, which issues and renews identities.

Android agents use it too (sources.md#android-agent). What is refused gets a SOAP fault with a subcode of
sources.md#mde2-enrolment; its text is the reason. Renewal: sources.md#mdm-certificate-renewal.
"""

from collections.abc import Callable, Mapping
from typing import Final
from xml.etree.ElementTree import Element

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.emulator.boundary import Component, Problem
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, origin_of
from pfxlab.emulator.entra.bearer import TokenRefused, caller_of
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.intune import enrollment
from pfxlab.emulator.intune.enrollment import Facts, MessageTooLarge, NoUser
from pfxlab.emulator.pki import RequestRefused, thumbprint
from pfxlab.emulator.wire.enrollment import ANDROID_PATH, OMADM_PATH
from pfxlab.emulator.wire.omadm import mde2, soap
from pfxlab.emulator.wire.omadm.provisioning import Provisioning, document
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.emulator.wire.signed_data import SignatureProblem, verify

POLL: Final = ((3, 5), (15, 8), (480, 0))
"""(minutes, times): every 3 minutes for 15, every 15 for 2 hours, then every 8 hours: sources.md#check-in-times."""

_DAY: Final = 86400
_PLATFORM_OF_TYPE: Final = {row.mde2_device_type: row.name for row in PLATFORMS.values() if row.mde2_device_type}
_NEEDED: Final = ("DeviceType", "DeviceName", "OSVersion", "DeviceID")


class Refused(Exception):
    """An enrolment message that gets a fault."""

    def __init__(self, subcode: str, error_type: str, message: str) -> None:
        super().__init__(message)
        self.fault = soap.Fault(subcode, error_type, message)


def _caller(cloud: Cloud, request: web.Request, token: soap.Token | None) -> Caller:
    if token is None or token.value_type not in (mde2.USER_TOKEN, mde2.JWT):
        got = "none" if token is None else token.value_type
        raise Refused("Authentication", "InvalidSecurityToken", f"expected a user's token in the header, got {got}")
    try:
        bearer = mde2.decode_token(token)
        return caller_of(cloud, f"Bearer {bearer}", origin_of(request))
    except soap.SoapError as error:
        raise Refused("Authentication", "InvalidSecurityToken", str(error)) from None
    except TokenRefused as error:
        raise Refused("Authentication", error.code, error.reason) from None


def _facts(context: Mapping[str, str]) -> Facts:
    missing = [name for name in _NEEDED if not context.get(name)]
    if missing:
        raise Refused("MessageFormat", "EnrollmentDataInvalid", f"expected {', '.join(missing)} in AdditionalContext")
    platform = _PLATFORM_OF_TYPE.get(context["DeviceType"])
    if platform is None:
        text = f"expected DeviceType {', '.join(_PLATFORM_OF_TYPE)}, got {context['DeviceType'][:50]!r}"
        raise Refused("EnrollmentServer", "DeviceNotSupported", text)
    return Facts(
        platform=platform,
        device_name=context["DeviceName"][:256],
        os_version=context["OSVersion"][:64],
        model=context.get("Model", "")[:128],
        manufacturer=context.get("Manufacturer", "")[:128],
        serial_number=context.get("SerialNumber", "")[:128],
        udid=context["DeviceID"][:128],
    )


def _provisioning(cloud: Cloud, origin: str, device_id: str, certificate: bytes, platform: str) -> bytes:
    path = OMADM_PATH if platform == "windows" else ANDROID_PATH
    return document(
        Provisioning(
            device_id=device_id,
            certificate=certificate,
            server_url=f"{origin}{path}",
            roots=(cloud.tls_root,),
            poll=POLL,
            renew_period_days=cloud.config.switches.device_certificate_renew_days,
        )
    )


def _issue(cloud: Cloud, request: web.Request, token_request: mde2.TokenRequest, token: soap.Token | None) -> bytes:
    caller = _caller(cloud, request, token)
    facts, device_id = _facts(token_request.context), cloud.chance.guid()
    if token_request.value_type != mde2.PKCS10:
        raise Refused(
            "CertificateRequest", "CertificateRequest", f"expected PKCS#10, got {token_request.value_type[:100]}"
        )
    try:
        user_id = enrollment.owner_of(caller, user_affinity=token_request.context.get("EnrollmentType") != "Device")
        certificate = enrollment.issue(cloud, token_request.request, device_id)
    except NoUser as error:
        raise Refused("Authorization", "NoUser", str(error)) from None
    except RequestRefused as error:
        raise Refused("CertificateRequest", "CertificateRequest", str(error)) from None
    device = enrollment.register(cloud, (caller.tenant_id, user_id), device_id, certificate, facts)
    return _provisioning(cloud, origin_of(request), device_id, device.certificate, facts.platform)


def _renew(cloud: Cloud, request: web.Request, token_request: mde2.TokenRequest, _: soap.Token | None) -> bytes:
    device = enrollment.device_of(request)
    if device is None:
        text = "expected the TLS certificate of an enrolled device that has not expired; enrol again"
        raise Refused("Authentication", "NotEligibleToRenew", text)
    try:
        signed = verify(token_request.request)
        if thumbprint(signed.signer) != device.key_thumbprint:
            text = "expected a request signed by the identity of this connection, got another's"
            raise Refused("Authorization", "NotEligibleToRenew", text)
        certificate = enrollment.issue(cloud, signed.content, device.id)
    except (SignatureProblem, RequestRefused) as error:
        raise Refused("CertificateRequest", "CertificateRequest", str(error)) from None
    if thumbprint(certificate) == device.key_thumbprint or certificate.public_key() == signed.signer.public_key():
        raise Refused("CertificateRequest", "CertificateRequest", "expected a new key, got the present one")
    enrollment.renew(cloud, device, certificate)
    der = certificate.public_bytes(Encoding.DER)
    return _provisioning(cloud, origin_of(request), device.id, der, device.platform)


def _discovered(cloud: Cloud, request: web.Request, message: soap.Request) -> tuple[str, Element]:
    upn, version = mde2.read_discover(message.body)
    cloud.journal.record("intune", "enrolment discovered", upn=upn[:256], version=version[:16])
    origin = origin_of(request)
    found = mde2.Discovered(
        policy_url=f"{origin}{mde2.POLICY_PATH}",
        enrollment_url=f"{origin}{mde2.ENROLLMENT_PATH}",
        authentication_url=f"{origin}/common/oauth2/v2.0/authorize",
    )
    return mde2.DISCOVER_RESPONSE, mde2.discover_response(found)


def _policies(cloud: Cloud, request: web.Request, message: soap.Request) -> tuple[str, Element]:
    _caller(cloud, request, message.token)
    switches = cloud.config.switches
    days = switches.device_certificate_days, switches.device_certificate_renew_days
    policy = mde2.Policy(mde2.MINIMAL_KEY_LENGTH, *(number * _DAY for number in days))
    return mde2.GET_POLICIES_RESPONSE, mde2.get_policies_response(policy)


def _token(cloud: Cloud, request: web.Request, message: soap.Request) -> tuple[str, Element]:
    token_request = mde2.read_request_token(message.body)
    make = _issue if token_request.kind == mde2.ISSUE else _renew
    document = make(cloud, request, token_request, message.token)
    return mde2.REQUEST_TOKEN_RESPONSE, mde2.request_token_response(document)


_Action = Callable[[Cloud, web.Request, soap.Request], tuple[str, Element]]
_SERVICES: Final[dict[str, tuple[str, _Action]]] = {
    mde2.DISCOVERY_PATH: (mde2.DISCOVER, _discovered),
    mde2.POLICY_PATH: (mde2.GET_POLICIES, _policies),
    mde2.ENROLLMENT_PATH: (mde2.REQUEST_TOKEN, _token),
}


def _fault(cloud: Cloud, relates_to: str, refused: Refused) -> web.Response:
    enrollment.refused(cloud, "enrolment refused", refused.fault.message, code=refused.fault.error_type)
    body = soap.fault(relates_to, refused.fault, cloud.traces.guid())
    return web.Response(status=500, body=body, headers={"Content-Type": soap.CONTENT_TYPE})


def _problem(request: web.Request, problem: Problem) -> web.Response:
    """Return what no service answered as a fault; a message too large for one has no envelope to answer."""
    if problem.status == 413:
        return web.Response(status=413)
    subcode = "MessageFormat" if problem.status == 400 else "EnrollmentServer"
    body = soap.fault("", soap.Fault(subcode, problem.code, problem.text), request.app[CLOUD].traces.guid())
    return web.Response(status=500, body=body, headers={"Content-Type": soap.CONTENT_TYPE})


COMPONENT: Final = Component("intune", _problem)


async def handle(request: web.Request) -> web.Response:
    """POST of one SOAP message to one of the three services; what is refused gets a fault with status 500."""
    cloud, (action, serve) = request.app[CLOUD], _SERVICES[request.path]
    relates_to = ""
    try:
        message = soap.parse_request(await enrollment.message_of(request))
        relates_to = message.message_id
        if message.action != action:
            raise soap.SoapError(f"expected the action {action}, got {message.action[:200]}")
        with cloud.store.atomic():
            answer_action, body = serve(cloud, request, message)
    except MessageTooLarge:
        return web.Response(status=413)
    except soap.SoapError as error:
        return _fault(cloud, relates_to, Refused("MessageFormat", "MessageFormat", str(error)))
    except Refused as refused:
        return _fault(cloud, relates_to, refused)
    answer = soap.response(answer_action, relates_to, body)
    return web.Response(body=answer, headers={"Content-Type": soap.CONTENT_TYPE})


async def found(_: web.Request) -> web.Response:
    """GET: there is a discovery service here."""
    return web.Response()


def add_routes(app: web.Application) -> None:
    """Register discovery, policy and enrolment service."""
    app.router.add_get(mde2.DISCOVERY_PATH, found)
    for path in _SERVICES:
        app.router.add_post(path, handle)
