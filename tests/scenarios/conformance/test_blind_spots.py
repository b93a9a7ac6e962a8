"""False verdicts of the past: tools that once passed or failed wrongly."""

import base64
import html
import json
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pfxlab.scenarios.conformance import report, runner
from pfxlab.scenarios.conformance.plans import PLANS
from pfxlab.scenarios.conformance.stage import Stage
from pfxlab.scenarios.conformance.tool import CommandTool
from pfxlab.scenarios.conformance.verdict import Judgement
from tests.scenarios.conformance.test_rules import broken_rules, stage
from tests.scenarios.conformance.tools import OTHER_KEY, PATH, Failed, Run, SmallTool

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["stage"]


class Batching(Run):
    """Sends the record in a `$batch`, with the password in PKCS#1 v1.5 declared as OAEP."""

    def encrypt(self, password: str) -> bytes:
        key = serialization.load_pem_public_key(Path(self.given["public_key_file"]).read_bytes())
        assert isinstance(key, rsa.RSAPublicKey)
        return key.encrypt(password.encode(), padding.PKCS1v15())

    def import_one(self, record: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        part = {"id": "1", "method": "POST", "url": PATH.removeprefix("/beta"), "body": record, "headers": headers}
        answer = self.call("POST", "/beta/$batch", {"requests": [part]})
        assert answer is not None
        if answer.json()["responses"][0]["status"] != 201:
            raise Failed("refused")


class WithoutPfx(Run):
    """Sends one null byte as the PFX."""

    def import_one(self, record: dict[str, Any]) -> None:
        super().import_one({**record, "encryptedPfxBlob": "AA=="})


class Impatient(Run):
    """Creates a new record for each attempt, and never waits."""

    def import_one(self, record: dict[str, Any]) -> None:
        for _ in range(3):
            again = {**record, "encryptedPfxPassword": base64.b64encode(self.encrypt(self.given["password"])).decode()}
            answer = self.once("POST", PATH, again)
            if answer is not None and answer.ok:
                return
        raise Failed("refused")


class LookingElsewhere(Run):
    """Looks up another user's record before it sends one again."""

    def import_one(self, record: dict[str, Any]) -> None:
        answer = self.call("POST", PATH, record)
        if answer is None or answer.status_code >= 500:
            self.listed("someone.else@pfxlab.example")
            answer = self.call("POST", PATH, record)


class ReadingNothing(Run):
    """Reads nothing, and claims that it did."""

    def main(self) -> int:
        return 0


class GivingUp(Run):
    """Ends honestly when it is throttled."""

    def pause(self, answer: requests.Response) -> float:
        raise Failed("throttled")


class Annotating(Run):
    """Sends OData annotations with the values."""

    def import_one(self, record: dict[str, Any]) -> None:
        kind = "#microsoft.graph.intendedPurpose"
        super().import_one({**record, "intendedPurpose@odata.type": kind})


class Requoting(Run):
    """Encodes the address of the next page differently, as aiohttp does."""

    def call(self, method: str, url: str, body: Any = None) -> requests.Response | None:
        return super().call(method, url.replace("%27", "'"), body)


class ByThumbprint(Run):
    """Reads one record, by its thumbprint."""

    def read_plan(self) -> None:
        self.sign_in()
        self.look_up_user(self.given["upn"])
        text = quote(f"thumbprint eq '{self.given['thumbprint']}'", safe="")
        self.printed.append(str(self.call("GET", f"{PATH}?$filter={text}")))


class Wide(Run):
    """Encrypts the password as UTF-16, the encoding of strings in PowerShell and C#."""

    def encrypt(self, password: str) -> bytes:
        return super().encrypt(password.encode("utf-16-le").decode("latin-1"))


class Umlaut(Run):
    """Sends a User-Agent that is not UTF-8, as `requests` does with an umlaut."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.session.headers["User-Agent"] = "Müller-Import/1.0".encode("latin-1")


async def judged(stage: Stage, kind: type[Run], plan: str, *modules: str) -> Judgement:
    """Return the verdicts on a tool."""
    tool = SmallTool(plan, kind=kind)
    return await runner.run(PLANS[plan], tool, "tool", only=modules, stages=[stage])


@pytest.mark.parametrize(
    ("kind", "plan", "module", "rule"),
    [
        (Batching, "import", "plain", "crypto-padding-declared"),
        (WithoutPfx, "import", "plain", "crypto-pkcs12"),
        (Impatient, "import", "throttled-seconds", "wait-seconds"),
        (Impatient, "import", "refused-400", "refusal-final"),
        (LookingElsewhere, "import", "ambiguous-503", "no-blind-repeat"),
        (ReadingNothing, "read", "plain", "works"),
    ],
)
async def test_not_missed(stage: Stage, kind: type[Run], plan: str, module: str, rule: str) -> None:
    """A flaw is found in a batch, in a record created again, and where nothing was done at all."""
    judgement = await judged(stage, kind, plan, module)
    assert rule in broken_rules(judgement), broken_rules(judgement)
    assert judgement.verdict == "FAIL"


@pytest.mark.parametrize(
    ("kind", "plan", "modules", "warned"),
    [
        (GivingUp, "read", ("throttled-seconds",), {"recovers"}),
        (Annotating, "import", ("plain",), set()),
        (Requoting, "read", ("pages",), set()),
        (ByThumbprint, "read", ("plain", "apostrophe", "guest"), set()),
        (Umlaut, "import", ("plain",), set()),
    ],
)
async def test_not_blamed(stage: Stage, kind: type[Run], plan: str, modules: tuple[str, ...], warned: set[str]) -> None:
    """A tool that does something right in an unusual way does not fail."""
    judgement = await judged(stage, kind, plan, *modules)
    assert (set(broken_rules(judgement)), judgement.verdict) == (warned, "PASS"), broken_rules(judgement)
    json.dumps(judgement.to_json(), ensure_ascii=False).encode()
    report.html(judgement, "now").encode()
    report.junit(judgement)


async def test_password_in_utf_16(stage: Stage) -> None:
    """A password that was encrypted as UTF-16 is named as that, though cryptography stops at its null bytes."""
    judgement = await judged(stage, Wide, "import", "plain")
    assert "encrypted as UTF-16" in broken_rules(judgement)["crypto-password-opens"][0]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "echo no module named x; exit 4",
            "exit code 4 before any request to the lab; last line printed: no module named x",
        ),
        ("kill -9 $$", "ended by signal 9 before any request"),
        ("sleep 30; true", "had to be stopped after 0 requests"),
    ],
)
async def test_tool_that_never_reaches_the_lab(stage: Stage, script: str, expected: str) -> None:
    """The verdict quotes a tool that ends before it reaches the lab, and says if it was killed or hung."""
    tool = CommandTool(["sh", "-c", script])
    judgement = await runner.run(PLANS["import"], tool, "t", only=["plain"], seconds=1, stages=[stage])
    assert expected in broken_rules(judgement)["works"][0]


async def test_last_words_hold_no_part_of_a_secret(stage: Stage) -> None:
    """A password at the point where a quotation is truncated is removed completely."""
    tool = CommandTool(["sh", "-c", 'printf "%0190d%s" 0 "$0"; exit 4', "{password}"])
    judgement = await runner.run(PLANS["import"], tool, "t", only=["plain"], stages=[stage])
    (evidence,) = broken_rules(judgement)["works"]
    assert "last line printed: 000" in evidence
    assert judgement.runs[0].given[0].password[:6] not in evidence


async def test_hanging_tool_fails(stage: Stage) -> None:
    """A tool that has to be stopped fails every module, whatever rules it keeps."""
    tool = CommandTool(["sleep", "3000"])
    begun = time.monotonic()
    judgement = await runner.run(PLANS["import"], tool, "t", only=["refused-400"], seconds=1, stages=[stage])
    assert list(broken_rules(judgement)) == ["gives-up"]
    assert time.monotonic() - begun < 300


@pytest.mark.parametrize("flaw", ["secret-password", "secret-url", "secret-graph", "secret-key", "secret-output"])
async def test_reports_do_not_repeat_leaked_secrets(stage: Stage, flaw: str) -> None:
    """No report contains a password, secret, token or private key that the tool sent or printed where it must not."""
    judgement = await runner.run(PLANS["import"], SmallTool("import", flaw), "t", only=["plain"], stages=[stage])
    assert list(broken_rules(judgement)) == [flaw]
    run = judgement.runs[0]
    pem = OTHER_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    tokens = {one.headers["authorization"].partition(" ")[2] for one in run.graph}
    canaries = [*tokens, *run.secrets.values(), run.given[0].password, pem.decode().splitlines()[1]]
    page = html.unescape(report.html(judgement, "now"))
    texts = [page, json.dumps(judgement.to_json()), report.junit(judgement).decode()]
    assert len(tokens) == 1
    assert [canary for canary in canaries for text in texts if canary in text] == []


async def test_could_not_run(stage: Stage) -> None:
    """A tool that cannot be started is not judged: the module that was to be played is named."""
    with pytest.raises(runner.NotPlayed, match="module plain"):
        await runner.run(PLANS["import"], CommandTool([f"/{uuid.uuid4()}"]), "t", only=["plain"], stages=[stage])
