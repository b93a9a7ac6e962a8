"""PKCS#12 containers that would cost too much to open: told apart by OpenSSL's own files and by hand-made structures."""

import base64
import subprocess
import time
from pathlib import Path

import pytest
from asn1crypto import algos, core, keys, pkcs12
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import pkcs12_process
from pfxlab.connector_sim.errors import PfxProblem
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.device_sim.pkcs12 import CertificateUnusable, open_container
from pfxlab.emulator.wire.asn1.pkcs12_cost import CostlyPkcs12, check_cost
from pfxlab.scenarios.conformance.forensics import examine_pfx
from pfxlab.scenarios.mail.authority import export_pfx
from tests.costly_pkcs12 import PASSWORD, costly_container, longest_key

MODULUS = (1 << 2047) + 1
DER, PKCS8 = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8


def container(*bags: pkcs12.SafeBag, mac: int = 0) -> bytes:
    """Return a PKCS#12 with bags that are not encrypted, and a MAC of so many iterations (RFC 7292, section 4)."""
    safe = pkcs12.SafeContents(list(bags))
    inner = pkcs12.AuthenticatedSafe([{"content_type": "data", "content": core.OctetString(safe.dump())}])
    fields = {"version": "v3", "auth_safe": {"content_type": "data", "content": core.OctetString(inner.dump())}}
    if mac:
        digest = {"digest_algorithm": {"algorithm": "sha256"}, "digest": bytes(32)}
        fields["mac_data"] = {"mac": digest, "mac_salt": bytes(8), "iterations": mac}
    return bytes(pkcs12.Pfx(fields).dump())


def key_bag(modulus: int, exponent: int) -> pkcs12.SafeBag:
    """Return a private key that is not encrypted, with nothing right about it but modulus and exponent."""
    rest = dict.fromkeys(("prime1", "prime2", "exponent1", "exponent2", "coefficient", "private_exponent"), 1)
    private = keys.RSAPrivateKey({"version": "two-prime", "modulus": modulus, "public_exponent": exponent, **rest})
    value = {"version": 0, "private_key_algorithm": {"algorithm": "rsa"}, "private_key": private}
    return pkcs12.SafeBag({"bag_id": "key_bag", "bag_value": value})


def shrouded(algorithm: dict[str, object], size: int = 1232) -> pkcs12.SafeBag:
    """Return an encrypted private key of so many octets."""
    value = {"encryption_algorithm": algorithm, "encrypted_data": bytes(size)}
    return pkcs12.SafeBag({"bag_id": "pkcs8_shrouded_key_bag", "bag_value": value})


def pbes2(iterations: int) -> dict[str, object]:
    """Return PBES2 with PBKDF2 of so many iterations."""
    salt = algos.Pbkdf2Salt("specified", core.OctetString(bytes(16)))
    function = {"algorithm": "pbkdf2", "parameters": {"salt": salt, "iteration_count": iterations}}
    scheme = {"algorithm": "aes256_cbc", "parameters": bytes(16)}
    return {"algorithm": "pbes2", "parameters": {"key_derivation_func": function, "encryption_scheme": scheme}}


def legacy(iterations: int) -> dict[str, object]:
    """Return the algorithm of PKCS#12 v1 with so many iterations."""
    return {"algorithm": "pkcs12_sha1_tripledes_3key", "parameters": {"salt": bytes(8), "iterations": iterations}}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (container(mac=5_000_001), "TooManyIterations"),
        (container(shrouded(pbes2(5_000_001))), "TooManyIterations"),
        (container(shrouded(legacy(5_000_001))), "TooManyIterations"),
        (container(shrouded(pbes2(2_000_000)), shrouded(legacy(2_000_000)), mac=1_000_001), "TooManyIterations"),
        (container(mac=2**70), "TooManyIterations"),
        (container(key_bag((1 << 8192) + 1, 65537)), "RsaTooLong"),
        (container(shrouded(pbes2(2048), 9400)), "RsaTooLong"),
        (container(key_bag(MODULUS, 65536)), "RsaExponent"),
        (container(key_bag(MODULUS, 1)), "RsaExponent"),
        (container(key_bag(MODULUS, 2**32 + 1)), "RsaExponent"),
    ],
    ids=("mac", "pbkdf2", "pkcs12 kdf", "sum", "huge", "16k", "16k encrypted", "even", "one", "33 bits"),
)
async def test_costly_container_is_refused_for_its_reason(data: bytes, code: str) -> None:
    """Each excess has its own reason, found without computing anything, and stops devices and commands alike."""
    begin = time.thread_time()
    with pytest.raises(CostlyPkcs12) as refused:
        check_cost(data)
    assert refused.value.code == code
    with pytest.raises(CertificateUnusable, match=str(refused.value)[:20]):
        await open_container(data, b"x")
    with pytest.raises(PfxProblem, match=str(refused.value)[:20]):
        open_pfx(data, "x")
    assert time.thread_time() - begin < 2


