"""A lab on a machine that has no IPv4: a network namespace in which loopback is ::1 alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign import untraced

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
        capture_output=True, text=True, timeout=600, check=False, cwd=folder, env=untraced(),
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
