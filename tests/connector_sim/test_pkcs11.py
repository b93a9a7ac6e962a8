"""Keys in an HSM, against a real SoftHSM token; ciphertexts are OpenSSL's and the import command's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from pfxlab.connector_sim.errors import (
    DecryptFailed,
    HsmUnavailable,
    KeyExists,
    KeyNotFound,
    KeyStoreError,
    NotExportable,
    PaddingUnsupported,
)
from pfxlab.connector_sim.keys import oaep
from pfxlab.connector_sim.keys.padding import SUPPORTED, encrypt
from pfxlab.connector_sim.keys.pkcs11 import Pkcs11Ksp, TokenSettings
from pfxlab.emulator.wire.enums import PaddingScheme
from tests.campaign import examples
from tests.connector_sim import softhsm

pytestmark = pytest.mark.skipif(softhsm.missing and not os.environ.get("CI"), reason="needs Debian's softhsm2")
SHA512 = PaddingScheme.oaepSha512


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenSettings]:
    """Return a token that all tests of this module share."""
    with softhsm.token(tmp_path_factory.mktemp("hsm")) as made:
        yield made


@pytest.fixture
def hsm(token: TokenSettings) -> Pkcs11Ksp:
    """Return the provider over the token."""
    return softhsm.provider(token)


def openssl_oaep(key: rsa.RSAPublicKey, plain: bytes, digest: str, folder: Path) -> bytes:
    """Return OpenSSL's OAEP ciphertext, with the same hash for OAEP and MGF1."""
    path = folder / "public.pem"
    path.write_bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    options = [f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{digest}"]
    command = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", str(path), "-pkeyopt", "rsa_padding_mode:oaep"]
    for option in options:
        command += ["-pkeyopt", option]
    return subprocess.run(command, input=plain, capture_output=True, check=True).stdout


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
@pytest.mark.parametrize(("scheme", "digest"), [*zip(SUPPORTED, ["sha256", "sha384", "sha512"], strict=True)])
def test_token_decrypts_openssl_ciphertext(
    hsm: Pkcs11Ksp, tmp_path: Path, bits: int, scheme: PaddingScheme, digest: str
) -> None:
    """A key generated in the token decrypts OAEP with each hash and size, even where the token does not support it."""
    name = f"PFX key {bits} {digest}"
    key = hsm.add(name, bits)
    encrypted = openssl_oaep(key.public_key(), b"secret of a PFX", digest, tmp_path)
    assert hsm.open(name).decrypt(encrypted, scheme) == b"secret of a PFX"
    assert key.public_key().key_size == bits


def test_key_never_leaves_the_token(hsm: Pkcs11Ksp) -> None:
    """A key in the token cannot be exported or made exportable, and its repr shows no key material."""
    key = hsm.add("stays")
    with pytest.raises(NotExportable, match="stays in Test HSM"):
        key.private_key()
    with pytest.raises(NotExportable):
        hsm.add("goes", exportable=True)
    assert softhsm.PIN not in repr(key) + repr(hsm) + str(vars(hsm)["_settings"])


def test_names_are_kept_apart(hsm: Pkcs11Ksp, rsa_key: rsa.RSAPrivateKey) -> None:
    """Names in use are refused, missing keys are named, imported keys work, removed ones are gone, and keys are listed."""
    with pytest.raises(KeyNotFound, match="'absent' in Test HSM"):
        hsm.open("absent")
    hsm.store("imported", rsa_key)
    with pytest.raises(KeyExists, match="'imported', which exists"):
        hsm.add("imported")
    assert hsm.open("imported").decrypt(encrypt(rsa_key.public_key(), b"x", SHA512), SHA512) == b"x"
    assert [(info.bits, info.exportable) for info in hsm.list_keys() if info.name == "imported"] == [(2048, False)]
    hsm.remove("imported")
    with pytest.raises(KeyNotFound):
        hsm.remove("imported")


def test_wrong_ciphertexts_look_alike(hsm: Pkcs11Ksp, other_key: rsa.RSAPrivateKey) -> None:
    """Another key's, another padding's, a bent and a short ciphertext are refused with the same words."""
    key = hsm.add("oracle")
    good = encrypt(key.public_key(), b"x", SHA512)
    bent = good[:-1] + bytes([good[-1] ^ 1])
    other = encrypt(key.public_key(), b"x", PaddingScheme.oaepSha256)
    said = set()
    for wrong in (encrypt(other_key.public_key(), b"x", SHA512), other, bent, b"\0" * 256, b"short", b""):
        with pytest.raises(DecryptFailed) as refused:
            key.decrypt(wrong, SHA512)
        said.add(str(refused.value))
    assert len(said) == 1
    with pytest.raises(PaddingUnsupported):
        key.decrypt(good, PaddingScheme.pkcs1)


def test_threads_share_a_token(hsm: Pkcs11Ksp) -> None:
    """Eight threads decrypt concurrently, and each gets its own plaintext."""
    key = hsm.add("threads")
    texts = [f"password {number}".encode() for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        opened = pool.map(lambda text: key.decrypt(encrypt(key.public_key(), text, SHA512), SHA512), texts)
        assert list(opened) == texts


def test_token_removed_and_back(hsm: Pkcs11Ksp, token: TokenSettings) -> None:
    """While the token is away keys are unavailable, not missing; once it is back they work without a restart."""
    key = hsm.add("away")
    encrypted = encrypt(key.public_key(), b"secret", SHA512)
    assert key.decrypt(encrypted, SHA512) == b"secret"
    tokens = token.pin_file.parent / "tokens"
    shutil.move(tokens, tokens.with_name("gone"))
    tokens.mkdir()
    with pytest.raises(HsmUnavailable, match="expected the token 'pfxlab "):
        key.decrypt(encrypted, SHA512)
    tokens.rmdir()
    shutil.move(tokens.with_name("gone"), tokens)
    assert key.decrypt(encrypted, SHA512) == b"secret"


def test_wrong_pin_is_unavailable_without_the_pin(token: TokenSettings, tmp_path: Path) -> None:
    """Errors for a wrong PIN and for a missing PIN file, token or module do not contain the PIN."""
    wrong = tmp_path / "pin"
    wrong.write_text("canary-wrong")
    softhsm.provider(token).list_keys()
    for settings_ in (
        TokenSettings(token.module, "no such token", token.pin_file),
        TokenSettings(tmp_path / "none.so", token.token_label, token.pin_file),
        TokenSettings(token.module, token.token_label, tmp_path / "none"),
    ):
        with pytest.raises(HsmUnavailable) as refused:
            softhsm.provider(settings_).open("k")
        assert "canary" not in str(refused.value)


WRONG_PIN = """
import sys
from pathlib import Path
from pfxlab.connector_sim.errors import PinRefused
from pfxlab.connector_sim.keys.pkcs11 import Pkcs11Ksp, TokenSettings

tries = []
class Counted:
    def __init__(self, token):
        self._token = token
    def open(self, **options):
        tries.append(1)
        return self._token.open(**options)

pin_file = Path(sys.argv[3])
ksp = Pkcs11Ksp("HSM", TokenSettings(Path(sys.argv[1]), sys.argv[2], pin_file))
import pkcs11
library = pkcs11.lib(sys.argv[1])
class Library:
    def get_token(self, **options):
        return Counted(library.get_token(**options))
    def reinitialize(self):
        library.reinitialize()
ksp._library = Library()
for _ in range(5):
    try:
        ksp.list_keys()
    except PinRefused:
        print("refused")
print(len(tries))
pin_file.write_text(sys.argv[4])
print(ksp.list_keys(), len(tries))
"""


def test_wrong_pin_is_tried_once(token: TokenSettings, tmp_path: Path) -> None:
    """A PIN that the token refused is not sent again, until the PIN file is rewritten."""
    (tmp_path / "pin").write_text("canary-wrong")
    arguments = [str(token.module), token.token_label, str(tmp_path / "pin"), softhsm.PIN]
    command = [sys.executable, "-c", WRONG_PIN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:6] == ["refused"] * 5 + ["1"]
    assert lines[6].endswith(" 2")


def test_token_refuses_unsupported_key_sizes(hsm: Pkcs11Ksp) -> None:
    """A key of another size or without a name is refused by the HSM's provider as by the software one."""
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - small on purpose
    with pytest.raises(KeyStoreError, match="got 1024"):
        hsm.store("small", small)
    with pytest.raises(KeyStoreError, match="expected a key name"):
        hsm.add(" ")


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def raw(ciphertext: bytes) -> bytes:
    """Return the padded block that a raw private operation yields."""
    numbers = KEY.private_numbers()
    return pow(int.from_bytes(ciphertext, "big"), numbers.d, numbers.public_numbers.n).to_bytes(256, "big")


@settings(max_examples=examples(20, 300), deadline=None)
@given(st.binary(max_size=126), st.sampled_from(SUPPORTED))
def test_padding_is_taken_off_as_the_library_put_it_on(plain: bytes, scheme: PaddingScheme) -> None:
    """OAEP padding by the library is removed byte for byte; a block with a flipped bit is refused."""
    block = raw(encrypt(KEY.public_key(), plain, scheme))
    assert oaep.decode(block, scheme) == plain
    bent = bytearray(block)
    bent[len(plain) % 256] ^= 1
    assert oaep.decode(bytes(bent), scheme) is None


@given(st.binary(max_size=300), st.sampled_from(SUPPORTED))
def test_any_other_block_is_refused(block: bytes, scheme: PaddingScheme) -> None:
    """A block without padding is refused, whatever its length."""
    assert oaep.decode(block, scheme) is None