def test_cost_of_scrypt_is_the_product_of_its_settings() -> None:
    """Scrypt computes N * r * p blocks (RFC 7914, section 6): 2^14 * 8 is usual, 2^20 * 8 is too much."""
    usual = "302106092b06010401da47040b30140408000000000000000002024000020108020101"
    check_cost(bytes.fromhex(usual))
    larger = "302206092b06010401da47040b3015040800000000000000000203100000020108020101"
    with pytest.raises(CostlyPkcs12, match="iterations"):
        check_cost(bytes.fromhex(larger))


@pytest.mark.parametrize(
    "data",
    [
        container(shrouded(pbes2(2_000_000)), shrouded(legacy(2_000_000)), mac=1_000_000),
        container(key_bag((1 << 8191) + 1, 3)),
        container(key_bag(MODULUS, 2**32 - 1)),
        container(shrouded(pbes2(2048), 4720)),
        b"",
        b"\x30",
        b"\x30\x80" * 100_000,
        b"no PKCS#12",
    ],
    ids=("sum", "8192 bits", "32 bits", "8192 encrypted", "nothing", "broken off", "deep", "text"),
)
def test_container_within_the_bounds_passes(data: bytes) -> None:
    """The bounds themselves are taken; what is no PKCS#12 is for others to refuse."""
    check_cost(data)


@pytest.mark.parametrize(
    ("options", "iterations"),
    [((), 6144), (("-legacy",), 6144), (("-iter", "1700000"), 5_100_000), (("-nomac", "-iter", "10"), 20)],
)
async def test_iterations_are_those_that_openssl_was_told(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, options: tuple[str, ...], iterations: int
) -> None:
    """OpenSSL derives a key for the certificate, one for the private key and one for the MAC, 2048 iterations each."""
    pem = rsa_key.private_bytes(serialization.Encoding.PEM, PKCS8, serialization.NoEncryption())
    (tmp_path / "both.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "pkcs12", "-export", "-in", "both.pem", "-out", "out.p12", "-passout", "pass:x", *options]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "out.p12").read_bytes()
    if iterations > 5_000_000:
        with pytest.raises(CostlyPkcs12, match="iterations"):
            check_cost(data)
    else:
        check_cost(data)
        assert (await open_container(data, b"x")).key is not None


async def test_time_limit_stops_whoever_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that takes too long has one reason for devices, commands and conformance: limit and cost."""
    monkeypatch.setattr(pkcs12_process, "SECONDS", 0.05)
    data = costly_container()
    reason = "parameters that took longer than 0.05 s to compute (6,048 iterations, keys of up to 4,688 octets)"
    with pytest.raises(CertificateUnusable) as unusable:
        await open_container(data, PASSWORD.encode())
    with pytest.raises(PfxProblem) as problem:
        open_pfx(data, PASSWORD)
    examined = examine_pfx(base64.b64encode(data).decode(), [PASSWORD.encode()])
    assert (str(unusable.value), examined.costly) == (reason, reason)
    assert (examined.is_pfx, examined.opens) == (True, False)
    assert str(problem.value).startswith(f"This PFX holds {reason}.")


def test_cost_is_low_for_what_exporters_write(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """RSA-2048 with 2,048 iterations is opened at once; a longer key is not, visible, encrypted, or hidden."""
    assert check_cost(export_pfx("n", rsa_key, certificate, PASSWORD)).shown is None
    assert check_cost(container(shrouded(pbes2(2048), 1232))).shown is None
    assert check_cost(container(shrouded(pbes2(2048), 1808))).shown == "2,048 iterations, keys of up to 1,808 octets"
    assert check_cost(container(shrouded(pbes2(50_001), 1232))).shown is not None
    plain = keys.PrivateKeyInfo.load(longest_key().private_bytes(DER, PKCS8, serialization.NoEncryption()))
    assert check_cost(container(pkcs12.SafeBag({"bag_id": "key_bag", "bag_value": plain}))).shown is not None
    hidden = {"content_type": "data", "content_encryption_algorithm": pbes2(2048), "encrypted_content": bytes(2400)}
    data = pkcs12.AuthenticatedSafe(
        [{"content_type": "encrypted_data", "content": {"version": 0, "encrypted_content_info": hidden}}]
    )
    fields = {"version": "v3", "auth_safe": {"content_type": "data", "content": core.OctetString(data.dump())}}
    assert check_cost(pkcs12.Pfx(fields).dump()).shown == "2,048 iterations, keys of up to 2,400 octets"
