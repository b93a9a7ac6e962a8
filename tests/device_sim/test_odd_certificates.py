"""Certificates with odd fields: what a device installs it can read again, and what it could not it refuses by name."""

import base64
from pathlib import Path

import pytest
from asn1crypto import parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pfxlab.connector_sim.errors import PfxProblem
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.device_sim.apple.profile import InstalledProfile, InstallRefused, install
from pfxlab.device_sim.certstore import CertStore
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.device_sim.omadm.pfx_cert_install import PfxCertInstall
from pfxlab.emulator.wire.omadm import pfx_cert_install as csp
from pfxlab.emulator.wire.omadm.syncml import Atomic, Item, Verb
from pfxlab.scenarios.mail.authority import export_pfx
from tests.conftest import self_signed
from tests.device_sim.test_profile import PASSWORD, profile

FIELDS = ("version", "serial", "algorithm", "issuer", "validity", "subject", "key", "extensions")
BIT_STRING, OCTET_STRING, OID, UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET, TELETEX, UTF8 = (
    3,
    4,
    6,
    23,
    24,
    16,
    17,
    20,
    12,
)
ENDS = parser.emit(0, 0, UTC_TIME, b"400101000000Z")


def tlv(tag: int, *content: bytes, context: bool = False) -> bytes:
    """Return a value of a universal tag, or of a context's."""
    constructed = context or tag in (SEQUENCE, SET)
    return bytes(parser.emit(2 if context else 0, int(constructed), tag, b"".join(content)))


def parts(data: bytes) -> list[bytes]:
    """Return the values in a constructed one."""
    content, found = parser.parse(data)[4], []
    while content:
        length = parser.peek(content)
        found.append(content[:length])
        content = content[length:]
    return found


def validity(begins: str, ends: bytes = ENDS) -> bytes:
    """Return a validity that begins at a GeneralizedTime."""
    return tlv(SEQUENCE, tlv(GENERALIZED_TIME, begins.encode()), ends)


def common_name(tag: int, value: bytes) -> bytes:
    """Return a name of one CN of that type."""
    return tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, tlv(OID, b"\x55\x04\x03"), tlv(tag, value))))


def extensions(*values: bytes) -> bytes:
    """Return extensions that are all called key usage."""
    usage = [tlv(SEQUENCE, tlv(OID, b"\x55\x1d\x0f"), tlv(OCTET_STRING, value)) for value in values]
    return tlv(3, tlv(SEQUENCE, *usage), context=True)


def odd(key: rsa.RSAPrivateKey, field: str, value: bytes) -> x509.Certificate:
    """Return a certificate of a key with one field in other bytes, signed as it then is."""
    whole = parts(self_signed(key).public_bytes(serialization.Encoding.DER))
    fields = dict(zip(FIELDS, parts(whole[0]), strict=True)) | {field: value}
    signed = tlv(SEQUENCE, *fields.values())
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return x509.load_der_x509_certificate(tlv(SEQUENCE, signed, whole[1], tlv(BIT_STRING, b"\0" + signature)))


