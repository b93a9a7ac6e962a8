"""`pfxlab connector` beside a running lab, as an administrator runs it."""

import asyncio
import base64
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim import identity
from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.connector_sim.keys.padding import encrypt
from pfxlab.connector_sim.keys.software import PROVIDER_NAME, SoftwareKsp
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.scenarios.cli import main
from tests.clients.test_official_sdk import PFXLAB, sdk, start, stop
from tests.conftest import self_signed
from tests.tracing import traced


def command(*arguments: str) -> Result:
    """Return the result of a command."""
    return CliRunner().invoke(main, ["connector", *arguments])


def wait_for(folder: Path, name: str) -> dict[str, Any]:
    """Return the status of a connector once its log has an event of that name."""
    for _ in range(150):
        result = command("status", "--data", str(folder), "--json")
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
        made = command("enroll", "--data", str(folder), "--ready-file", ready, "--json")
        assert made.exit_code == 0, made.output
        again = command("enroll", "--data", str(folder), "--ready-file", ready)
        assert (again.exit_code, "which holds one" in again.stderr) == (2, True)
        running = [*PFXLAB, "connector", "run", "--data", str(folder), "--keys", str(tmp_path / "keys"),
                   "--report-version", "6.2301.1.0"]  # fmt: skip
        working = subprocess.Popen(running, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=traced())
        shown = wait_for(folder, "HealthMessageUploadSuccess")
        assert shown["heartbeat"]["name"] == "HealthMessageUploadSuccess"
        second = subprocess.run(running, capture_output=True, text=True, check=False, timeout=600)
        assert (second.returncode, "expected no other process" in second.stderr) == (3, True)
        assert shown["connectorId"] == json.loads(made.stdout)["connectorId"]
        assert "4 VersionDeprecated" in shown["events"]
        assert sdk(facts, "count") == {"count": {"records": 0, "profiles": 0}}
        working.send_signal(signal.SIGTERM)
        out, err = working.communicate(timeout=600)
        assert (working.returncode, "Drained and stopped." in out) == (0, True), err
        assert "2 ServiceStopped" in json.loads(command("status", "--data", str(folder), "--json").stdout)["events"]
    finally:
        stop(process)


def test_deleted_connector_ends_with_a_reason(tmp_path: Path) -> None:
    """A connector that was deleted in the service ends by itself with a remedy, and its status shows why."""
    process, facts = start(tmp_path)
    folder = tmp_path / "connector"
    try:
        made = command("enroll", "--data", str(folder), "--ready-file", str(tmp_path / "ready.json"), "--json")
        connector = json.loads(made.stdout)["connectorId"]
        delete(facts, f"/beta/deviceManagement/ndesConnectors/{connector}")
        running = [*PFXLAB, "connector", "run", "--data", str(folder), "--keys", str(tmp_path / "keys")]
        ended = subprocess.run(running, capture_output=True, text=True, check=False, timeout=600)
        assert ended.returncode == 3
        assert "was deleted from the service" in ended.stderr
        assert "enrol again" in ended.stderr
        assert "UnknownConnector" in command("status", "--data", str(folder)).stdout
    finally:
        stop(process)


def delete(facts: dict[str, Any], path: str) -> None:
    """Delete something over Graph as the lab's administrator."""

    async def work() -> None:
        async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
            await client.sign_in({"grant_type": "client_credentials", **facts["application"]})
            await client.call("DELETE", path)

    asyncio.run(work())


