"""Reproduction bundles: a run in one file, without secrets, that can be replayed and compared."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.control import bundle
from pfxlab.scenarios.control.bundle import BadBundle, without_passwords
from tests.clients.test_official_sdk import PFXLAB
from tests.scenarios.scenario.test_scenarios import BEGIN, LATER

SECRET = "Canary-7731-geheim"
TOOL = """
import json, os, ssl, urllib.request
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
def ask(url, body=None, **headers):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with opener.open(urllib.request.Request(url, data, headers)) as answer:
        return json.load(answer)
form = "&".join(["grant_type=client_credentials", f"client_id={os.environ['AZURE_CLIENT_ID']}",
                 f"client_secret={os.environ['AZURE_CLIENT_SECRET']}", "scope=https://graph.microsoft.com/.default"])
token = ask(os.environ["PFXLAB_AUTHORITY_URL"] + "/oauth2/v2.0/token", form.encode())["access_token"]
for path in PATHS:
    ask(os.environ["PFXLAB_GRAPH_URL"] + path, Authorization=f"Bearer {token}")
"""


def command(*arguments: str) -> Result:
    """Return the output of a command."""
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Return the bundle of a scenario with a fault, a switch and a chosen password."""
    scenario = tmp_path / "scenario.yaml"
    password = f"  - certificate: {{name: secret, user: user@pfxlab.example, password: {SECRET}}}\n"
    fault = "  - fault: {kind: key_missing, times: 1}\n"
    scenario.write_text("switches: {page_size: 5}\n" + BEGIN + password + fault + "  - import: [secret]\n" + LATER)
    assert command("scenario", "run", str(scenario), "--bundle", str(tmp_path / "bundles")).exit_code == 0
    return tmp_path / "bundles" / "scenario.pfxlab.zip"


def test_scenario_runs_again(recorded: Path, tmp_path: Path) -> None:
    """A scenario's bundle replays to the same journal, byte for byte, and can write it."""
    written = tmp_path / "again.jsonl"
    done = command("replay", "--journal", str(written), str(recorded))
    assert done.exit_code == 0, done.output
    assert "The same: " in done.stdout
    assert written.read_text().splitlines() == list(bundle.unpack(recorded.read_bytes()).journal)


def test_bundle_of_an_earlier_version_runs_again() -> None:
    """A bundle written by commit 5b6d43b, which called a scenario a story, replays with the same journal."""
    done = command("replay", str(Path(__file__).with_name("wrong-purpose-of-5b6d43b.pfxlab.zip")))
    assert done.exit_code == 0, done.output
    assert "The same: 24 journal entries" in done.output


def test_bundle_has_the_lab_and_no_secret(recorded: Path) -> None:
    """Seed, clock, switches, faults, scenario and journal are in the bundle; no password, token or key is."""
    with zipfile.ZipFile(recorded) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    manifest = json.loads(texts["manifest.json"])
    assert manifest["start"]["seed"] == 7
    assert manifest["end"]["switches"]["page_size"] == 5
    assert manifest["end"]["faults"][0]["struck"] == 1
    assert manifest["end"]["time"].startswith("2026-03-03T08:00")
    everything = "\n".join(texts.values())
    assert SECRET not in everything
    assert "xxxxxx-0000-xxxxxx" in texts["scenario.yaml"]
    assert "PRIVATE KEY" not in everything
    assert recorded.stat().st_mode & 0o777 == 0o600


def test_different_replay_is_reported(recorded: Path, tmp_path: Path) -> None:
    """A replay that differs ends with code 1 and shows the first different entry."""
    made = bundle.unpack(recorded.read_bytes())
    changed = [line.replace("delivery wanted", "delivery craved") for line in made.journal]
    other = tmp_path / "other.zip"
    other.write_bytes(bundle.pack(bundle.Bundle(made.kind, made.start, made.end, changed, scenario=made.scenario)))
    done = command("replay", str(other))
    assert done.exit_code == 1
    assert "Another way from journal entry" in done.stdout
    assert "delivery craved" in done.stdout


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "version", "scenario"])
def test_damaged_bundle(recorded: Path, tmp_path: Path, damage: str) -> None:
    """A truncated bundle, one of another version and another kind of file are refused with a remedy."""
    data = recorded.read_bytes()
    made = bundle.unpack(data)
    texts = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "foreign": b"PK\x03\x04 no archive",
        "version": data,
        "scenario": bundle.pack(bundle.Bundle("scenario", made.start, made.end, made.journal, scenario="title: x\n")),
    }
    path = tmp_path / "damaged.zip"
    path.write_bytes(texts[damage])
    if damage == "version":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", json.dumps({"format": "pfxlab bundle 99", "kind": "scenario"}))
    done = command("replay", str(path))
    assert done.exit_code == 2
    assert "expected" in done.stderr or "cannot be told" in done.stderr
    if damage != "scenario":
        with pytest.raises(BadBundle):
            bundle.unpack(path.read_bytes())


def test_passwords_keep_their_shape() -> None:
    """The replacement of a password has its length, with digits, signs and non-ASCII letters in the same places."""
    text = "steps:\n- {password: Grüße-12, name: password}\n- password: 'a b'\n- x: [{password: 12345}]\n"
    assert without_passwords(text) == (
        "steps:\n- password: xxüüx-00\n  name: password\n- password: x-x\n- x:\n  - password: '00000'\n"
    )
    block = "- password: |-\n    Пароль 12\n- &p {password: a}\n- *p\n"
    assert "Пароль" not in without_passwords(block)
    assert without_passwords(block).count("password: x") == 2
    assert without_passwords("- import: mail # kept\n") == "- import: mail # kept\n"


def tool(*paths: str) -> list[str]:
    """Return a command that signs in and reads paths of Graph."""
    return [sys.executable, "-c", TOOL.replace("PATHS", repr(list(paths)))]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return a `pfxlab` command that ran."""
    return subprocess.run([*PFXLAB, *arguments], capture_output=True, text=True, check=False, timeout=600)


def test_run_of_a_tool_runs_again(tmp_path: Path) -> None:
    """A lab that a tool drove is passed on; the tool runs again in the same world, or is found to do something else."""
    file = str(tmp_path / "run.zip")
    script = tmp_path / "both.sh"
    words = tool("/v1.0/users", "/beta/deviceManagement/userPfxCertificates")
    script.write_text(f'"$@" && {" ".join(PFXLAB)} bundle --out {file}\n')
    done = lab("exec", "--seed", "21", "--", "sh", str(script), *words)
    assert done.returncode == 0, done.stderr
    assert "Next: pfxlab replay" in done.stdout
    done = lab("replay", file, "--", *words)
    assert (done.returncode, "The same: 3 journal entries" in done.stdout) == (0, True), done.stdout + done.stderr
    assert "seed 21" in done.stdout
    done = lab("replay", file, "--", *tool("/v1.0/users", "/v1.0/groups"))
    assert done.returncode == 1
    assert '"path": "/v1.0/groups"' in done.stdout
    assert lab("replay", file).returncode == 2
