"""`pfxlab demo` as a user runs it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.mail.authority import export_pfx
from tests.conftest import self_signed

UPN = "mail@customer.example"
PASSWORD = "correct horse battery"


def demo(*arguments: str) -> Result:
    """Return the result of `pfxlab demo`."""
    return CliRunner().invoke(main, ["demo", *arguments])


def told(result: Result) -> dict[str, Any]:
    """Return the JSON of a demo; nothing else may be on standard output."""
    body: dict[str, Any] = json.loads(result.stdout)
    return body


def test_history_arrives_and_works_on_both_devices() -> None:
    """Six mails to three generations open on two devices, both sign, and no secret is in the cloud or in a log."""
    result = demo("--json")
    said = told(result)
    assert (result.exit_code, said["passed"], said["secretsFound"]) == (0, True, [])
    assert len(said["deliveries"]) == 8
    assert {delivery["state"] for delivery in said["deliveries"]} == {"installed"}
    opened = [proof for proof in said["proofs"] if proof["name"].startswith("opens mail") and proof["passed"]]
    signed = [proof for proof in said["proofs"] if proof["name"] == "signs a mail" and proof["passed"]]
    assert (len({(p["device"], p["name"]) for p in opened}), len(signed)) == (6, 2)


@pytest.mark.parametrize(
    ("sabotage", "reason"),
    [
        ("missing-key", "KeyNotFound: expected the key 'PFXLabKey' in Microsoft Software Key Storage Provider"),
        ("wrong-key", "DecryptFailed: expected a password encrypted to the key 'PFXLabKey'"),
    ],
)
def test_connector_without_its_key_fails_with_the_reason(sabotage: str, reason: str) -> None:
    """A connector whose key is missing or another one makes the verdict fail, for every delivery and with the cause."""
    result = demo("--json", "--break", sabotage)
    said = told(result)
    assert (result.exit_code, said["passed"]) == (1, False)
    assert {delivery["state"] for delivery in said["deliveries"]} == {"failed"}
    assert {delivery["reason"][: len(reason)] for delivery in said["deliveries"]} == {reason}
    assert said["secretsFound"] == []


def test_closing_words_lead_on() -> None:
    """The output shows each hop with its party, a table, the verdict and the next step."""
    result = demo()
    assert result.exit_code == 0
    for text in ("admin", "connector", "device", "proof", "Result by device", "PASSED", "pfxlab up"):
        assert text in result.stdout


def own(folder: Path, pfx: bytes, password: str = PASSWORD, *options: str) -> Result:
    """Return the result of the demo with a user's own file."""
    (folder / "own.pfx").write_bytes(pfx)
    (folder / "password.txt").write_text(f"{password}\n")
    files = ["--pfx", str(folder / "own.pfx"), "--password-file", str(folder / "password.txt")]
    return demo(*files, "--user", UPN, *options)


def test_own_certificate_is_delivered(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A user's own PFX is imported, delivered, opens mail and signs on both devices."""
    result = own(tmp_path, export_pfx("n", rsa_key, certificate, PASSWORD, legacy=True), PASSWORD, "--json")
    said = told(result)
    assert (result.exit_code, len(said["deliveries"]), len(said["proofs"])) == (0, 2, 4), result.output


@pytest.mark.parametrize(
    ("pfx", "password", "said"),
    [
        (None, "another", "The password does not open this PFX. Check the password file"),
        (b"rubbish", PASSWORD, "This is not a PFX"),
        (None, "Schlüssel", "The password does not open this PFX"),
    ],
)
def test_unusable_file_is_a_usage_error(
    tmp_path: Path,
    rsa_key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    pfx: bytes | None,
    password: str,
    said: str,
) -> None:
    """A file that cannot be imported ends with exit code 2 and a sentence with a remedy, before anything starts."""
    result = own(tmp_path, pfx or export_pfx("n", rsa_key, certificate, PASSWORD), password)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_expired_certificate_needs_a_word(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """An expired certificate is refused with a way to import it anyway, and that way works."""
    pfx = export_pfx("n", rsa_key, self_signed(rsa_key, days=-5), PASSWORD)
    refused = own(tmp_path, pfx)
    assert refused.exit_code == 2
    assert "--allow-expired" in refused.stderr
    allowed = told(own(tmp_path, pfx, PASSWORD, "--allow-expired", "--json"))
    assert {delivery["state"] for delivery in allowed["deliveries"]} == {"installed"}


def test_chain_in_the_pfx_is_refused_by_the_iphone(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey
) -> None:
    """A PFX with a CA certificate installs on Windows and fails on the iPhone with Apple's error code."""
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    chain = [self_signed(other_key, "CA")]
    pfx = pkcs12.serialize_key_and_certificates(b"n", rsa_key, self_signed(rsa_key), chain, encryption)
    result = own(tmp_path, pfx, PASSWORD, "--json")
    states = {d["device"].partition(" ")[0]: (d["state"], d["reason"]) for d in told(result)["deliveries"]}
    assert result.exit_code == 1
    assert states["Windows"][0] == "installed"
    assert "MCCertificateErrorDomain 9001" in states["iPhone"][1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pfx", __file__], "--pfx needs --password-file and --user"),
        (["--password-file", __file__], "--password-file needs --pfx"),
        (["--pfx", __file__, "--password-file", __file__, "--user", "nobody"], "expected a user principal name"),
        (["--pfx", "/nowhere.pfx"], "does not exist"),
        (["--user", "../../escape@pfxlab.example"], "expected a user principal name"),
        (["--user", "müller@pfxlab.example"], "expected a user principal name"),
    ],
)
def test_incomplete_arguments_are_usage_errors(arguments: list[str], said: str) -> None:
    """Incompatible arguments end with exit code 2 and an error that says what is missing."""
    result = demo(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_missing_openssl_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the openssl command the demo cannot run: exit code 3 and how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = demo()
    assert result.exit_code == 3
    assert "install OpenSSL 3" in result.stderr


@pytest.mark.parametrize(
    ("password", "said"),
    [("Schlüssel", "The password is not ASCII"), ("x" * 127, "127 characters, 126 fit"), ("", "an empty password")],
)
def test_unusable_password_is_reported_before_anything_starts(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, password: str, said: str
) -> None:
    """A PFX with a password that no connector or device can use is refused with the reason and a remedy."""
    if password:
        pfx = export_pfx("n", rsa_key, certificate, password)
    else:
        pfx = pkcs12.serialize_key_and_certificates(b"n", rsa_key, certificate, None, serialization.NoEncryption())
    result = own(tmp_path, pfx, password)
    assert result.exit_code == 2
    assert said in result.stderr


def test_byte_order_mark_is_not_part_of_the_password(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A password file as Notepad writes it, with a byte order mark and CRLF, is read as the password."""
    pfx = export_pfx("n", rsa_key, certificate, PASSWORD)
    assert told(own(tmp_path, pfx, f"\ufeff{PASSWORD}\r", "--json"))["passed"]


def test_short_password_is_not_claimed_to_be_searched(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A password too short to be searched for is marked as such, in the table and in the JSON."""
    pfx = export_pfx("n", rsa_key, certificate, "abcd")
    assert told(own(tmp_path, pfx, "abcd", "--json"))["notSearchedFor"] == ["password of your certificate"]
    assert "not searched for: password of your" in own(tmp_path, pfx, "abcd").stdout


def test_operator_can_be_the_mail_user() -> None:
    """The lab's own administrator may be the user of the demo."""
    assert told(demo("--user", "admin@pfxlab.example", "--json"))["passed"]
