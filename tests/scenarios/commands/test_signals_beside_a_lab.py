"""What a signal does to commands that talk to a running lab: an exit code, no noise, and nothing half done."""

import os
import re
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.mail.authority import export_pfx
from tests.campaign import examples
from tests.clients.test_official_sdk import start, stop
from tests.conftest import self_signed
from tests.scenarios.commands.test_signals import signalled

UPN = "user@pfxlab.example"
WORK = ("import", "pfxlab.scenarios.commands.(lab|parties).")
ASKING = ("socket.connect", "")
RENAMED = ("os.rename", "")
WAITING = ("socket.connect*2", "")
READY = ["--ready-file", "READY"]

COMMANDS = {
    "journal": (["journal", "--follow", *READY], [WORK, ASKING, WAITING]),
    "explain": (["explain", "--user", UPN, *READY], [ASKING]),
    "bundle": (["bundle", "--out", "run.zip", *READY], [ASKING]),
    "world": (["world", *READY, "pass", "1h"], [WORK, ASKING]),
    "world do": (["world", *READY, "do", "steps.yaml"], [ASKING]),
    "devices enroll": (["devices", "enroll", "--data", "fleet", "--count", "3", "--shared-keys", "1", *READY],
                       [WORK, ASKING, RENAMED, ("os.rename", "users.json"), ("os.rename", "mdm-identity"), ("os.rename", "device.json")]),
    "devices checkin": (["devices", "checkin", "--data", "enrolled", *READY], [WORK, ASKING, RENAMED]),
    "devices show": (["devices", "show", "--data", "enrolled"], [WORK]),
    "connector enroll": (["connector", "enroll", "--data", "own", *READY], [WORK, ASKING, RENAMED]),
    "pfx import": (["pfx", "import", "--manifest", "list.csv", "--progress-file", "progress", *READY],
                   [WORK, ASKING, ("open", "progress")]),
    "pfx get": (["pfx", "get", *READY], [ASKING]),
    "replay": (["replay", "recorded.zip", "--", sys.executable, "-c", "import time; time.sleep(60)"],
               [WORK, ("tempfile.mkdtemp", ""), ("socket.bind", ""), ("subprocess.Popen", "")]),
    "load beside": (["load", "graph", "--duration", "60s", "--out", "load", *READY], [ASKING, ("subprocess.Popen", "")]),
}  # fmt: skip
"""A command's name → its words, and the moments of its work at which a signal comes."""

SERVICES = {
    "connector run": ["connector", "run", "--data", "service", "--keys", "keys", "--jobs", "1"],
    "up": ["up", "--data", "other-lab", "--ready-file", "other.json", "--with", "connector,devices"],
}
REPEATED = ("devices enroll", "devices checkin", "connector enroll", "pfx import", "bundle", "world do")
"""Commands that succeed when they are run again after a signal: what they left is whole."""

MOMENTS = [(name, moment) for name, (_, own) in COMMANDS.items() for moment in own]
SAMPLE = [("journal", WAITING), ("devices enroll", RENAMED)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the ready file of a running lab."""
    folder = tmp_path_factory.mktemp("lab")
    process, _ = start(folder)
    yield folder / "ready.json"
    stop(process)


def run(words: list[str]) -> None:
    """Run a command that must succeed."""
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output


@pytest.fixture
def here(
    lab: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rsa_key: rsa.RSAPrivateKey,
    request: pytest.FixtureRequest,
) -> Path:
    """Return a folder with what the commands need, which is the current one."""
    monkeypatch.chdir(tmp_path)
    name, ready = request.node.callspec.params["name"], ["--ready-file", str(lab)]
    Path("steps.yaml").write_text("steps:\n- user: more@pfxlab.example\n- pass: 1h\n")
    if name == "pfx import":
        Path("password").write_text("canary-pfx-password\n")
        rows = []
        for number in range(5):
            Path(f"{number}.pfx").write_bytes(
                export_pfx("n", rsa_key, self_signed(rsa_key, f"{uuid.uuid4()}"), "canary-pfx-password")
            )
            rows.append(f"{number}.pfx,password,{UPN}")
        Path("list.csv").write_text("\n".join(["pfx,password_file,upn", *rows]) + "\n")
    if name in ("devices checkin", "devices show"):
        run(["devices", "enroll", "--data", "enrolled", "--count", "3", "--shared-keys", "1", *ready])
    if name == "connector run":
        run(["connector", "enroll", "--data", "service", *ready])
    if name == "replay":
        run(["bundle", "--out", "recorded.zip", *ready])
    return tmp_path


@pytest.mark.usefixtures("whole")
@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals to send")
@pytest.mark.parametrize(("name", "moment"), MOMENTS if examples(0, 1) else SAMPLE)
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.campaign)])
def test_first_signal_ends_a_command(
    number: signal.Signals, name: str, moment: tuple[str, str], lab: Path, here: Path
) -> None:
    """The first signal ends a command with 130 or 143, quietly; what it was doing can be done again."""
    words = [word.replace("READY", str(lab)) for word in COMMANDS[name][0]]
    for to in ("group", "alone"):
        code, told = signalled(number, words, moment, here, to)
        assert (code, noise(told)) == (128 + number, []), told
        assert [path.name for path in here.rglob("*") if path.name.startswith(("pfxlab-", ".", "tmp"))] == []
    if name in REPEATED:
        run(words)


@pytest.mark.campaign
@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals to send")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("to", ["group", "alone"])
def test_first_signal_ends_a_service(number: signal.Signals, name: str, to: str, lab: Path, here: Path) -> None:
    """A service that is up ends with 0 at Ctrl-C and SIGTERM, quietly, and with the processes it started."""
    moment = ("socket.connect", "") if name == "connector run" else ("os.rename", "other.json")
    code, told = signalled(number, SERVICES[name], moment, here, to)
    assert (code, noise(told)) == (0, []), told


def noise(told: str) -> list[str]:
    """Return what frightens in the output of a command."""
    return re.findall("Traceback|Aborted|Warning|Error|never retrieved", told)
