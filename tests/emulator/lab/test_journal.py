"""The journal: every request, the response to the client, and the true reason."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.journal.tips import TIPS
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.ready_file import ready, write_ready_file
from tests.clients.test_official_sdk import PFXLAB
from tests.conftest import new_lab
from tests.emulator.graph.client import CONFIGURATIONS, PFX, Raw, Reply, admin, record


def requests(lab: Lab) -> list[Any]:
    """Return the journal's entries about requests to Graph."""
    return [entry for entry in lab.cloud.journal.entries() if entry.event == "request"]


async def test_every_request_is_recorded_in_order(lab: Lab) -> None:
    """Reads, writes and refused requests are in the journal in order, with client and request-id."""
    graph = await admin(lab)
    replies = [
        await graph("GET", PFX, headers={"User-Agent": "tool/1"}),
        await graph("POST", PFX, record(lab)),
        await graph("GET", f"{PFX}/nothing"),
        await graph("GET", "/deviceManagement"),
    ]
    seen = requests(lab)
    assert [entry.fields["request_id"] for entry in seen] == [reply.headers["request-id"] for reply in replies]
    assert [entry.outcome for entry in seen] == ["ok", "ok", "refused", "refused"]
    assert (seen[0].fields["client"], seen[0].fields["path"]) == ("tool/1", PFX)
    assert seen[1].fields["told"] == "201"


async def refusals(lab: Lab) -> list[Reply]:
    """Provoke refusals of many kinds."""
    graph = await admin(lab)
    await graph("POST", PFX, record(lab))
    one = (await graph("GET", PFX)).json["value"][0]["id"]
    return [
        await graph("POST", PFX, record(lab)),
        await graph("POST", PFX, record(lab, userPrincipalName="nobody@pfxlab.example")),
        await graph("POST", PFX, record(lab, thumbprint=...)),
        await graph("POST", PFX, record(lab, keyAlgorithm="RSA")),
        await graph("POST", PFX, record(lab, paddingScheme="cheese")),
        await graph("POST", PFX, data=b"{"),
        await graph("PATCH", f"{PFX}/{one}", {"thumbprint": "ff" * 20}),
        await graph("GET", f"{PFX}/nothing"),
        await graph("GET", f"{PFX}?$filter=cheese"),
        await graph("GET", f"{PFX}?$top=x"),
        await graph("GET", "/beta/cheese"),
        await graph("GET", "/cheese"),
        await graph("PUT", PFX),
        await graph("POST", CONFIGURATIONS, {"displayName": "x"}),
        await graph("POST", "/beta/$batch", {"requests": []}),
        await Raw(lab, None)("GET", PFX),
        await Raw(lab, "rubbish")("GET", PFX),
    ]


WANTED = [
    "Duplicate", "UserUnknown", "PropertyMissing", "PropertyUnknown", "ValueInvalid", "BodyUnreadable",
    "IdentityChanged", "EntityUnknown", "FilterInvalid", "OptionInvalid", "SegmentUnknown", "VersionMissing",
    "MethodUnknown", "TypeUnknown", "BatchInvalid", "TokenMissing", "TokenUnusable",
]  # fmt: skip


async def test_each_refusal_has_its_code_and_tip(lab: Lab) -> None:
    """Each kind of refusal has a stable code, a reason with expected and got, and a tip; the client learns neither."""
    replies = await refusals(lab)
    seen = [entry for entry in requests(lab) if entry.outcome == "refused"]
    assert [entry.fields["rule"] for entry in seen] == WANTED
    assert all(entry.reason and entry.fields["tip"] == TIPS[entry.fields["rule"]] for entry in seen)
    assert all("x-pfxlab-reason" not in reply.headers for reply in replies)


async def test_explaining_lab_shows_the_reason_to_clients(tmp_path: Path) -> None:
    """With explain the true reason stands in a header, the body stays as opaque as ever."""
    async with new_lab(tmp_path, Config(explain=True)) as lab:
        reply = await (await admin(lab))("POST", PFX, record(lab, userPrincipalName="nobody@pfxlab.example"))
        assert reply.headers["x-pfxlab-reason"].startswith("UserUnknown: userPrincipalName: no user of this tenant")
        assert "nobody" not in reply.message
        broken = await (await admin(lab))("GET", f"{PFX}?$filter=a%0d%0aSet-Cookie:x")
        assert (broken.status, "Set-Cookie" in broken.headers) == (400, False)


