"""An Apple device's side of enrolment: the profile from the portal, an identity by SCEP.

Sources: sources.md#apple-enrolment, sources.md#apple-commands (access rights), sources.md#scep.
"""

import secrets
import ssl
from datetime import UTC, datetime
from typing import Final

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID, NameOID

from pfxlab.device_sim.errors import EnrollmentRefused
from pfxlab.device_sim.identity import Enrolled, Hardware, Management, MdmIdentity
from pfxlab.device_sim.keys import NewKey, generate
from pfxlab.emulator.wire import scep
from pfxlab.emulator.wire.apple import enrollment, mdm
from pfxlab.emulator.wire.apple.enrollment import EnrollmentProfile
from pfxlab.emulator.wire.apple.plist import PlistError
from pfxlab.emulator.wire.enrollment import APPLE_ENROLL_PATH
from pfxlab.emulator.wire.signed_data import SignatureProblem, verify

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FAR_AHEAD: Final = datetime(2049, 12, 31, tzinfo=UTC)


def read_profile(data: bytes) -> EnrollmentProfile:
    """Return what a signed enrolment profile says.

    Raises:
        EnrollmentRefused: not signed, a broken signature, or not an enrolment profile.

    """
    try:
        return enrollment.read(mdm.parse_dict(verify(data).content))
    except (SignatureProblem, PlistError) as error:
        raise EnrollmentRefused(str(error)) from None


def management_of(profile: EnrollmentProfile) -> Management:
    """Return where a profile lets a device be managed."""
    return Management(
        server_url=profile.server_url,
        checkin_url=profile.checkin_url,
        topic=profile.topic,
        access_rights=profile.access_rights,
        sign_message=profile.sign_message,
    )


async def _answer_of(http: aiohttp.ClientSession, method: str, url: str, **more: object) -> bytes:
    try:
        async with http.request(method, url, **more) as response:  # type: ignore[arg-type]
            body = await response.read()
    except (aiohttp.ClientError, OSError) as error:
        raise EnrollmentRefused(f"no answer from the enrolment server ({error})") from None
    if response.status != 200:
        place = url.partition("?")[0]
        raise EnrollmentRefused(f"expected HTTP 200 from {place}, got {response.status}: {body[:300]!r}")
    return body


def _self_signed(name: x509.Name, key: rsa.RSAPrivateKey) -> x509.Certificate:
    # It only carries the key through one exchange: RFC 8894, section 2.3. Nobody looks at its validity.
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_LONG_AGO)
        .not_valid_after(_FAR_AHEAD)
        .sign(key, hashes.SHA256())
    )


async def identity_by_scep(http: aiohttp.ClientSession, profile: EnrollmentProfile, new_key: NewKey) -> MdmIdentity:
    """Return the identity a profile's SCEP payload leads to, for a key that never leaves the device.

    Raises:
        EnrollmentRefused: no answer, a refusal, or a certificate for another key.

    """
    key, url = new_key(), profile.scep_url
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name)])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, profile.challenge.encode())
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    try:
        der = await _answer_of(http, "GET", f"{url}?operation=GetCACert")
        authority, signer = x509.load_der_x509_certificate(der), _self_signed(name, key)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        transaction, nonce = digest.finalize().hex(), secrets.token_bytes(16)
        message = scep.pkcs_req(request, authority, signer, key, transaction, nonce)
        headers = {"Content-Type": scep.CONTENT_TYPE}
        answer = await _answer_of(http, "POST", f"{url}?operation=PKIOperation", data=message, headers=headers)
        certificate = scep.read_cert_rep(answer, authority, signer, key, transaction, nonce)
    except (scep.ScepError, ValueError) as error:
        raise EnrollmentRefused(str(error)) from None
    if certificate.public_key() != key.public_key():
        raise EnrollmentRefused("expected a certificate for the key of the request, got one for another key")
    return MdmIdentity(profile.common_name, certificate, key)


async def enroll(
    service_url: str,
    ca_pem: bytes,
    user_token: str,
    hardware: Hardware,
    *,
    new_key: NewKey = generate,
    user_affinity: bool = True,
) -> Enrolled:
    """Download the enrolment profile and get the identity; AppleDevice.announce then tells the server.

    Raises:
        EnrollmentRefused: the service's reason, or an answer that is not one.

    """
    tls = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
    url = f"{service_url}{APPLE_ENROLL_PATH}{'' if user_affinity else '?userAffinity=none'}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        headers = {"Authorization": f"Bearer {user_token}"}
        profile = read_profile(await _answer_of(http, "GET", url, headers=headers))
        identity = await identity_by_scep(http, profile, new_key)
    return Enrolled(identity, hardware, management_of(profile))
