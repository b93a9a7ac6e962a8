"""Load runs as users start them: each path, several processes, workers by hand, and every kind of end."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients.test_official_sdk import PFXLAB, start, stop

_SMALL = {
    "graph": "users: 2\nmix: {import: 2, filter: 1, list: 1}\n",
    "checkin": "users: 2\ndevices: 6\ncertificates: 1\nplatforms: {ios: 1, windows: 1, androidForWork: 1}\n",
    "enrollment": "users: 2\ncertificates: 1\npace: 1\n",
    "connector": "batch: 20\npace: 2\nplatforms: {windows: 1, ios: 1}\n",
    "crypto": "batch: 20\npace: 2\n",
}
_SHAPES = {
    "graph": "{kind: ramp, rate: 40, seconds: 6, steps: 2}",
    "checkin": "{kind: morning, rate: 6, seconds: 6, steps: 2}",
    "enrollment": "{kind: wave, rate: 3, start: 2, seconds: 5, steps: 2}",
    "connector": "{kind: constant, rate: 80, seconds: 4, steps: 2}",
    "crypto": "{kind: constant, rate: 80, seconds: 4, steps: 2}",
}
_REQUESTS = {
    "graph": {"import"}, "checkin": {"check-in ios", "check-in windows"}, "enrollment": {"enroll ios", "enroll windows"},
    "connector": {"deliver"}, "crypto": {"re-encrypt"},
}  # fmt: skip


def plan_file(folder: Path, path: str, more: str = "") -> Path:
    """Write a small plan for a path and return its file."""
    file = folder / f"{path}.yaml"
    file.write_text(f"title: a small run\npath: {path}\nshape: {_SHAPES[path]}\n{_SMALL[path]}{more}")
    return file


def command(folder: Path, *arguments: object) -> list[str]:
    """Return the command of a run that writes its report to a folder."""
    return [*PFXLAB, "load", *map(str, arguments), "--out", str(folder / "report")]


def load(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Return a finished run."""
    return subprocess.run(command(folder, *arguments), capture_output=True, text=True, check=False, timeout=600)


def report_of(folder: Path) -> dict[str, Any]:
    """Return the report that a run wrote."""
    found: dict[str, Any] = json.loads((folder / "report" / "report.json").read_text())
    return found


