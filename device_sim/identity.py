"""A device's MDM identity: its own key, the certificate enrolment gave it, TLS with both; and where it is managed."""

import json
import os
import ssl
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim.certstore import write_private
from pfxlab.device_sim.errors import DeviceDamaged
from pfxlab.emulator.wire.files.damaged import UNREADABLE, reading
from pfxlab.emulator.wire.files.key_pem import read_identity, to_pem

_FILES: Final = ("device.json", "mdm-identity.pem")


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
        return to_pem(self.key, self.certificate)


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
    return any(os.path.lexists(folder / name) for name in _FILES) or (os.path.lexists(folder) and not folder.is_dir())


def platform_of(folder: Path) -> str:
    """Return the platform of the device kept in a folder, empty when its file does not name it."""
    try:
        return str(json.loads((folder / "device.json").read_bytes())["hardware"]["platform"])
    except (OSError, *UNREADABLE):
        return ""


def forget(folder: Path) -> None:
    """Forget what a device was enrolled as: it has left management, and a later start enrols it anew."""
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)


def load(folder: Path) -> Enrolled | None:
    """Return the device kept in a folder, or None; one of an earlier version, without `management`, enrols anew.

    Raises:
        DeviceDamaged: one of its two files is damaged or missing.

    """
    if not is_kept(folder):
        return None
    facts_file, key_file = (folder / name for name in _FILES)
    remedy = f"delete {folder} and enrol the device again"
    with reading(facts_file, "what the device is and where it is managed", remedy, DeviceDamaged):
        facts = json.loads(facts_file.read_text("utf-8"))
        if "management" not in facts:
            return None
        management = facts["management"]
        poll = tuple((int(minutes), int(times)) for minutes, times in management["poll"])
        hardware, managed = Hardware(**facts["hardware"]), Management(**{**management, "poll": poll})
        device_id = str(facts["deviceId"])
    with reading(key_file, "the device's key and certificate", remedy, DeviceDamaged):
        key, certificate = read_identity(key_file.read_bytes())
    return Enrolled(MdmIdentity(device_id, certificate, key), hardware, managed)
