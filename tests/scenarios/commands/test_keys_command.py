"""`pfxlab keys`, as an administrator types it. Layouts: sources.md#cng-key-blobs; OpenSSL reads the PEM files."""

import json
import stat
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.keys.padding import encrypt
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.scenarios.cli import main
from tests.clients.test_official_sdk import PFXLAB
from tests.connector_sim import softhsm


def keys(folder: Path, *arguments: str) -> Result:
    """Return the result of the command over a folder."""
    return CliRunner().invoke(main, ["keys", arguments[0], "--keys", str(folder / "keys"), *arguments[1:]])


def said(result: Result) -> Any:
    """Return the JSON a command printed; it succeeded."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(("bits", "sizes"), [(2048, (283, 1179)), (3072, (411, 1755)), (4096, (539, 2331))])
def test_blobs_have_the_documented_layout(tmp_path: Path, bits: int, sizes: tuple[int, int]) -> None:
    """Exported blobs begin with RSA1 and RSA3 and the header of six numbers, and have the sizes of the layout."""
    assert keys(tmp_path, "add", "--name", "k", "--bits", str(bits), "--make-exportable").exit_code == 0
    for command, magic, size in (("export-public", b"RSA1", sizes[0]), ("export-private", b"RSA3", sizes[1])):
        path = tmp_path / command
        shown = said(keys(tmp_path, command, "--name", "k", "--out", str(path), "--format", "cng", "--json"))
        data = path.read_bytes()
        assert (shown["bytes"], len(data), data[:4]) == (size, size, magic)
        prime = bits // 16 if magic == b"RSA3" else 0
        assert struct.unpack("<5L", data[4:24]) == (bits, 3, bits // 8, prime, prime)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_openssl_reads_the_pem_files(tmp_path: Path) -> None:
    """OpenSSL reads the exported PEM files, and both are of one key."""
    keys(tmp_path, "add", "--name", "k", "--make-exportable")
    modulus = set()
    for command, options in (("export-public", ["-pubin"]), ("export-private", [])):
        path = tmp_path / command
        assert keys(tmp_path, command, "--name", "k", "--out", str(path), "--format", "pem").exit_code == 0
        done = subprocess.run(
            ["openssl", "rsa", "-in", str(path), *options, "-noout", "-modulus"], capture_output=True, check=True
        )
        modulus.add(done.stdout)
    assert len(modulus) == 1


@pytest.mark.parametrize("form", ["cng", "pem"])
def test_key_moves_to_the_next_server(tmp_path: Path, form: str) -> None:
    """A key exported on one server and imported on another decrypts what was encrypted before."""
    first, second = tmp_path / "first", tmp_path / "second"
    keys(first, "add", "--name", "PFX Encryption Key", "--make-exportable")
    public = SoftwareKsp(first / "keys").open("PFX Encryption Key").public_key()
    encrypted = encrypt(public, b"secret", PaddingScheme.oaepSha512)
    path = tmp_path / "moved"
    assert (
        keys(first, "export-private", "--name", "PFX Encryption Key", "--out", str(path), "--format", form).exit_code
        == 0
    )
    assert keys(second, "import", "--name", "PFX Encryption Key", "--file", str(path)).exit_code == 0
    key = SoftwareKsp(second / "keys").open("PFX Encryption Key")
    assert key.decrypt(encrypted, PaddingScheme.oaepSha512) == b"secret"
    refused = keys(second, "export-private", "--name", "PFX Encryption Key", "--out", str(tmp_path / "again"))
    assert (refused.exit_code, refused.stderr.partition(":")[0]) == (2, "NotExportable")


def test_keys_are_listed_by_name(tmp_path: Path) -> None:
    """The list shows name, size and whether a key is exportable; for an empty store it shows the next step."""
    assert "Next: pfxlab keys add" in keys(tmp_path, "list").stdout
    keys(tmp_path, "add", "--name", "b", "--bits", "3072")
    keys(tmp_path, "add", "--name", "a", "--make-exportable")
    assert said(keys(tmp_path, "list", "--json")) == [
        {"name": "a", "bits": 2048, "exportable": True},
        {"name": "b", "bits": 3072, "exportable": False},
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add", "--name", "there"], 2, "KeyExists: expected a new name, got 'there'"),
        (["add", "--name", " "], 2, "KeyStoreError: expected a key name, got none"),
        (["export-private", "--name", "there", "--out", "new"], 2, "NotExportable"),
        (["export-public", "--name", "absent", "--out", "new"], 2, "KeyNotFound: expected the key 'absent'"),
        (["export-public", "--name", "there", "--out", "taken"], 2, "which exists"),
        (["add", "--provider", "Smart Card", "--name", "x"], 2, "ProviderUnknown: expected one of the installed"),
        (["import", "--name", "x", "--file", "rubbish"], 2, "expected a header of 24 bytes, got 7"),
        (["import", "--name", "x", "--file", "public"], 2, "expected magic RSA2 or RSA3, got b'RSA1'"),
        (["import", "--name", "x", "--file", "pem"], 2, "expected an unencrypted PEM private key"),
        (["add", "--name", "x", "--bits", "1024"], 2, "got '1024'"),
        (["add", "--name", "x", "--pkcs11", "rubbish"], 2, "--pkcs11 needs --token and --pin-file"),
        (["add", "--name", "x", "--token", "t"], 2, "--token and --pin-file need --pkcs11"),
        (["add", "--name", "x", "--pin-file", "rubbish"], 2, "--token and --pin-file need --pkcs11"),
        (["add", "--name", "x", "--pkcs11", "rubbish", "--token", "t", "--pin-file", "taken"], 2, "needs --provider"),
        (["export-public", "--name", "there", "--out", "taken/new"], 3, "Not a directory"),
        (["remove", "--name", "absent", "--yes"], 2, "KeyNotFound"),
    ],
)
def test_refusals_name_the_expected_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    """Each refused action ends with its exit code and one sentence, and leaves keys and files unchanged."""
    monkeypatch.chdir(tmp_path)
    keys(tmp_path, "add", "--name", "there")
    for name, content in (("taken", b"old"), ("rubbish", b"rubbish"), ("pem", b"-----BEGIN NOTHING-----")):
        Path(name).write_bytes(content)
    keys(tmp_path, "export-public", "--name", "there", "--out", "public", "--format", "cng")
    before = SoftwareKsp(tmp_path / "keys").open("there").public_key()
    result = keys(tmp_path, *arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.output
    assert SoftwareKsp(tmp_path / "keys").open("there").public_key() == before
    assert (Path("taken").read_bytes(), Path("new").exists()) == (b"old", False)


def test_removal_asks_first(tmp_path: Path) -> None:
    """A key is deleted after a yes only."""
    keys(tmp_path, "add", "--name", "k")
    assert keys(tmp_path, "remove", "--name", "k").exit_code != 0
    assert len(SoftwareKsp(tmp_path / "keys").list_keys()) == 1
    assert keys(tmp_path, "remove", "--name", "k", "--yes").exit_code == 0
    assert SoftwareKsp(tmp_path / "keys").list_keys() == []


@pytest.mark.skipif(softhsm.missing, reason="needs Debian's softhsm2")
def test_commands_work_on_an_hsm(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """The same commands create and list a key in a token, and export only its public key."""
    with softhsm.token(tmp_path / "hsm") as token:
        hsm = ["--provider", softhsm.NAME, "--pkcs11", str(token.module), "--token", token.token_label,
               "--pin-file", str(token.pin_file)]  # fmt: skip
        assert keys(tmp_path, "add", "--name", "in the token", *hsm).exit_code == 0
        assert [key["name"] for key in said(keys(tmp_path, "list", "--json", *hsm))] == ["in the token"]
        path = tmp_path / "public.pem"
        assert keys(tmp_path, "export-public", "--name", "in the token", "--out", str(path), *hsm).exit_code == 0
        refused = keys(tmp_path, "export-private", "--name", "in the token", "--out", str(tmp_path / "x"), *hsm)
        assert (refused.exit_code, refused.stderr.partition(":")[0]) == (2, "NotExportable")
        away = keys(tmp_path, "list", *[*hsm[:4], "--token", "other", *hsm[6:]])
        assert (away.exit_code, away.stderr.partition(":")[0]) == (3, "HsmUnavailable")
        for wrong in (b"canary-0000", b"canary\xff"):
            (tmp_path / "wrong").write_bytes(wrong)
            # The login is the process's, and this one has made its own.
            command = [*PFXLAB, "keys", "list", *hsm[:-1], str(tmp_path / "wrong")]
            refused_pin = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (refused_pin.returncode, refused_pin.stderr.partition(":")[0]) == (3, "PinRefused")
            assert "canary" not in refused_pin.stderr
