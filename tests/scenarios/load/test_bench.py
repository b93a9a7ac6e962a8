"""The benchmarks run and print the documented fields; their figures are not tested."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.test_official_sdk import PFXLAB


@pytest.mark.campaign
def test_graph_benchmark_prints_its_ratios() -> None:
    """`pfxlab bench graph --json` prints one JSON object with baseline, ratios and memory, and nothing else."""
    command = [*PFXLAB, "bench", "graph", "--imports", "100", "--records", "2000", "--turns", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert set(report) == {"baseline", "lab", "ratios", "rss_mb_1m"}
    assert set(report["ratios"]) == {"import_vs_bare", "list_1m_vs_1k", "filter_1m_vs_1k"}
    assert all(ratio > 0 for ratio in report["ratios"].values())


@pytest.mark.campaign
def test_connector_benchmark_prints_its_ratios() -> None:
    """`pfxlab bench connector --json` prints baseline, ratios to it, and stages, and nothing else."""
    command = [*PFXLAB, "bench", "connector", "--turns", "1", "--duration", "1s", "--requests", "1000", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert set(report) == {"baseline", "ratios", "stages", "memory_mb"}
    wanted = {"recrypt_one_thread", "recrypt_all_cores", "recrypt_fanout3", "recrypt_apple", "end_to_end"}
    assert set(report["ratios"]) == wanted
    assert all(ratio > 0 for ratio in report["ratios"].values())


@pytest.mark.campaign
def test_devices_benchmark_prints_its_ratios(tmp_path: Path) -> None:
    """`pfxlab bench devices --json` prints ratios, kilobytes and the cost of a delivery, and writes its profile."""
    profile = tmp_path / "profile.txt"
    sizes = ["--devices", "20", "--sample", "10", "--turns", "1", "--delivered", "2"]
    command = [*PFXLAB, "bench", "devices", *sizes, "--profile", str(profile), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert set(report) == {"baseline", "ratios", "kb_per_device", "delivery"}
    assert set(report["ratios"]) == {"idle_checkin_vs_bare", "rsa_cpu_share"}
    assert all(ratio > 0 for ratio in report["ratios"].values())
    assert "generate_private_key" in profile.read_text()