@pytest.mark.parametrize(
    "path",
    ["connector", *(pytest.param(one, marks=pytest.mark.campaign) for one in ("checkin", "enrollment", "graph"))],
)
def test_each_path_runs_by_one_command(tmp_path: Path, path: str) -> None:
    """Each path runs from a plan file, each with another shape, keeps up with its load, and leaves a complete report.

    The path crypto is run by the tests below.
    """
    processes = 2 if path == "connector" else 1
    done = load(tmp_path, plan_file(tmp_path, path), "--jobs", processes, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == report_of(tmp_path)
    assert (report["verdict"], report["all"]["failures"], report["ended"]) == ("PASS", 0, "")
    assert report["all"]["units"] >= 0.5 * report["offered_per_second"] * report["seconds"]
    assert set(report["requests"]) >= _REQUESTS[path]
    # The last second is not lost between load generators, master and report.
    assert path != "connector" or report["series"][-1]["achieved"] > 0
    assert (report["openssl"] is not None) is (path in ("connector", "crypto"))
    parties = {"load generator 1", "load generator 2"} if processes == 2 else {"load generator"}
    assert set(report["usage"]["parties"]) >= parties
    stages = {
        "connector": {"lease", "wait for a core", "re-encrypt", "complete"},
        "enrollment": {"until installed ios"},
    }
    assert set(report["stages"]) >= stages.get(path, set())
    names = {file.name for file in (tmp_path / "report").iterdir()}
    plots = {f"{name}.{kind}" for name in ("throughput", "latency", "over-time", "stages") for kind in ("svg", "png")}
    assert names == {"report.json", "report.html", "samples.jsonl", "locust.html", *plots}
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "<script" not in page


@pytest.mark.campaign
def test_two_workers_started_by_hand_share_the_load(tmp_path: Path) -> None:
    """A run that waits for two workers is done by two `load-worker` commands with its kit; thresholds missed end with 1."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    kit, plan = tmp_path / "kit", plan_file(tmp_path, "crypto", "thresholds:\n  - {measure: p50_ms, most: 0.001}\n")
    master = subprocess.Popen(
        command(tmp_path, plan, "--workers", "2", "--kit", kit, "--master-port", port),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(300):
        if (kit / "locust.out").exists():
            break
        time.sleep(0.1)
    workers = [subprocess.Popen([*PFXLAB, "load-worker", str(kit), "--master-port", port]) for _ in range(2)]
    out, err = master.communicate(timeout=600)
    assert master.returncode == 1, err
    assert "MISSED: expected p50_ms at most 0.001" in out
    assert [worker.wait(30) for worker in workers] == [0, 0]
    report = report_of(tmp_path)
    assert (report["verdict"], report["processes"]) == ("FAIL", 2)
    assert report["all"]["units"] >= 100


def test_ctrl_c_leaves_a_partial_report(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a run ends it cleanly with code 130 and writes what was measured until then."""
    plan = plan_file(tmp_path, "graph")
    run = subprocess.Popen(
        command(tmp_path, plan, "--duration", "60s"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler), start_new_session=True,
    )  # fmt: skip
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith("second 5"):
            break
    # As a terminal does: to the command and all that is of its group.
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 130, err
    assert "ended early: interrupted" in err
    assert "INCOMPLETE" in out
    report = report_of(tmp_path)
    assert (report["verdict"], report["ended"]) == ("INCOMPLETE", "interrupted")
    assert 5 <= report["seconds"] < 60
    assert (report["all"]["count"] > 20, report["all"]["failures"]) == (True, 0)
    assert "The run ended early: interrupted" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.campaign
def test_run_against_a_lab_that_goes_down(tmp_path: Path) -> None:
    """A run against the lab of a ready file ends, when the lab goes down, with code 3, the reason and a partial report.

    A lab that no longer answers, and a certificate of another CA, are reported before anything is prepared.
    """
    process, facts = start(tmp_path)
    ready, plan = tmp_path / "ready.json", plan_file(tmp_path, "graph")
    other = json.loads(ready.read_text())
    foreign = tmp_path / "foreign.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-keyout", "/dev/null",
         "-out", str(foreign)], check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "other.json").write_text(json.dumps({**other, "ca_file": str(foreign)}))
    # Once before the run that follows: a lab that goes on running is loaded more than once.
    first = load(tmp_path, plan, "--ready-file", ready, "--duration", "3s")
    assert first.returncode == 0, first.stderr
    refused = load(tmp_path, plan, "--ready-file", tmp_path / "other.json")
    assert (refused.returncode, "got one that is not trusted" in refused.stderr) == (3, True), refused.stderr
    away = load(tmp_path, plan, "--ready-file", ready, "--against", "https://graph.example:443")
    assert (away.returncode, "a real tenant must not be put under load" in away.stderr) == (3, True)
    run = subprocess.Popen(
        command(tmp_path, plan, "--ready-file", ready, "--against", facts["graph_url"], "--duration", "90s"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith("second 5"):
            break
    stop(process)
    _, err = run.communicate(timeout=600)
    assert run.returncode == 3
    assert "every request has failed for 5 seconds" in err
    report = report_of(tmp_path)
    assert (report["verdict"], report["all"]["failures"] > 0, report["all"]["count"] > 0) == ("INCOMPLETE", True, True)

    down = load(tmp_path, plan, "--ready-file", tmp_path / "other.json")
    assert (down.returncode, "nothing answers there" in down.stderr) == (3, True), down.stderr


@pytest.mark.campaign
def test_locust_page_is_served_during_a_run(tmp_path: Path) -> None:
    """With --ui Locust's page is served on loopback, and Ctrl-C after the run leaves a complete report and code 0."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    run = subprocess.Popen(
        command(tmp_path, plan_file(tmp_path, "crypto"), "--duration", "5s", "--ui", "--ui-port", port),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    page = b""
    for _ in range(200):
        time.sleep(0.1)
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as line:
                line.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                page = line.recv(2000)
                break
        except OSError:
            continue
    assert run.stderr is not None
    for told in run.stderr:
        if told.startswith("second 5"):
            break
    os.kill(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=600)
    assert b"200 OK" in page
    assert run.returncode == 0, err
    report = report_of(tmp_path)
    assert (report["verdict"], set(report["requests"]), report["all"]["failures"]) == ("PASS", {"re-encrypt"}, 0)
    assert report["openssl"]["ratio"] > 0