def test_enrolment_that_cannot_be_kept_is_not_begun(tmp_path: Path) -> None:
    """A folder that cannot be created, or an invalid name, ends the command before anything contacts the lab."""
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps({**NOBODY, "ca_file": str(tmp_path / "ca.pem")}))
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "file").write_text("x")
    blocked = command("enroll", "--data", str(tmp_path / "file" / "c"), "--ready-file", str(ready))
    assert (blocked.exit_code, "Not a directory" in blocked.stderr) == (3, True), blocked.output
    for option in ("--machine", "--name"):
        empty = command("enroll", "--data", str(tmp_path / "c"), "--ready-file", str(ready), option, " ")
        assert (empty.exit_code, "expected 1 to 256 characters" in empty.stderr) == (2, True)
    (tmp_path / "secret").write_bytes(b"canary\xff")
    other = command("enroll", "--data", str(tmp_path / "c"), "--ready-file", str(ready), "--user", "u@x",
                    "--password-file", str(tmp_path / "secret"))  # fmt: skip
    assert (other.exit_code, "expected text in UTF-8" in other.stderr, "canary" in other.output) == (2, True, False)
    ready.write_text("{}")
    assert command("enroll", "--data", str(tmp_path / "c"), "--ready-file", str(ready)).exit_code == 2
    assert not (tmp_path / "c").exists()


NOBODY = {
    "graph_url": "https://localhost:9", "authority_url": "https://localhost:9/x", "ca_file": "ca.pem",
    "application": {"client_id": "a", "client_secret": "canary"}, "administrator": {"upn": "o", "password": "canary"},
    "public_application": {"client_id": "p"}, "connector_public_key_file": "k", "provider_name": "p", "key_name": "k",
}  # fmt: skip


def test_damaged_folder_gets_a_remedy(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """A truncated line in the log is skipped; a missing or truncated service file ends with a remedy."""
    der = self_signed(rsa_key).public_bytes(serialization.Encoding.DER)
    identity.save(tmp_path, "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0", rsa_key, der)
    event = {"time": "t", "id": 5000, "name": "HealthMessageUploadSuccess", "text": "heartbeat accepted"}
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + '\n{"time": "20\n\n[]\n')
    shown = command("status", "--data", str(tmp_path), "--json")
    assert json.loads(shown.stdout)["events"] == {"5000 HealthMessageUploadSuccess": 1}
    for content in (None, '{"service_url": "https://loc'):
        if content is not None:
            (tmp_path / "service.json").write_text(content)
        result = command("run", "--data", str(tmp_path), "--keys", str(tmp_path / "keys"))
        assert (result.exit_code, "enrol again" in result.stderr) == (3, True), result.output


@pytest.mark.parametrize(
    "proxy", ["https://h:1", "h:3128", "http://proxy9", "http://user:canary@h:port", "http://:3128"]
)
def test_invalid_proxy_is_refused(tmp_path: Path, proxy: str) -> None:
    """An address that is not http://host:port is a usage error that does not quote it, since it may have a password."""
    result = command("run", "--data", str(tmp_path), "--proxy", proxy)
    assert (result.exit_code, "expected http://host:port" in result.stderr) == (2, True)
    assert proxy not in result.output


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
            result = command("enroll", "--data", str(tmp_path / "c"), "--ready-file", str(tmp_path / "ready.json"),
                             "--user", "plain@pfxlab.example", "--password-file", str(tmp_path / "password"))  # fmt: skip
            assert (result.exit_code, words in result.stderr, "canary" in result.output) == (3, True, False)
        assert not list(tmp_path.glob("c/*"))
    finally:
        stop(process)


def test_commands_without_a_connector_name_the_first_command(tmp_path: Path) -> None:
    """Run and status over an empty folder end with a usage error that names the command to run first."""
    for arguments in (["run"], ["status"]):
        result = command(*arguments, "--data", str(tmp_path))
        assert (result.exit_code, "Next: pfxlab connector enroll" in result.stderr) == (2, True)
    (tmp_path / "connector-x.pem").write_text("canary")
    damaged = command("status", "--data", str(tmp_path))
    assert (damaged.exit_code, "enrol again" in damaged.stderr, "canary" in damaged.output) == (3, True, False)


@pytest.fixture
def lines(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Return lines of a test file by their expected result."""
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
    """Each line of the test file passes or fails for its own reason, in output and result file, without its secrets."""
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
