"""Input of the connector's benchmarks and load runs: keys, encrypted passwords, requests, a queue."""

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pfxlab.connector_sim.keys.padding import encrypt
from pfxlab.connector_sim.keys.software import PROVIDER_NAME, SoftwareKey
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.store.pfx_certificates import PfxCertificate
from pfxlab.emulator.wire.apple.mdm import pkcs12_payload_template
from pfxlab.emulator.wire.connector import PasswordRecryption, PayloadEncryption, WorkItem
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.platforms import APPLE
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab

_SCHEME: Final = PaddingScheme.oaepSha512
_PFX_BYTES: Final = 3072
_DEVICES: Final = 50
_KEY: Final = (PROVIDER_NAME, KEY_NAME)


def _certificate(key: rsa.RSAPrivateKey, number: int) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"device {number} TEST ONLY")])
    now = LabClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1000 + number)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER)


def password(number: int) -> bytes:
    """Return the PFX password of the ciphertext with that number."""
    return f"password {number:09d}".encode()


class Material:
    """Keys, ciphertexts and device certificates, created once before anything is timed."""

    def __init__(self, key_bits: int = 2048) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=key_bits)
        self.device_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.devices = [_certificate(self.device_key, number) for number in range(_DEVICES)]
        self.software = SoftwareKey(KEY_NAME, self.key)

    def ciphertexts(self, count: int) -> list[bytes]:
        """Return `count` distinct encrypted passwords."""
        public = self.key.public_key()
        return [encrypt(public, password(number), _SCHEME) for number in range(count)]

    def open(self, _provider: str, _name: str) -> SoftwareKey:
        """Return the only key."""
        return self.software


def _guid(number: int, copy: int = 0) -> str:
    return f"{number:08x}-0000-4000-8000-{copy:012x}"


def windows(material: Material, ciphertexts: list[bytes], fanout: int = 1) -> list[WorkItem]:
    """Return requests for Windows devices, which hold only the password; each ciphertext goes to `fanout` devices."""
    return [
        PasswordRecryption(
            _guid(number, copy),
            PROVIDER_NAME,
            KEY_NAME,
            _SCHEME,
            text,
            material.devices[(number + copy) % _DEVICES],
            "t",
        )
        for number, text in enumerate(ciphertexts)
        for copy in range(fanout)
    ]


def apple(material: Material, ciphertexts: list[bytes]) -> list[WorkItem]:
    """Return requests for Apple devices, which hold the whole payload with a PFX of typical size."""
    uuid, pfx = "11111111-2222-4333-8444-555555555555", os.urandom(_PFX_BYTES)
    template = pkcs12_payload_template(uuid, "id", "name")
    return [
        PayloadEncryption(
            _guid(number),
            PROVIDER_NAME,
            KEY_NAME,
            _SCHEME,
            text,
            material.devices[number % _DEVICES],
            "t",
            template,
            uuid,
            pfx,
        )
        for number, text in enumerate(ciphertexts)
    ]


def requests(material: Material, ciphertexts: list[bytes], platforms: Mapping[str, int]) -> list[WorkItem]:
    """Return requests for devices of platforms by weight, mixed evenly."""
    weights = [platform for platform, weight in platforms.items() for _ in range(weight)]
    by_kind = {True: apple(material, ciphertexts), False: windows(material, ciphertexts)}
    return [by_kind[weights[n % len(weights)] in APPLE][n] for n in range(len(ciphertexts))]


def queue_up(
    lab: Lab, material: Material, ciphertexts: list[bytes], users: int = 100, *, first: int = 0, named: str = "u",
    platforms: Sequence[str] = ("windows",),
) -> None:  # fmt: skip
    """Write requests straight into a lab's queue: devices and records of many users, each record for one device.

    `first`: the first record's number, for a second call; `named`: the prefix of the users' ids.
    """
    cloud, tenant, now = lab.cloud, lab.operator.credentials.tenant_id, lab.clock.now()
    # Made before there are devices: a lab takes the authority of devices that it has for lost, not for new.
    _ = cloud.device_ca
    pfx, purpose = b"\x30" * _PFX_BYTES, IntendedPurpose.smimeEncryption
    with cloud.store.atomic():
        for number in range(users):
            cloud.devices.save(
                Device(
                    f"{named}d{number}", tenant, f"{named}{number}", platforms[number % len(platforms)], "d", "10",
                    "m", "m", "s", "u", material.devices[number % _DEVICES], f"t{number}", now, now,
                )
            )  # fmt: skip
        for number, text in enumerate(ciphertexts, first):
            user, record = f"{named}{number % users}", f"r{number}"
            cloud.certificates.save(
                PfxCertificate(
                    record, tenant, user, record, user, purpose, now, now, "Microsoft Software Key Storage Provider",
                    KEY_NAME, _SCHEME, pfx, base64.b64encode(text).decode(), now, now,
                )
            )  # fmt: skip
            cloud.deliveries.save(
                Delivery(
                    f"{number:08x}-0000-4000-8000-000000000000", tenant, f"{named}d{number % users}", user, "p",
                    record, record, purpose, State.REQUESTED, "u", now, now,
                )
            )  # fmt: skip