UNREADABLE = {
    "not before in year 0": ("validity", validity("00000101000000Z"), "NotBefore cannot be read (year 0"),
    "not after in year 0": (
        "validity", tlv(SEQUENCE, ENDS, tlv(GENERALIZED_TIME, b"00000101000000Z")), "NotAfter cannot be read (year 0",
    ),
    "subject in Latin-1": ("subject", common_name(TELETEX, b"\xe4"), "subject cannot be read"),
    "subject of bits": ("subject", common_name(BIT_STRING, b"\0ab"), "subject cannot be read"),
    "issuer in Latin-1": ("issuer", common_name(TELETEX, b"\xe4"), "issuer cannot be read"),
    "key usage twice": ("extensions", extensions(b"\3\2\5\xa0", b"\3\2\5\xa0"), "extensions cannot be read (Duplicate"),
    "key usage of other bytes": ("extensions", extensions(b"\4\1a"), "extensions cannot be read"),
    "key usage of no bytes": ("extensions", extensions(b""), "extensions cannot be read"),
}  # fmt: skip
READABLE = {
    "year 1": ("validity", validity("00010101000000Z")),
    "generalized time": ("validity", validity("20260101000000Z")),
    "begins after its end": ("validity", validity("20410101000000Z")),
    "serial number 0": ("serial", b"\2\1\0"),
    "negative serial number": ("serial", b"\2\1\xff"),
    "long serial number": ("serial", b"\2\x28" + b"\1" * 40),
    "no subject": ("subject", tlv(SEQUENCE)),
    "no issuer": ("issuer", tlv(SEQUENCE)),
    "empty name": ("subject", common_name(UTF8, b"")),
    "null in a name": ("subject", common_name(UTF8, b"a\0b")),
    "no extensions": ("extensions", tlv(3, tlv(SEQUENCE), context=True)),
}
pytestmark = pytest.mark.filterwarnings("ignore")  # cryptography warns of some of these


@pytest.fixture
def identity(other_key: rsa.RSAPrivateKey) -> MdmIdentity:
    """Return a device's MDM identity."""
    return MdmIdentity("device", self_signed(other_key), other_key)


async def on_windows(tree: PfxCertInstall, pfx: bytes) -> str:
    """Install a PFX on a PC and return its Status."""
    base = f"{csp.USER_ROOT}/6F9619FF-8B86-D011-B42D-00CF4FC964FF"
    nodes = {"KeyLocation": "3", "PFXCertPassword": PASSWORD, "PFXCertBlob": base64.b64encode(pfx).decode()}
    verbs = [Verb("Add", str(n), (Item(target=f"{base}/{node}", data=value),)) for n, (node, value) in enumerate(nodes.items())]  # fmt: skip
    assert (await tree.atomic(Atomic("1", tuple(verbs))))[0].code == "200"
    return tree.tree[base]["Status"]


@pytest.mark.parametrize("name", UNREADABLE)
async def test_unreadable_certificate_is_refused(
    tmp_path: Path, identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, name: str
) -> None:
    """A certificate with a field that could not be read later is refused by phone, PC and import, and nothing is kept."""
    field, value, said = UNREADABLE[name]
    pfx = export_pfx("n", rsa_key, odd(rsa_key, field, value), PASSWORD)
    with pytest.raises(PfxProblem, match="devices refuse it") as problem:
        open_pfx(pfx, PASSWORD)
    assert said in str(problem.value)
    store, installed = CertStore(tmp_path / "store"), dict[str, InstalledProfile]()
    with pytest.raises(InstallRefused) as refused:
        await install(profile(identity, pfx), identity, store, installed)
    assert [link["ErrorCode"] for link in refused.value.chain] == [4001, 9005]
    assert said in str(refused.value)
    assert await on_windows(PfxCertInstall(identity, store), pfx) == str(csp.CRYPT_E_BAD_ENCODE)
    assert (installed, store.identities(), list(tmp_path.rglob("*"))) == ({}, [], [])


@pytest.mark.parametrize("name", READABLE)
async def test_installed_certificate_can_be_read(
    tmp_path: Path, identity: MdmIdentity, rsa_key: rsa.RSAPrivateKey, name: str
) -> None:
    """A certificate that is odd but readable is installed, and there after a restart of the device."""
    certificate = odd(rsa_key, *READABLE[name])
    pfx = export_pfx("n", rsa_key, certificate, PASSWORD)
    assert open_pfx(pfx, PASSWORD).certificate == certificate
    store = CertStore(tmp_path / "store")
    await install(profile(identity, pfx), identity, store, {})
    assert await on_windows(PfxCertInstall(identity, store), pfx) == "0"
    again = CertStore(tmp_path / "store")
    assert [one.certificate for one in again.identities()] == [certificate, certificate]
    assert again.damaged == {}
