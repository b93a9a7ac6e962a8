"""A device's MDM identity: its own key, the certificate enrolment gave it, TLS with both."""

import base64
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from device_sim.certstore import write_private
from device_sim.errors import EnrollmentRefused
from emulator.wire.enrollment import ENROLL_PATH


@dataclass(frozen=True)
class Hardware:
    """What a device says about itself."""

    platform: str
    device_name: str
    os_version: str
    model: str
    manufacturer: str
    serial_number: str
    udid: str


@dataclass(frozen=True, repr=False)
class MdmIdentity:
    """Key and certificate of the management channel; the key decrypts what the service sends."""

    device_id: str
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def tls(self, ca_pem: bytes) -> ssl.SSLContext:
        """Return a client context that trusts `ca_pem` and shows this identity."""
        context = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
        # The ssl module reads key and certificate from files only.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "identity.pem"
            write_private(path, self.pem())
            context.load_cert_chain(path)
        return context

    def pem(self) -> bytes:
        """Return key and certificate as PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ) + self.certificate.public_bytes(serialization.Encoding.PEM)


def save(folder: Path, identity: MdmIdentity, hardware: Hardware) -> None:
    """Keep an enrolled device in a folder."""
    write_private(folder / "mdm-identity.pem", identity.pem())
    facts = {"deviceId": identity.device_id, "hardware": vars(hardware)}
    write_private(folder / "device.json", json.dumps(facts, indent=2).encode())


def load(folder: Path) -> tuple[MdmIdentity, Hardware] | None:
    """Return the device kept in a folder, or None."""
    if not (folder / "device.json").exists():
        return None
    facts = json.loads((folder / "device.json").read_text())
    pem = (folder / "mdm-identity.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"expected an RSA key in {folder.name}/mdm-identity.pem, got {type(key).__name__}")
    certificate = x509.load_pem_x509_certificate(pem)
    return MdmIdentity(facts["deviceId"], certificate, key), Hardware(**facts["hardware"])


async def enroll(service_url: str, ca_pem: bytes, user_token: str, hardware: Hardware) -> MdmIdentity:
    """Make a key, send its request with the user's token, return the identity.

    Raises:
        EnrollmentRefused: the service's reason.

    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ConfigMgrEnroll")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    body = {
        "certificateRequest": base64.b64encode(request.public_bytes(serialization.Encoding.DER)).decode("ascii"),
        "platform": hardware.platform,
        "deviceName": hardware.device_name,
        "osVersion": hardware.os_version,
        "model": hardware.model,
        "manufacturer": hardware.manufacturer,
        "serialNumber": hardware.serial_number,
        "udid": hardware.udid,
    }
    tls = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
    headers = {"Authorization": f"Bearer {user_token}"}
    async with (
        aiohttp.ClientSession(service_url) as session,
        session.post(ENROLL_PATH, json=body, headers=headers, ssl=tls) as response,
    ):
        answer = await response.json()
    if response.status != 201:
        raise EnrollmentRefused(f"{answer['error']['code']}: {answer['error']['message']}")
    certificate = x509.load_der_x509_certificate(base64.b64decode(answer["certificate"]))
    if certificate.public_key() != key.public_key():
        raise EnrollmentRefused("expected a certificate for the key of the request, got one for another key")
    return MdmIdentity(answer["deviceId"], certificate, key)
