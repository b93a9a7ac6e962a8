"""`pfxlab connector` beside a running lab, as an administrator types it."""

import base64
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

from connector_sim.keys.padding import encrypt
from connector_sim.keys.software import PROVIDER_NAME, SoftwareKsp
from emulator.wire.enums import PaddingScheme
from scenarios.cli import main
from tests.chain.test_official_sdk import PFXLAB, sdk, start, stop


def command(*arguments: str) -> Result:
    """Return what a command did."""
    return CliRunner().invoke(main, ["connector", *arguments])


def wait_for(folder: Path, name: str) -> dict[str, Any]:
    """Return the status of a connector once its log has an event of that name."""
    for _ in range(150):
        result = command("status", "--folder", str(folder), "--json")
        shown: dict[str, Any] = json.loads(result.stdout) if result.exit_code == 0 else {"events": {}}
        if any(name in event for event in shown["events"]):
            return shown
        time.sleep(0.1)
    raise AssertionError(f"no {name}: {shown}")


def test_connector_of_its_own_enrols_works_and_drains(tmp_path: Path) -> None:
    """A connector enrols with the administrator's account, is active in Graph, and stops by giving its work back."""
    process, facts = start(tmp_path)
    folder = tmp_path / "connector"
    try:
        ready = str(tmp_path / "ready.json")
        made = command("enroll", "--folder", str(folder), "--ready-file", ready, "--json")
        assert made.exit_code == 0, made.output
        again = command("enroll", "--folder", str(folder), "--ready-file", ready)
        assert (again.exit_code, "which holds one" in again.stderr) == (2, True)
        running = [*PFXLAB, "connector", "run", "--folder", str(folder), "--keys", str(tmp_path / "keys"),
                   "--version", "6.2301.1.0"]  # fmt: skip
        working = subprocess.Popen(running, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        shown = wait_for(folder, "HealthMessageUploadSuccess")
        assert shown["connectorId"] == json.loads(made.stdout)["connectorId"]
        assert "4 VersionDeprecated" in shown["events"]
        assert sdk(facts, "count") == {"records": 0, "profiles": 0}
        working.send_signal(signal.SIGTERM)
        out, err = working.communicate(timeout=30)
        assert (working.returncode, "Drained and stopped." in out) == (0, True), err
        assert "2 ServiceStopped" in json.loads(command("status", "--folder", str(folder), "--json").stdout)["events"]
    finally:
        stop(process)


def test_only_administrators_enrol(tmp_path: Path) -> None:
    """A user without an administrator's role is refused by name of the role, a wrong password in Entra's words."""
    config = tmp_path / "lab.yaml"
    config.write_text(
        "tenants: [{domain: pfxlab.example, users: [{upn: plain@pfxlab.example, password: canary-plain}]}]\n"
    )
    process, _ = start(tmp_path, "--config", str(config))
    try:
        for password, words in (("canary-plain", "NotAdministrator"), ("canary-wrong", "AADSTS50126")):
            (tmp_path / "password").write_text(password)
            result = command("enroll", "--folder", str(tmp_path / "c"), "--ready-file", str(tmp_path / "ready.json"),
                             "--user", "plain@pfxlab.example", "--password-file", str(tmp_path / "password"))  # fmt: skip
            assert (result.exit_code, words in result.stderr, "canary" in result.output) == (3, True, False)
        assert not list(tmp_path.glob("c/*"))
    finally:
        stop(process)


def test_commands_without_a_connector_say_what_to_do(tmp_path: Path) -> None:
    """Run and status over an empty folder end as usage, and name the command that comes first."""
    for arguments in (["run"], ["status"]):
        result = command(*arguments, "--folder", str(tmp_path))
        assert (result.exit_code, "Next: pfxlab connector enroll" in result.stderr) == (2, True)
    (tmp_path / "connector-x.pem").write_text("canary")
    damaged = command("status", "--folder", str(tmp_path))
    assert (damaged.exit_code, "enrol anew" in damaged.stderr, "canary" in damaged.output) == (2, True, False)


@pytest.fixture
def lines(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Return lines of a test file by what comes of them."""
    ksp = SoftwareKsp(tmp_path / "keys")
    public = ksp.store("PfxKey", rsa_key).public_key()
    good = base64.b64encode(encrypt(public, b"canary-text", PaddingScheme.oaepSha512)).decode()
    return {
        "decrypted to the expected value": f"canary-text:{good}:{PROVIDER_NAME}:PfxKey:SHA512:4",
        "to another value": f"other:{good}:{PROVIDER_NAME}:PfxKey:SHA512:4",
        "DecryptFailed": f"canary-text:{good}:{PROVIDER_NAME}:PfxKey:SHA256:4",
        "KeyNotFound": f"canary-text:{good}:{PROVIDER_NAME}:Absent:SHA512:4",
        "ProviderUnknown": f"canary-text:{good}:Smart Card:PfxKey:SHA512:4",
        "expected padding 4 (OAEP)": f"canary-text:{good}:{PROVIDER_NAME}:PfxKey:SHA512:2",
        "got something else": f"{PROVIDER_NAME}:PfxKey:SHA512:4:canary-text:canary-text",
        "expected 6 fields": "canary-text:only:three",
        "expected base64": f"canary-text:%%:{PROVIDER_NAME}:PfxKey:SHA512:4",
    }


def test_validation_proves_the_account_can_decrypt(tmp_path: Path, lines: dict[str, str]) -> None:
    """Each line of the test file passes or fails for its own reason, in the output and in the result file, without its texts."""
    path = tmp_path / "PFXImportTestFile.txt"
    path.write_text("\n".join(lines.values()) + "\n")
    keys = ["--keys", str(tmp_path / "keys"), "--file", str(path)]
    result = command("validate", *keys, "--json")
    assert result.exit_code == 1
    for expected, one in zip(lines, json.loads(result.stdout), strict=True):
        assert expected in one["text"]
        assert one["passed"] is (one["line"] == 1)
    marker = (tmp_path / "PFXImportTestResultsMarker.txt").read_text()
    assert [line.partition(":")[0] for line in marker.splitlines()] == ["Passed"] + ["Failed"] * (len(lines) - 1)
    assert "canary" not in marker + result.output
    path.write_text(next(iter(lines.values())))
    assert command("validate", *keys).exit_code == 0
    path.write_bytes(b"\xff\xfe\x00")
    assert command("validate", *keys).exit_code == 2
