"""Microsoft's own Python clients, unmodified, against `pfxlab up` in another process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pfxlab.scenarios.lab import key_cache
from tests.tracing import traced

SCRIPT = Path(__file__).with_name("sdk_client.py")
PFXLAB = [sys.executable, "-m", "pfxlab.scenarios.cli"]


def start(folder: Path, *options: str, measured: bool = False) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Return a running `pfxlab up` and its ready facts."""
    ready_file = folder / "ready.json"
    if not (folder / "data").exists():
        key_cache.lay_out(folder / "data")
    command = [*PFXLAB, "up", "--data", str(folder / "data"), "--ready-file", str(ready_file), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=traced() if measured else None
    )
    for _ in range(300):
        if ready_file.exists():
            return process, json.loads(ready_file.read_text())
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"no ready file: {process.communicate()}")


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """End a process and return its exit code."""
    process.send_signal(number)
    process.communicate(timeout=600)
    return process.returncode


@pytest.fixture
def up(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return the ready facts of a running lab."""
    process, facts = start(tmp_path)
    yield facts
    assert stop(process) == 0


def sdk(facts: dict[str, Any], *arguments: str) -> dict[str, Any]:
    """Return the SDK client's output."""
    environment = {**os.environ, "SSL_CERT_FILE": facts["ca_file"], "REQUESTS_CA_BUNDLE": facts["ca_file"]}
    command = [sys.executable, str(SCRIPT), json.dumps(facts), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_sdk_does_everything_and_finds_it_again(tmp_path: Path) -> None:
    """Microsoft's SDK does its work with records, profiles, batches and the directory, and finds it after a restart."""
    process, facts = start(tmp_path, "--with", "connector,devices", measured=True)
    try:
        # One process: loading the SDK takes longer than all that it does.
        jobs = ("records", "profiles", "batch", "directory", "members", "time", "withheld", "leave")
        done = sdk(facts, *jobs)
    finally:
        assert stop(process) == 0
    assert not (tmp_path / "ready.json").exists()
    assert done["records"] == {
        "created": [True, "smimeEncryption", "oaepSha512", "AA=="],
        "listed": 1,
        "filtered": 1,
        "missed": 0,
        "counted": 1,
        "got": "KeyA",
        "patched": "KeyB",
        "deleted": 0,
        "unknown": ["ResourceNotFound", 404],
        "refused": ["Forbidden", 403],
    }
    assert done["profiles"] == {
        "created": "IosImportedPFXCertificateProfile",
        "listed": ["IosImportedPFXCertificateProfile", "Windows10ImportedPFXCertificateProfile"],
        "assignments": ["GroupAssignmentTarget"],
    }
    assert done["batch"] == {"statuses": [200, 200]}
    assert done["directory"] == {
        "app": [True, True, True],
        "user": ["sdk@pfxlab.example", True],
        "roles": ["Global Administrator", "Intune Administrator"],
        "connector": ["active", "PkcsImportSuccessCount", 0],
        "device": ["compliant", "managed", "user@pfxlab.example"],
        "action": ["syncDevice", "pending"],
    }
    assert done["members"] == {
        "types": ["User", "User", "Group"],
        "counted": 1,
        "found": [["SMTP:user@pfxlab.example"]],
        "refused": ["Request_UnsupportedQuery", 400],
    }
    assert done["time"] == {
        "goes_on": True,
        "tokens_for_a_month": 0,
        "survives_revocation": True,
        "tokens_for_a_challenge": 1,
    }
    assert done["withheld"] == {"refused": [401, "Access token is empty."], "rules": 1}
    process, after = start(tmp_path)
    try:
        assert (after["tenant_id"], after["application"]) == (facts["tenant_id"], facts["application"])
        assert sdk(after, "count") == {"count": {"records": 4, "profiles": 3}}
    finally:
        stop(process)


def test_ready_file_has_every_documented_key(up: dict[str, Any]) -> None:
    """The ready file has every documented key, its files exist, and it is removed when the lab ends."""
    wanted = {"graph_url", "authority_url", "tenant_id", "ca_file", "application", "limited_application", "mail_user"}
    assert wanted | {"connector_public_key_file", "control_url"} <= set(up)
    assert up["authority_url"] == f"{up['graph_url']}/{up['tenant_id']}"
    assert Path(up["connector_public_key_file"]).read_text().startswith("-----BEGIN PUBLIC KEY-----")
    assert Path(up["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_port_in_use_is_reported(up: dict[str, Any]) -> None:
    """A port in use ends `up` with exit code 3 and a sentence that names the port."""
    port = up["graph_url"].rpartition(":")[2]
    done = subprocess.run([*PFXLAB, "up", "--port", port], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 3
    assert f"expected port {port} to be free" in done.stderr


def test_exec_runs_a_command_in_its_lab() -> None:
    """`exec` sets the environment, and its exit code is the command's."""
    code = "import os, sys; assert os.environ['AZURE_AUTHORITY_HOST'].startswith('https://localhost:'); sys.exit(7)"
    done = subprocess.run(
        [*PFXLAB, "exec", "--", sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 7, done.stderr


def test_failed_start_touches_no_other_ready_file(tmp_path: Path, up: dict[str, Any]) -> None:
    """An `up` that cannot start does not touch an existing file, not even another lab's ready file."""
    other = tmp_path / "other.json"
    other.write_text('{"control_token": "another lab"}')
    port = up["graph_url"].rpartition(":")[2]
    command = [*PFXLAB, "up", "--port", port, "--ready-file", str(other)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=600).returncode == 3
    assert json.loads(other.read_text()) == {"control_token": "another lab"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_exec_ends_with_its_command(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A signal to `exec` also ends its command, leaves no folder with keys, and gives a failure code."""
    child = (
        "import os, signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "open(sys.argv[1], 'w').write(f\"{os.getpid()} {os.environ['PFXLAB_READY_FILE']}\");"
        "time.sleep(60)"
    )
    note = tmp_path / "note"
    command = [*PFXLAB, "exec", "--", sys.executable, "-c", child, str(note)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(200):
        if note.exists() and note.read_text():
            break
        time.sleep(0.1)
    time.sleep(0.1)
    pid, ready_file = note.read_text().split()
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.communicate(timeout=600)
    assert process.returncode == code
    assert not Path(ready_file).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
