"""Which PKCS#12 files versions of iOS and macOS open; made by the OpenSSL command line: sources.md#pkcs12-on-apple."""

import subprocess
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.cms import envelop
from pfxlab.device_sim.apple.pkcs12 import is_modern, policy_of
from pfxlab.device_sim.apple.profile import InstallRefused, install
from pfxlab.device_sim.certstore import CertStore
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.files.key_pem import to_pem
from tests.behaviour import behaviour
from tests.conftest import self_signed

PASSWORD: Final = "correct horse"
UUID: Final = "11111111-2222-4333-8444-555555555555"
OPTIONS: Final = {
    "classic": ["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
    "modern": [],
    "modern key only": ["-certpbe", "PBE-SHA1-3DES", "-keypbe", "AES-256-CBC", "-macalg", "sha1"],
    "modern MAC only": ["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha256"],
}
"""Name → options of `openssl pkcs12 -export`; without any OpenSSL 3 uses PBES2 with AES-256 and a SHA-256 MAC."""


def container(
    folder: Path,
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    kind: str,
    chain: x509.Certificate | None = None,
) -> bytes:
    """Return a PKCS#12 as OpenSSL makes it."""
    pem = serialization.Encoding.PEM
    (folder / "pair.pem").write_bytes(to_pem(key) + certificate.public_bytes(pem))
    command = ["openssl", "pkcs12", "-export", "-in", str(folder / "pair.pem"), "-passout", f"pass:{PASSWORD}"]
    if chain is not None:
        (folder / "chain.pem").write_bytes(chain.public_bytes(pem))
        command += ["-certfile", str(folder / "chain.pem")]
    return subprocess.run([*command, *OPTIONS[kind]], check=True, capture_output=True).stdout


@pytest.fixture
def identity(other_key: rsa.RSAPrivateKey) -> MdmIdentity:
    """Return a device's MDM identity."""
    return MdmIdentity("device", self_signed(other_key), other_key)


async def outcome(identity: MdmIdentity, pfx: bytes, platform: str, version: str) -> list[int]:
    """Return the codes of the ErrorChain that a device reports, an empty list when it installs."""
    payloads = mdm.fill_pkcs12_payload(mdm.pkcs12_payload_template(UUID, "a", "n"), UUID, pfx, PASSWORD)
    recipient = identity.certificate.public_bytes(serialization.Encoding.DER)
    data = mdm.encrypted_profile("a", UUID, "n", envelop(payloads, recipient))
    store = CertStore()
    try:
        await install(data, identity, store, {}, policy_of(platform, version))
    except InstallRefused as refused:
        assert store.identities() == []
        return [link["ErrorCode"] for link in refused.chain]
    assert len(store.identities()) == 1
    return []


WRONG_PASSWORD: Final = [mdm.INSTALLATION_FAILURE, mdm.INVALID_PASSWORD]
TOO_MANY: Final = [mdm.INSTALLATION_FAILURE, mdm.TOO_MANY_CERTIFICATES]


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize(
    ("platform", "version", "opens_modern"),
    [
        ("ios", "15.8.2", False), ("ios", "17.7", False), ("ios", "18.0", True), ("ios", "26.1", True),
        ("macos", "14.4.1", False), ("macos", "15.1", True), ("ios", "beta", False),
    ],
)  # fmt: skip
@behaviour("PKCS#12 with AES", "iOS", "before iOS 18 reported as a wrong password: 9000", source="pkcs12-on-apple")
@behaviour("PKCS#12 with AES", "macOS", "before macOS 15 reported as a wrong password: 9000", source="pkcs12-on-apple")
async def test_old_versions_call_new_algorithms_a_wrong_password(
    tmp_path: Path, identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, kind: str,
    platform: str, version: str, opens_modern: bool,
) -> None:  # fmt: skip
    """Containers with 3DES and SHA-1 open everywhere; any newer algorithm is 9000 before iOS 18 and macOS 15."""
    pfx = container(tmp_path, rsa_key, certificate, kind)
    expected = [] if opens_modern or kind == "classic" else WRONG_PASSWORD
    assert await outcome(identity, pfx, platform, version) == expected


@pytest.mark.parametrize(("platform", "version", "expected"), [("ios", "18.1", TOO_MANY), ("macos", "15.1", [])])
@behaviour("chain inside the PFX", "iOS", "refused: 9001", source="apple-pkcs12-payload")
@behaviour("chain inside the PFX", "macOS", "accepted", source="chain-on-a-mac")
async def test_only_a_mac_installs_a_chain(
    tmp_path: Path, identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey,
    certificate: x509.Certificate, platform: str, version: str, expected: list[int],
) -> None:  # fmt: skip
    """A container with a CA certificate beside the identity fails with 9001 on an iPhone and installs on a Mac."""
    pfx = container(tmp_path, rsa_key, certificate, "classic", self_signed(other_key, "ca"))
    assert await outcome(identity, pfx, platform, version) == expected


def test_unreadable_container_is_not_called_modern() -> None:
    """Unreadable bytes pass this table; they fail when they are opened."""
    assert not is_modern(b"rubbish")
