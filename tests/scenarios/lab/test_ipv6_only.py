"""A lab on a machine that has no IPv4: a network namespace in which loopback is ::1 alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.load.test_runs import command, plan_file, report_of

WITHOUT_IPV4 = 'mount --bind "$1" /etc/hosts && ip link set lo up && ip addr del 127.0.0.1/8 dev lo'
ASK = """
import urllib.request
with urllib.request.urlopen("https://graph.microsoft.com/v1.0/$metadata") as answer:
    print(answer.status)
"""


def _without_ipv4(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program where there is no IPv4; skip the test where the machine allows no such namespace."""
    hosts = folder / "hosts"
    hosts.write_text("::1 localhost\n")
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare and ip")
    inside = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c"]
    if subprocess.run([*inside, WITHOUT_IPV4, "sh", str(hosts)], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespaces")
    return subprocess.run(
        [*inside, f'{WITHOUT_IPV4} && shift && exec "$@"', "sh", str(hosts), *words],
        capture_output=True, text=True, timeout=600, check=False, cwd=folder,
    )  # fmt: skip


def test_exec_without_ipv4(tmp_path: Path) -> None:
    """Without IPv4, a tool with built-in hosts reaches the lab of `pfxlab exec` through the proxy."""
    command = (sys.executable, "-m", "pfxlab", "exec", "--", sys.executable, "-c", ASK)
    done = _without_ipv4(tmp_path, *command)
    assert (done.returncode, done.stdout.strip()[-3:]) == (0, "200"), done.stderr


def test_demo_without_ipv4(tmp_path: Path) -> None:
    """Without IPv4, `pfxlab demo` sends certificates through connector and devices."""
    done = _without_ipv4(tmp_path, sys.executable, "-m", "pfxlab", "demo")
    assert done.returncode == 0, done.stdout + done.stderr


def test_loopback_without_ipv4(tmp_path: Path) -> None:
    """Without IPv4, what benches and load listen on is ::1."""
    done = _without_ipv4(
        tmp_path, sys.executable, "-c", "from pfxlab.emulator.server import loopback; print(loopback())"
    )
    assert done.stdout == "::1\n", done.stderr


@pytest.mark.campaign
@pytest.mark.parametrize("more", [(), ("--jobs", "2")])
def test_load_without_ipv4(tmp_path: Path, more: tuple[str, ...]) -> None:
    """Without IPv4, a load run reaches its lab, and Locust's master its workers: requests succeed, none fails."""
    done = _without_ipv4(tmp_path, *map(str, command(tmp_path, plan_file(tmp_path, "graph"), *more)))
    assert done.returncode == 0, done.stdout + done.stderr
    total = report_of(tmp_path)["all"]
    assert total["units"] > 0
    assert total["failures"] == 0


@pytest.mark.campaign
@pytest.mark.parametrize(
    "words",
    [
        ("graph", "--imports", "100", "--records", "2000", "--turns", "1"),
        ("devices", "--devices", "20", "--sample", "10", "--turns", "1", "--delivered", "2"),
    ],
)
def test_benches_without_ipv4(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Without IPv4, benches measure the lab and the bare handler it is compared with."""
    done = _without_ipv4(tmp_path, sys.executable, "-m", "pfxlab", "bench", *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ratios" in json.loads(done.stdout)
