"""A device's side of MDE2: discovery, policies, and WSTEP for its identity and the renewal of it (ROBO).

Windows enrols this way, Android's agent too. Sources: sources.md#mde2-enrolment, sources.md#mdm-certificate-renewal,
sources.md#android-agent.
"""

import ssl
import uuid
from typing import Final
from xml.etree.ElementTree import Element

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from pfxlab.device_sim.errors import EnrollmentRefused
from pfxlab.device_sim.identity import Enrolled, Hardware, Management, MdmIdentity
from pfxlab.device_sim.keys import NewKey, generate
from pfxlab.emulator.wire.omadm import mde2, provisioning, soap
from pfxlab.emulator.wire.platforms import PLATFORMS

_SUBJECT: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ConfigMgrEnroll")])


async def _ask(
    http: aiohttp.ClientSession, url: str, action: str, body: Element, token: soap.Token | None = None
) -> Element:
    """Send one SOAP message and return the body of the answer."""
    # The answer repeats the id; on a connection with one question at a time any will do.
    message = soap.request(action, f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}", url, body, token)
    try:
        async with http.post(url, data=message, headers={"Content-Type": soap.CONTENT_TYPE}) as response:
            answer = soap.parse_response(await response.read())
    except (aiohttp.ClientError, OSError) as error:
        raise EnrollmentRefused(f"no answer from the enrolment server ({error})") from None
    except soap.SoapError as error:
        raise EnrollmentRefused(str(error)) from None
    if isinstance(answer, soap.Fault):
        raise EnrollmentRefused(f"{answer.error_type or answer.subcode}: {answer.message}")
    return answer


def _request(key: rsa.RSAPrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(_SUBJECT).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


def _read(answer: Element, key: rsa.RSAPrivateKey) -> tuple[MdmIdentity, provisioning.Provisioning]:
    try:
        given = provisioning.parse(mde2.read_request_token_response(answer))
        certificate = x509.load_der_x509_certificate(given.certificate)
    except (soap.SoapError, provisioning.ProvisioningError, ValueError) as error:
        raise EnrollmentRefused(str(error)) from None
    if certificate.public_key() != key.public_key():
        raise EnrollmentRefused("expected a certificate for the key of the request, got one for another key")
    return MdmIdentity(given.device_id, certificate, key), given


def _context(hardware: Hardware, *, user_affinity: bool) -> dict[str, str]:
    return {
        "UXInitiated": "true",
        "DeviceType": PLATFORMS[hardware.platform].mde2_device_type,
        "DeviceName": hardware.device_name,
        "OSVersion": hardware.os_version,
        "ApplicationVersion": hardware.os_version,
        "OSEdition": "4",
        "DeviceID": hardware.udid,
        "HWDevID": hardware.udid.replace("-", ""),
        "SerialNumber": hardware.serial_number,
        "Manufacturer": hardware.manufacturer,
        "Model": hardware.model,
        "EnrollmentType": "Full" if user_affinity else "Device",
        "Locale": "en-US",
        "RequestVersion": "5.0",
    }


async def enroll(
    service_url: str,
    ca_pem: bytes,
    user_token: str,
    upn: str,
    hardware: Hardware,
    *,
    new_key: NewKey = generate,
    user_affinity: bool = True,
) -> Enrolled:
    """Go the whole way from discovery to the provisioning document.

    Raises:
        EnrollmentRefused: the service's reason, or an answer that is not one.

    """
    tls = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        url = f"{service_url}{mde2.DISCOVERY_PATH}"
        answer = await _ask(http, url, mde2.DISCOVER, mde2.discover(upn, hardware.os_version))
        try:
            services = mde2.read_discover_response(answer)
            token = mde2.user_token(user_token)
            answer = await _ask(http, services.policy_url, mde2.GET_POLICIES, mde2.get_policies(), token)
            policy = mde2.read_get_policies_response(answer)
        except (soap.SoapError, UnicodeEncodeError) as error:
            raise EnrollmentRefused(str(error)) from None
        key = new_key()
        if key.key_size < policy.minimal_key_length:
            raise EnrollmentRefused(f"the policy wants {policy.minimal_key_length} bits, the key has {key.key_size}")
        context = _context(hardware, user_affinity=user_affinity)
        body = mde2.request_token(mde2.TokenRequest(mde2.ISSUE, mde2.PKCS10, _request(key), context))
        answer = await _ask(http, services.enrollment_url, mde2.REQUEST_TOKEN, body, token)
    identity, given = _read(answer, key)
    management = Management(
        server_url=given.server_url,
        poll=given.poll,
        renew_period_days=given.renew_period_days,
        enrollment_url=services.enrollment_url,
    )
    return Enrolled(identity, hardware, management)


def renewal_request(present: MdmIdentity, key: rsa.RSAPrivateKey) -> bytes:
    """Return PKCS#7 SignedData by the present identity around a PKCS#10 for a new key."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(_request(key))
    builder = builder.add_signer(present.certificate, present.key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


async def renew(enrolled: Enrolled, ca_pem: bytes, new_key: NewKey = generate) -> MdmIdentity:
    """Return the next identity: a request for a new key, signed and sent with the present identity.

    Raises:
        EnrollmentRefused: the service's reason, or an answer that is not one.

    """
    key, present = new_key(), enrolled.identity
    signed = renewal_request(present, key)
    body = mde2.request_token(mde2.TokenRequest(mde2.RENEW, mde2.PKCS7, signed))
    connector = aiohttp.TCPConnector(ssl=present.tls(ca_pem))
    async with aiohttp.ClientSession(connector=connector) as http:
        answer = await _ask(http, enrolled.management.enrollment_url, mde2.REQUEST_TOKEN, body)
    return _read(answer, key)[0]
