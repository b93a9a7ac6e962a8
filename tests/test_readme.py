"""Commands, snippets and transcripts of the README and of the guides in docs, run as a reader would."""

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
GUIDES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
(INSTALL,) = re.findall(r"<!-- install -->\n```sh\n(.*?)```", README, re.DOTALL)
ACTIVATE = INSTALL.splitlines()[-1]
"""What a reader has typed before every other block."""


def environment() -> dict[str, str]:
    """Return the environment of a terminal of 120 columns, with only the system's folders in PATH."""
    bare = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    return {**bare, "PATH": "/usr/local/bin:/usr/bin:/bin", "COLUMNS": "120"}


def blocks(marker: str, language: str) -> list[Any]:
    """Return the fenced blocks that follow a marker, each with its page."""
    return [
        pytest.param(block, id=f"{name}-{number}")
        for name, text in GUIDES.items()
        for number, block in enumerate(
            re.findall(rf"<!-- {marker}[^>]*-->\n```{language}\n(.*?)```", text, re.DOTALL), 1
        )
    ]


def on_terminal(script: str) -> str:
    """Return the output of a script that must succeed, on a terminal of 120 columns without colours."""
    command = ("sh", "-ec", f"{ACTIVATE}\n{script}")
    screen, end = pty.openpty()
    terminal = {**environment(), "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(command, env=terminal, stdin=end, stdout=end, stderr=subprocess.DEVNULL, cwd=ROOT) as started:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(screen, 65536):
                shown += piece
    os.close(screen)
    assert started.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Return the result of a script, run after the README's earlier blocks."""
    command = ("sh", "-ec", f"{ACTIVATE}\n{script}")
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=600, cwd=ROOT
    )


def masked(text: str) -> list[str]:
    """Return lines with times, ports, sizes and thumbprints replaced by placeholders."""
    lines = [re.sub(r"[0-9a-f]{8}\b|\d[\d,.]*", "#", line).strip() for line in text.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("block", blocks("run", "sh"))
def test_shell_blocks_run(block: str) -> None:
    """Every shell block marked as run ends with exit code 0."""
    done = run(block)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("fails", "sh"))
def test_failing_blocks_fail(block: str) -> None:
    """Every shell block marked as failing ends with exit code 1, a failed verdict."""
    assert run(block).returncode == 1


def test_python_block_runs() -> None:
    """The Python snippet runs unchanged under `pfxlab exec` and prints the documented output."""
    (block,) = blocks("run with", "python")
    done = run(f"pfxlab exec -- python -c {shlex.quote(block.values[0])}")
    assert done.stdout.strip() == "0 imported certificates", done.stderr


def test_transcript_matches_the_demo() -> None:
    """The transcript is the demo's output line by line, except for times, addresses, sizes and thumbprints."""
    (transcript,) = re.findall(r"```text\n(PFX Lab demo, .*?)```", GUIDES["docs/demo.md"], re.DOTALL)
    assert masked(on_terminal("pfxlab demo"))[: len(masked(transcript))] == masked(transcript)


def test_make_targets_exist() -> None:
    """`make demo` runs the demo, `make test` the tests."""
    done = run("make --dry-run demo")
    assert done.returncode == 0
    assert "pfxlab demo" in done.stdout
    assert "pytest" in run("make --dry-run test").stdout


def test_ci_runs_make_test() -> None:
    """The CI script ends in `make test` and adds no check of its own."""
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec make test")


def test_links_lead_somewhere() -> None:
    """Every relative link of the README exists."""
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


REFUSED = """
import os, json, requests, msal
app = msal.ConfidentialClientApplication(os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"],
    authority="https://login.microsoftonline.com/" + os.environ["AZURE_TENANT_ID"])
token = app.acquire_token_for_client(["https://graph.microsoft.com/.default"])["access_token"]
record = {"thumbprint": "ab" * 20, "userPrincipalName": "nobody@pfxlab.example", "encryptedPfxBlob": "MAAA",
    "startDateTime": "2026-01-01T00:00:00Z", "expirationDateTime": "2027-01-01T00:00:00Z", "encryptedPfxPassword": "AAAA"}
url = "https://graph.microsoft.com/beta/deviceManagement/userPfxCertificates"
print(requests.post(url, json=record, headers={"Authorization": "Bearer " + token}).status_code)
"""


def test_journal_box_matches_the_command() -> None:
    """The guide's journal box is the output of `pfxlab journal` for that refusal, except for the time."""
    guide = GUIDES["docs/where-a-chain-breaks.md"]
    (shown,) = re.findall(r"one box for each request:\n\n```text\n(.*?)```", guide, re.DOTALL)
    script = f"export REFUSED={shlex.quote(REFUSED)}\n"
    script += "pfxlab exec -- sh -ec 'python -c \"$REFUSED\" && pfxlab journal --refused'"
    shown_there = on_terminal(script)
    lines = [line.strip("│╭╮╰╯─ ") for line in shown_there.splitlines()]
    wanted = [line.strip("│╭╮╰╯─ ") for line in shown.splitlines()]
    assert [line for line in wanted[1:] if line not in lines] == []


@pytest.mark.campaign
def test_first_steps_work_in_a_fresh_clone(tmp_path: Path) -> None:
    """Install block, demo and `make demo` work in a fresh clone, a new home and a path with the system's commands alone."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone")], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    for steps in (f"{INSTALL}\npfxlab demo", "make demo"):
        done = subprocess.run(
            ["sh", "-ec", steps],
            env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path)},
            cwd=tmp_path / "clone", capture_output=True, text=True, check=False, timeout=3600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "PASSED" in done.stdout
