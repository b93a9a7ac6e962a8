"""`pfxlab pfx` as an administrator types it, and its bulk import when Graph throttles or loses answers."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from pfxlab.connector_sim.bulk_import import Item, import_all, import_one
from pfxlab.connector_sim.cmdlets import COLLECTION, GraphClient, new_user_pfx_certificate
from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.connector_sim.retry import pause_of
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.ready_file import environment
from pfxlab.scenarios.mail.authority import export_pfx
from tests.clients.test_official_sdk import start, stop
from tests.conftest import movable_wall, self_signed

UPN = "user@pfxlab.example"
PASSWORD = "canary-pfx-password"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return a running lab's ready file and facts."""
    folder = tmp_path_factory.mktemp("lab")
    process, facts = start(folder)
    yield folder / "ready.json", facts
    stop(process)


@pytest.fixture
def files(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> list[Path]:
    """Return three PFX files with the file of their password."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    paths = [tmp_path / f"mail{number}.pfx" for number in range(3)]
    for path in paths:
        path.write_bytes(export_pfx("n", rsa_key, self_signed(rsa_key, path.name), PASSWORD))
    return paths


def pfx(up: tuple[Path, dict[str, Any]], *arguments: str, code: int = 0) -> Result:
    """Return the result of a command against the lab, after checking its exit code and that it prints no password."""
    ready = [] if arguments[0] in ("token", "base64") else ["--ready-file", str(up[0])]
    result = CliRunner().invoke(main, ["pfx", *arguments, *ready])
    assert result.exit_code == code, result.output
    assert PASSWORD not in result.output
    return result


def said(result: Result) -> Any:
    """Return the JSON a command printed."""
    return json.loads(result.stdout)


def test_life_of_imported_certificates(up: tuple[Path, dict[str, Any]], files: list[Path], tmp_path: Path) -> None:
    """Files are imported, found again, not imported twice, updated, listed by each selector, and removed by each."""
    one = ["--password-file", str(tmp_path / "password"), "--user", UPN, "--json"]
    names = [str(path) for path in files]
    assert said(pfx(up, "import", *names, *one))["created"] == 3
    again = said(pfx(up, "import", *names, *one))
    assert (again["created"], again["there"], again["failed"]) == (0, 3, [])
    assert said(pfx(up, "import", names[0], *one, "--update", "--name", "Second key"))["updated"] == 1
    everything = said(pfx(up, "get", "--json"))
    assert len(everything) == 3
    (changed,) = [record for record in everything if record["keyName"] == "Second key"]
    pair = f"{UPN.upper()}:{changed['thumbprint'].upper()}"
    assert [record["id"] for record in said(pfx(up, "get", "--pair", pair, "--json"))] == [changed["id"]]
    assert len(said(pfx(up, "get", "--user", UPN, "--json"))) == 3
    user = said(pfx(up, "user-id", UPN, "--json"))["id"]
    assert changed["id"].startswith(user.replace("-", ""))
    assert "No user was found" in pfx(up, "user-id", "nobody@pfxlab.example", code=3).stderr
    assert said(pfx(up, "remove", "--pair", pair, "--json")) == {"removed": [changed["id"]], "absent": []}
    gone = said(pfx(up, "remove", "--pair", pair, "--id", changed["id"], "--json", code=1))
    assert gone == {"removed": [], "absent": [pair, changed["id"]]}
    other = said(pfx(up, "get", "--json"))[0]["id"]
    assert said(pfx(up, "remove", "--id", other, "--json"))["removed"] == [other]
    assert len(said(pfx(up, "remove", "--user", UPN, "--json"))["removed"]) == 1
    assert "No records" in pfx(up, "get").stdout


def test_manifest_reports_files_that_cannot_be_imported(
    up: tuple[Path, dict[str, Any]], files: list[Path], tmp_path: Path
) -> None:
    """Of a CSV the good rows are imported and the bad ones reported with their reasons; a second run does the rest only."""
    (tmp_path / "wrong").write_text("wrong")
    manifest, resume = tmp_path / "list.csv", tmp_path / "done"
    rows = [
        "pfx,password_file,upn,purpose",
        f"mail0.pfx,password,{UPN},smimeSigning",
        f"mail1.pfx,wrong,{UPN},",
        "mail2.pfx,password,nobody@pfxlab.example,",
        f"absent.pfx,password,{UPN},",
        f"mail1.pfx,password,{UPN},cheese",
    ]
    manifest.write_text("\n".join(rows) + "\n")
    arguments = ["import", "--manifest", str(manifest), "--progress-file", str(resume), "--json"]
    first = said(pfx(up, *arguments, code=1))
    assert first["created"] == 1
    reasons = " | ".join(one["reason"] for one in first["failed"])
    for words in ("password does not open", "400 BadRequest", "expected a file", "expected one of unassigned"):
        assert words in reasons
    manifest.write_text("\n".join([rows[0], rows[1], f"mail1.pfx,password,{UPN},"]) + "\n")
    second = said(pfx(up, *arguments))
    assert (second["created"], second["skipped"], second["failed"]) == (1, 1, [])
    purposes = {record["intendedPurpose"] for record in said(pfx(up, "get", "--json"))}
    assert purposes == {"smimeSigning", "smimeEncryption"}
    pfx(up, "remove", "--user", UPN)


def test_update_ignores_the_resume_file_of_an_import(
    up: tuple[Path, dict[str, Any]], files: list[Path], tmp_path: Path
) -> None:
    """A resume file of an import skips nothing of an update; an unwritable one stops the command before any import."""
    some = [str(files[0]), "--password-file", str(tmp_path / "password"), "--user", UPN, "--json"]
    refused = pfx(up, "import", *some, "--progress-file", str(tmp_path / "missing" / "done"), code=3)
    assert "expected to read and write" in refused.stderr
    assert said(pfx(up, "get", "--json")) == []
    resume = ["--progress-file", str(tmp_path / "done")]
    assert said(pfx(up, "import", *some, *resume))["created"] == 1
    first = said(pfx(up, "import", *some, *resume, "--update", "--name", "Second key"))
    assert (first["updated"], first["skipped"]) == (1, 0)
    second = said(pfx(up, "import", *some, *resume, "--update", "--name", "Second key"))
    assert (second["updated"], second["skipped"]) == (0, 1)
    pfx(up, "remove", "--user", UPN)


def test_torn_line_of_a_progress_file_is_repaired(
    up: tuple[Path, dict[str, Any]], files: list[Path], tmp_path: Path
) -> None:
    """A last line truncated by a kill is ignored, and the next run writes complete lines below it."""
    some = [str(files[0]), "--password-file", str(tmp_path / "password"), "--user", UPN, "--json"]
    resume = tmp_path / "done"
    assert said(pfx(up, "import", *some, "--progress-file", str(resume)))["created"] == 1
    (line,) = resume.read_text().splitlines()
    pfx(up, "remove", "--user", UPN)
    resume.write_text(line[:-4])
    assert said(pfx(up, "import", *some, "--progress-file", str(resume)))["created"] == 1
    assert resume.read_text().splitlines() == [line[:-4], line]
    assert said(pfx(up, "import", *some, "--progress-file", str(resume)))["skipped"] == 1
    pfx(up, "remove", "--user", UPN)


def test_a_key_of_ones_own_needs_its_own_name(
    up: tuple[Path, dict[str, Any]], files: list[Path], tmp_path: Path
) -> None:
    """The lab's key name is never used with another public key, and the lab's provider is used with the lab's key."""
    ksp = SoftwareKsp(tmp_path / "keys")
    pem = ksp.add("mine").public_key()
    (tmp_path / "mine.pem").write_bytes(
        pem.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    one = [str(files[0]), "--password-file", str(tmp_path / "password"), "--user", UPN]
    assert (
        "--public-key needs --name" in pfx(up, "new", *one, "--public-key", str(tmp_path / "mine.pem"), code=2).stderr
    )
    mine = said(pfx(up, "new", *one, "--public-key", str(tmp_path / "mine.pem"), "--name", "mine"))
    labs = said(pfx(up, "new", *one))
    assert (mine["keyName"], labs["keyName"]) == ("mine", up[1]["key_name"])
    assert labs["providerName"] == up[1]["provider_name"]
    encrypted = base64.b64decode(mine["encryptedPfxPassword"])
    assert ksp.open("mine").decrypt(encrypted, PaddingScheme.oaepSha512) == PASSWORD.encode()


def test_certificates_that_devices_refuse_get_a_warning(
    up: tuple[Path, dict[str, Any]], tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """A PFX without a password is imported, with a warning on standard error."""
    bare = pkcs12.serialize_key_and_certificates(
        b"n", rsa_key, self_signed(rsa_key), None, serialization.NoEncryption()
    )
    (tmp_path / "bare.pfx").write_bytes(bare)
    (tmp_path / "password").write_text("\n")
    made = pfx(up, "new", str(tmp_path / "bare.pfx"), "--password-file", str(tmp_path / "password"), "--user", UPN)
    assert "WARNING" in made.stderr
    assert "empty password" in made.stderr
    assert said(made)["thumbprint"]


def test_lab_takes_precedence_over_a_saved_token(
    up: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within `pfxlab exec` commands use the lab, not the tenant of an earlier token."""
    monkeypatch.setattr("click.get_app_dir", lambda _: str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    kept = {"graph_url": "https://127.0.0.1:9", "ca_file": None, "token": "canary-token"}
    (tmp_path / "home" / "token.json").write_text(json.dumps(kept))
    for name, value in environment(up[1], up[0]).items():
        monkeypatch.setenv(name, value)
    listed = CliRunner().invoke(main, ["pfx", "get", "--json"])
    assert (listed.exit_code, json.loads(listed.stdout)) == (0, [])


@pytest.mark.parametrize(
    ("name", "content", "arguments", "words"),
    [
        ("ready", b"canary", ["get", "--ready-file", "ready"], "expected the ready file of a running lab"),
        ("ready", b"{}", ["get", "--ready-file", "ready"], "expected the ready file of a running lab"),
        ("ready", b"[1]", ["new", "a.pfx", *["--password-file", "ready", "--user", "u", "--ready-file", "ready"]], "a running lab"),
        ("home/token.json", b"canary", ["get"], "expected a token in"),
        ("list.csv", b"pfx,password_file,upn\n\xff,b,c", ["import", "--manifest", "list.csv"], "expected CSV in UTF-8"),
        ("secret", b"canary\xff", [*["token", "set", "--graph-url", "https://localhost:9", "--authority-url", "x", "--client-id"], "z",
                                   "--client-secret-file", "secret"], "expected text in UTF-8 in secret"),
    ],
)  # fmt: skip
def test_files_that_are_something_else_end_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, arguments: list[str], words: str
) -> None:
    """The error for a file of another kind names it, does not quote it, and is no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("click.get_app_dir", lambda _: str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    Path("a.pfx").write_bytes(b"x")
    Path(name).write_bytes(content)
    result = CliRunner().invoke(main, ["pfx", *arguments])
    assert (result.exit_code, words in result.stderr) == (2, True), result.output
    assert "canary" not in result.output
    assert "xff" not in result.output


def test_token_is_kept_for_the_next_commands(
    up: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token set once serves later commands from a file only its owner may read, until it is removed."""
    monkeypatch.setattr("click.get_app_dir", lambda _: str(tmp_path / "home"))
    facts = up[1]
    (tmp_path / "secret").write_text(facts["application"]["client_secret"])
    pfx(up, "token", "set", "--graph-url", facts["graph_url"], "--authority-url", facts["authority_url"],
        "--client-id", facts["application"]["client_id"], "--client-secret-file", str(tmp_path / "secret"),
        "--ca-file", facts["ca_file"])  # fmt: skip
    (kept,) = (tmp_path / "home").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    listed = CliRunner().invoke(main, ["pfx", "get", "--json"])
    assert (listed.exit_code, json.loads(listed.stdout)) == (0, [])
    pfx(up, "token", "remove")
    assert CliRunner().invoke(main, ["pfx", "get"]).exit_code == 2


def test_record_is_created_without_graph(up: tuple[Path, dict[str, Any]], files: list[Path], tmp_path: Path) -> None:
    """`new` prints the record for Graph, and `base64` the file; OpenSSL and the file confirm both."""
    record = said(pfx(up, "new", str(files[0]), "--password-file", str(tmp_path / "password"), "--user", UPN,
                      "--purpose", "smimeSigning", "--padding", "oaepSha256"))  # fmt: skip
    assert (record["intendedPurpose"], record["paddingScheme"]) == ("smimeSigning", "oaepSha256")
    assert record["encryptedPfxBlob"] == pfx(up, "base64", str(files[0])).stdout.strip()
    assert record["thumbprint"] == open_pfx(files[0].read_bytes(), PASSWORD).thumbprint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import"], "expected PFX files or a --manifest"),
        (["remove"], "expected --user, --pair or --id"),
        (["get", "--pair", "nothing"], "expected UPN:THUMBPRINT"),
        (["token", "set", "--graph-url", "http://x", "--authority-url", "y", "--client-id", "z"], "expected an https"),
    ],
)
def test_usage_error_names_the_expected_argument(
    up: tuple[Path, dict[str, Any]], arguments: list[str], words: str
) -> None:
    """A command without a required argument ends with a usage error of one sentence."""
    assert words in pfx(up, *arguments, code=2).stderr


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "2.128"}, 2.128),
        ({"x-ms-retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30),
        ({"Retry-After": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0),
        ({"Retry-After": "99999"}, 300),
        ({"Retry-After": "soon"}, 8),
        ({}, 8),
    ],
)
def test_retry_after_is_honoured(headers: dict[str, str], seconds: float) -> None:
    """Retry-After in seconds, fractions, milliseconds and dates is honoured; any other value gives a growing back-off."""
    assert pause_of(headers, 3, NOW) == seconds


class Losing(GraphClient):
    """A client that loses a number of responses after the service has done its work."""

    lost = 0
    posted = 0

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Pass on, and lose the answer of a POST."""
        answer = await super().call(method, path, body)
        if method == "POST" and path == COLLECTION:
            self.posted += 1
            if self.lost:
                self.lost -= 1
                raise GraphRefused("the connection was reset")
        return answer


class Leaping:
    """A wall clock that stands, on which waiting is moving."""

    def __init__(self, lab: Lab) -> None:
        self._clock = movable_wall(lab)
        self._clock.freeze()
        self.moved: list[float] = []

    def now(self) -> datetime:
        """Return the client's time."""
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        """Move the client's time."""
        self.moved.append(seconds)
        self._clock.advance(timedelta(seconds=seconds))


async def losing(lab: Lab, times: int) -> Losing:
    """Return such a client, signed in."""
    client = Losing(lab.emulator.origin, lab.authority_url, lab.ca_file)
    await client.__aenter__()
    client.lost = times
    await client.sign_in(lab.admin_form())
    return client


def item(lab: Lab, key: rsa.RSAPrivateKey, number: int) -> Item:
    """Return a record to import."""
    opened = open_pfx(export_pfx("n", key, self_signed(key, f"n{number}"), PASSWORD), PASSWORD)
    record = new_user_pfx_certificate(opened, PASSWORD, UPN, IntendedPurpose.smimeEncryption, lab.encryption_key())
    return Item(f"{number}.pfx", record)


async def test_lost_answer_is_looked_up_not_repeated(lab: Lab, rsa_key: rsa.RSAPrivateKey) -> None:
    """When the answer to a POST is lost after the write, the record is found and the POST not sent again."""
    client = await losing(lab, 1)
    try:
        outcome = await import_one(client, item(lab, rsa_key, 1), lab.clock)
        assert (outcome.state, client.posted) == ("created", 1)
        assert len(await client.get_user_pfx_certificates(UPN)) == 1
    finally:
        await client.__aexit__()


async def test_lost_answer_that_cannot_be_looked_up_is_not_sent_again(lab: Lab, rsa_key: rsa.RSAPrivateKey) -> None:
    """When neither the POST nor the look-up gets a response, the record is reported as unclear after a single POST."""
    client = await losing(lab, 1)
    try:
        with patch.object(client, "get_user_pfx_certificates", side_effect=GraphRefused("busy", 503)):
            outcome = await import_one(client, item(lab, rsa_key, 1), Leaping(lab))
        assert (outcome.state, client.posted) == ("failed", 1)
        assert "could not be found out" in str(outcome.reason)
    finally:
        await client.__aexit__()


async def test_throttled_bulk_ends_complete(lab: Lab, rsa_key: rsa.RSAPrivateKey) -> None:
    """A throttled import waits for its Retry-After and loses nothing."""
    clock = Leaping(lab)
    client = await losing(lab, 0)
    try:
        first = item(lab, rsa_key, 0).record
        items = [Item(str(n), {**first, "thumbprint": f"{n:040x}"}) for n in range(130)]
        with lab.switched(throttling="documented"):
            outcomes = [one async for one in import_all(client, items, clock, at_once=3)]
        assert {one.state for one in outcomes} == {"created"}
        assert clock.moved
        assert max(clock.moved) <= 20
        assert len(await client.get_user_pfx_certificates(UPN)) == 130
    finally:
        await client.__aexit__()
