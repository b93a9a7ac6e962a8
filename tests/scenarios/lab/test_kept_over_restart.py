"""`pfxlab up --data FOLDER`, stopped and started again: clock, switches and faults are as they were left."""

import json
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pfxlab.scenarios.lab.key_cache import lay_out

UP = [sys.executable, "-m", "pfxlab", "up", "--json", "--data"]


class Running:
    """A lab that runs in a process of its own, driven over its control API."""

    def __init__(self, facts: dict[str, Any], process: "subprocess.Popen[str]") -> None:
        self._facts, self._process = facts, process
        self._context = ssl.create_default_context(cafile=facts["ca_file"])

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer to a request."""
        request = urllib.request.Request(  # noqa: S310 - https, on loopback
            self._facts["control_url"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._facts['control_token']}"},
        )
        with urllib.request.urlopen(request, context=self._context) as answer:  # noqa: S310 - https, on loopback
            return json.load(answer)

    def kill(self) -> None:
        """End the process as nothing can be prepared for."""
        self._process.kill()


@contextmanager
def up(folder: Path, *options: str, said: str = "") -> Iterator[Running]:
    """Run a lab over a folder until the block ends; `said`: what it prints for people."""
    command = [*UP, str(folder), "--ready-file", str(folder.with_name("ready.json")), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            break
    try:
        yield Running(json.loads("".join(lines)), process)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert errors == said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the data folder of a lab that has its keys."""
    lay_out(tmp_path / "lab")
    return tmp_path / "lab"


FAULT = {"kind": "status", "route": "GET /beta/users", "status": 503, "times": 5}


def ask_users(lab: Running) -> int:
    """Ask Graph for its users and return the status."""
    url = lab._facts["graph_url"] + "/beta/users"
    try:
        with urllib.request.urlopen(url, context=lab._context) as answer:  # noqa: S310 - https, on loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


@pytest.mark.parametrize("end", ["killed", pytest.param("stopped", marks=pytest.mark.campaign)])
def test_what_was_set_stays(folder: Path, end: str) -> None:
    """A running clock keeps its lead, switches their values, and a planned fault its count, even over a kill."""
    with up(folder) as lab:
        before = datetime.now(UTC)
        lab("POST", "/clock", {"set": (before + timedelta(days=30)).isoformat()})
        lab("PATCH", "/switches", {"page_size": 3})
        lab("POST", "/faults", FAULT)
        assert ask_users(lab) == 503
        (planned,) = lab("GET", "/faults")["faults"]
        if end == "killed":
            lab.kill()
    with up(folder) as lab:
        lead = datetime.fromisoformat(lab("GET", "/clock")["time"]) - datetime.now(UTC)
        assert abs(lead - timedelta(days=30)) < timedelta(seconds=30)
        assert lab("GET", "/switches")["page_size"] == 3
        assert (planned["struck"], lab("GET", "/faults")["faults"]) == (1, [planned])


def test_frozen_clock_stays_and_configuration_wins(folder: Path, tmp_path: Path) -> None:
    """A clock that stands still stands there again; a switch of `--config` wins, which is said, until it is left out."""
    moment = "2027-01-02T03:04:05+00:00"
    with up(folder) as lab:
        lab("POST", "/clock", {"freeze": moment})
        lab("PATCH", "/switches", {"page_size": 3, "etags": "honour"})
    config = tmp_path / "config.yaml"
    config.write_text("switches: {page_size: 9}\n")
    said = "The configuration sets the switch page_size to 9; it was set to 3 before.\n"
    with up(folder, "--config", str(config), said=said) as lab:
        assert lab("GET", "/clock") == {"time": moment, "frozen": True}
        switches = lab("GET", "/switches")
        assert (switches["page_size"], switches["etags"]) == (9, "honour")
    with up(folder) as lab:
        assert lab("GET", "/switches")["page_size"] == 3