DOTNET = {"SdkVersion": "graph-dotnet/6.10.0, graph-dotnet-core/4.0.1"}
PYTHON = {"User-Agent": "python-httpx/0.28.1 kiota-python/1.9.3"}
CURL = {"User-Agent": "curl/8.5.0"}


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        (DOTNET, "TokenWithheld"),
        (PYTHON, "TokenWithheld"),
        (CURL, "TokenMissing"),
        ({**DOTNET, "Host": "graph.microsoft.com"}, "TokenMissing"),
        ({**DOTNET, "Authorization": "Bearer x"}, "TokenUnusable"),
    ],
)
async def test_sdk_that_withholds_its_token_is_told_so(tmp_path: Path, headers: dict[str, str], rule: str) -> None:
    """A Graph SDK without a token, at an address that is not Microsoft's, gets the tip in the journal and when asked."""
    async with new_lab(tmp_path, Config(explain=True)) as lab:
        reply = await Raw(lab, None)("GET", PFX, headers=headers)
        (entry,) = requests(lab)
        assert (reply.status, entry.fields["rule"], entry.fields["tip"]) == (401, rule, TIPS[rule])
        assert reply.headers["x-pfxlab-tip"] == TIPS[rule]
        assert reply.headers["x-pfxlab-reason"].startswith(f"{rule}: ")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"encryptedPfxPassword": "AAAA"}, "CiphertextLength"),
        ({"encryptedPfxPassword": "*"}, "PasswordNotBase64"),
        ({"encryptedPfxBlob": "AAAA"}, "BlobNotPkcs12"),
        ({"thumbprint": "ff" * 20 + "-enc"}, "ThumbprintForm"),
        ({"paddingScheme": "pkcs1"}, "PaddingRetired"),
        ({"keyName": None}, "KeyNameMissing"),
        ({"expirationDateTime": "2020-01-01T00:00:00Z"}, "DatesReversed"),
    ],
)
async def test_accepted_import_that_cannot_work_is_noted(lab: Lab, changes: dict[str, Any], code: str) -> None:
    """An import that the service accepts but no device can use is created, and the journal warns of the failure."""
    reply = await (await admin(lab))("POST", PFX, record(lab, **changes))
    assert reply.status == 201
    notes = requests(lab)[-1].fields["notes"]
    assert any(note.startswith(f"{code}: ") for note in notes)


async def test_journal_has_no_secret(lab: Lab) -> None:
    """Neither token nor blob nor password of a request stands in the journal."""
    graph = await admin(lab)
    await graph("POST", PFX, record(lab, encryptedPfxPassword="Y2FuYXJ5LTQ3MTE="))
    await graph("POST", PFX, record(lab, encryptedPfxBlob="canary*"))
    await refusals(lab)
    text = json.dumps([vars(entry) for entry in lab.cloud.journal.entries()])
    for secret in (graph._token or "", "Y2FuYXJ5LTQ3MTE=", "canary", "MIIMCANARYBLOB00"):
        assert secret not in text


async def test_command_shows_answer_and_reason(lab: Lab, tmp_path: Path) -> None:
    """`pfxlab journal` shows the response, the reason and the tip, and with --json JSON lines."""
    await refusals(lab)
    ready_file = tmp_path / "ready.json"
    write_ready_file(ready_file, ready(lab))

    def run(*options: str) -> str:
        command = [*PFXLAB, "journal", "--ready-file", str(ready_file), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = await asyncio.to_thread(run, "--refused")
    assert (
        "graph  POST /beta/deviceManagement/userPfxCertificates: answer 400 BadRequest: An error has occurred" in shown
    )
    assert ": reason Duplicate: this user already has a record" in shown
    assert TIPS["Duplicate"] in shown
    lines = [json.loads(line) for line in (await asyncio.to_thread(run, "--json", "--refused")).splitlines()]
    assert {line["outcome"] for line in lines} == {"refused"}


_NOBODY = '{"control_url": "https://localhost:9", "control_token": "", "ca_file": ""}'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "expected a running lab, --ready-file"),
        ("rubbish", "r.json: expected the ready file of a running lab, got something else"),
        (_NOBODY, "The journal could not be read: expected"),
    ],
    ids=["no lab", "rubbish", "nobody listens"],
)
def test_command_without_a_lab_is_reported(tmp_path: Path, content: str | None, expected: str) -> None:
    """Without a running lab the command ends with exit code 3 and says what it looked for."""
    arguments = ["journal"]
    if content is not None:
        (tmp_path / "r.json").write_text(content)
        arguments += ["--ready-file", str(tmp_path / "r.json")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3, sys.exc_info()
    assert expected in result.stderr


def test_journal_keeps_so_many_entries_and_forgets_the_oldest() -> None:
    """A journal limited to 100 entries never exceeds the limit by more than a tenth, and always has the newest."""
    cloud = Cloud(Config(journal_entries=100), LabClock())
    for number in range(350):
        cloud.journal.record("lab", "tick", number=number)
        assert cloud.journal.count() <= 111
    kept = [entry.fields["number"] for entry in cloud.journal.entries(event="tick")]
    assert len(kept) >= 100
    assert kept == list(range(350 - len(kept), 350))
    assert cloud.journal.last() == cloud.journal.entries(newest=True, limit=1)[0].seq
    cloud.close()
