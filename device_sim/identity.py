"""A device's MDM identity: its own key, the certificate enrolment gave it, TLS with both; and where it is managed."""

import json
import ssl
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim.certstore import write_private


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


@dataclass(frozen=True)
class Management:
    """Settings from enrolment: the server, when to check in and to renew, and what the server may do.

    `poll`: (minutes between check-ins, how many of them, 0 for ever); empty where pushes are waited for.
    """

    server_url: str
    checkin_url: str = ""
    topic: str = ""
    access_rights: int = 0
    sign_message: bool = False
    poll: tuple[tuple[int, int], ...] = ()
    renew_period_days: int = 0
    enrollment_url: str = ""

    def at(self, origin: str) -> "Management":
        """Return the same with the server at another origin: a lab may have another port after a restart."""

        def moved(url: str) -> str:
            return urlsplit(origin)._replace(path=urlsplit(url).path).geturl() if url else url

        return replace(
            self,
            server_url=moved(self.server_url),
            checkin_url=moved(self.checkin_url),
            enrollment_url=moved(self.enrollment_url),
        )


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


@dataclass(frozen=True, repr=False)
class Enrolled:
    """An enrolled device: what it is, who it is, where it is managed."""

    identity: MdmIdentity
    hardware: Hardware
    management: Management = field(default_factory=lambda: Management(""))

    def with_identity(self, identity: MdmIdentity) -> "Enrolled":
        """Return the device with a renewed identity."""
        return replace(self, identity=identity)


def save(folder: Path, enrolled: Enrolled) -> None:
    """Keep an enrolled device in a folder."""
    write_private(folder / "mdm-identity.pem", enrolled.identity.pem())
    facts = {
        "deviceId": enrolled.identity.device_id,
        "hardware": vars(enrolled.hardware),
        "management": vars(enrolled.management),
    }
    write_private(folder / "device.json", json.dumps(facts, indent=2).encode())


def is_kept(folder: Path) -> bool:
    """Return whether a folder holds an enrolled device."""
    return (folder / "device.json").exists()


def forget(folder: Path) -> None:
    """Forget what a device was enrolled as: it has left management, and a later start enrols it anew."""
    for name in ("device.json", "mdm-identity.pem"):
        (folder / name).unlink(missing_ok=True)


def load(folder: Path) -> Enrolled | None:
    """Return the device kept in a folder, or None; one of an earlier version, without `management`, enrols anew."""
    if not is_kept(folder):
        return None
    facts = json.loads((folder / "device.json").read_text())
    if "management" not in facts:
        return None
    pem = (folder / "mdm-identity.pem").read_bytes()
    # A key this device wrote itself: checking it again would cost more than a check-in.
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"expected an RSA key in {folder.name}/mdm-identity.pem, got {type(key).__name__}")
    management = facts["management"]
    poll = tuple((int(minutes), int(times)) for minutes, times in management["poll"])
    identity = MdmIdentity(facts["deviceId"], x509.load_pem_x509_certificate(pem), key)
    return Enrolled(identity, Hardware(**facts["hardware"]), Management(**{**management, "poll": poll}))
