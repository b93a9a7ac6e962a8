"""Each benchmark of `pfxlab bench`, small, to its end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = {
    "admin": ("--certificates", "100", "--devices", "10", "--viewers", "2", "--imports", "100"),
    "connector": ("--requests", "1000", "--duration", "1s"),
    "devices": ("--devices", "20", "--sample", "10", "--delivered", "2"),
    "graph": ("--imports", "100", "--records", "2000"),
}


@pytest.mark.parametrize(
    "name", ["admin", *(pytest.param(one, marks=pytest.mark.campaign) for one in SMALL if one != "admin")]
)
def test_benchmark_reports_its_ratios(name: str, tmp_path: Path) -> None:
    """A benchmark runs to its end, with nothing but progress on the way, and prints ratios to its baseline."""
    command = [sys.executable, "-m", "pfxlab", "bench", name, "--turns", "1", "--json", *SMALL[name]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(ratio > 0 for ratio in json.loads(done.stdout)["ratios"].values())
