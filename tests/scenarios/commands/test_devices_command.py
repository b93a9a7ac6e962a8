"""`pfxlab devices`: a fleet beside a running lab, as a user runs it."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization

from pfxlab.connector_sim.cmdlets import EncryptionKey, GraphClient
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.mail.authority import MailAuthority
from pfxlab.scenarios.mail.openssl import OpenSsl
from pfxlab.scenarios.mail.proofs import write_mail
from tests.clients.test_official_sdk import start, stop

UPN = "fleet-00001@pfxlab.example"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return the ready file of a running lab with a connector, and its facts."""
    folder = tmp_path_factory.mktemp("lab")
    process, facts = start(folder, "--with", "connector")
    yield folder / "ready.json", facts
    stop(process)


def run(*arguments: object) -> Result:
    """Return the result of a command."""
    return CliRunner().invoke(main, ["devices", *map(str, arguments)])


def told(*arguments: object) -> Any:
    """Return the JSON of a command that succeeds."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_fleet_gets_certificates_and_opens_mail(lab: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A fleet enrols, checks in until its certificates are there, and one of its devices opens and signs mail."""
    ready, fleet = lab[0], ("--data", tmp_path / "fleet")
    enrolled = told("enroll", "--ready-file", ready, *fleet, "--count", 4, "--platforms", "ios,windows", "--users", 2)
    assert (enrolled["done"], enrolled["failed"]) == (4, 0)
    assert set(enrolled["milliseconds"]) == {"p50", "p95", "p99"}
    more = told("enroll", "--ready-file", ready, *fleet, "--count", 1, "--platforms", "androidForWork", "--users", 2)
    assert more["done"] == 1
    history = MailAuthority(datetime.now(UTC)).history(UPN)
    asyncio.run(_import(lab[1], history))
    for _ in range(20):
        rounds = told("checkin", "--ready-file", ready, *fleet)["rounds"]
        listed = {one["name"]: one["certificates"] for one in told("show", *fleet)}
        if listed["ios-00000"] == listed["ios-00002"] == 4:
            break
    assert rounds[0]["failed"] == 0
    assert listed == {
        "ios-00000": 4, "windows-00001": 0, "ios-00002": 4, "windows-00003": 0, "androidForWork-00004": 0,
    }  # fmt: skip
    held = told("show", "ios-00000", *fleet)["certificates"]
    assert {one["maySign"] for one in held} == {True, False}
    pfx = open_pfx(history[0].pfx, history[0].password)
    written = asyncio.run(write_mail(OpenSsl(), "old", pfx.certificate, pfx.thumbprint, 0))
    (tmp_path / "mail.eml").write_bytes(written.mail)
    opened = run("mail", "ios-00000", "--open", tmp_path / "mail.eml", "--out", tmp_path / "text", *fleet)
    assert (opened.exit_code, pfx.thumbprint in opened.stderr) == (0, True)
    assert written.text.strip() in (tmp_path / "text").read_bytes()
    signed = run("mail", "ios-00000", "--sign", tmp_path / "text", *fleet)
    assert "multipart/signed" in signed.stdout
    foreign = run("mail", "windows-00001", "--open", tmp_path / "mail.eml", *fleet)
    assert (foreign.exit_code, "addressed to none of the 0" in foreign.stderr) == (1, True)
    table = run("show", *fleet)
    assert "androidForWork-00004" in table.stdout
    asyncio.run(_retire(lab[1], told("show", "ios-00002", *fleet)["deviceId"]))
    (left,) = told("checkin", "--ready-file", ready, *fleet)["rounds"]
    assert (left["done"], left["failed"]) == (5, 0)
    assert "ios-00002" not in run("show", *fleet).stdout


async def _retire(facts: dict[str, Any], device_id: str) -> None:
    """Let a device unenrol at its next check-in."""
    async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
        await client.sign_in({"grant_type": "client_credentials", **facts["application"]})
        await client.call("POST", f"/beta/deviceManagement/managedDevices/{device_id}/retire", {})


async def _import(facts: dict[str, Any], history: list[Any]) -> None:
    """Import certificates for the first user, with profiles for iOS assigned to the lab's group."""
    public = serialization.load_pem_public_key(Path(facts["connector_public_key_file"]).read_bytes())
    key = EncryptionKey(public, facts["provider_name"], facts["key_name"])  # type: ignore[arg-type]
    async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
        await client.sign_in({"grant_type": "client_credentials", **facts["application"]})
        for made in history:
            opened = open_pfx(made.pfx, made.password)
            await chain.import_pfx(client, opened, made.password, UPN, made.purpose, key, made.padding)
        for purpose in {made.purpose for made in history}:
            await chain.assign_profile(client, "ios", purpose, facts["group_id"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("enroll", "--platforms", "toaster"), "expected a list of ios"),
        (("enroll", "--platforms", ""), "expected a list of ios"),
        (("checkin",), "expected a fleet in"),
    ],
)
def test_usage_errors_are_reported(lab: tuple[Path, dict[str, Any]], tmp_path: Path, arguments: Any, said: str) -> None:
    """An unknown platform and a folder without a fleet end with code 2 and a sentence."""
    result = run(*arguments, "--ready-file", lab[0], "--data", tmp_path / "none")
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_unknown_names_are_reported(tmp_path: Path) -> None:
    """A name outside the fleet, a missing fleet, and mail without a file end with code 2."""
    assert run("show", "--data", tmp_path).exit_code == 2
    (tmp_path / "fleet.jsonl").write_text('{"name": "ios-1", "platform": "ios", "upn": "u"}\n{"name": "cut')
    (tmp_path / "devices" / "ios-1").mkdir(parents=True)
    (tmp_path / "devices" / "ios-1" / "device.json").write_text("{}")
    unknown = run("show", "ios-2", "--data", tmp_path)
    assert (unknown.exit_code, "expected names" in unknown.stderr) == (2, True)
    lost = run("show", "ios-1", "--data", tmp_path)
    assert (lost.exit_code, "expected the device ios-1" in lost.stderr) == (3, True)
    assert run("mail", "ios-1", "--data", tmp_path).exit_code == 2


def test_stopped_lab_is_reported(lab: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A ready file of a lab that does not run any more ends with code 3 and a sentence."""
    facts = {**lab[1], "graph_url": "https://localhost:9", "authority_url": "https://localhost:9/t"}
    stale = tmp_path / "stale.json"
    stale.write_text(json.dumps(facts))
    result = run("enroll", "--ready-file", stale, "--data", tmp_path / "f", "--count", 1, "--shared-keys", 1)
    assert (result.exit_code, "expected a lab at https://localhost:9" in result.stderr) == (3, True)
