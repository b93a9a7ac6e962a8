"""Data of version 0.1, commit 5b6d43b, can be opened: a lab, a snapshot, a connector, a fleet, a configuration.

`of-5b6d43b` was made by that commit's own commands, with TEST ONLY keys: a lab of `config.yaml` whose phone holds an
imported certificate, kept as the snapshot `kept`; after it a connector and a fleet beside the lab, and a laptop that
waits for the same certificate.
"""

import asyncio
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.lab.config_file import read_config
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.ready_file import ready, write_ready_file

OLD = Path(__file__).with_name("of-5b6d43b")
PFXLAB = [sys.executable, "-m", "pfxlab"]
SOON_AFTER = datetime(2026, 12, 1, 8, tzinfo=UTC)
"""A few days after it was made: its certificates last a year by the lab's clock."""

USER = "user@pfxlab.example"
THUMBPRINT = "31e927001c0df1a26af4e295ad2a06c236435d2a"


def unpack(name: str, folder: Path) -> Path:
    """Return a folder with the content of an archive."""
    with zipfile.ZipFile(OLD / f"{name}.zip") as archive:
        archive.extractall(folder / name)
    return folder / name


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """Return the old lab, running with its connector; commands of this test find it."""
    opened = Lab(unpack("lab", tmp_path), read_config(OLD / "config.yaml", None), at=SOON_AFTER)
    async with open_lab(opened, ("connector",)):
        write_ready_file(tmp_path / "ready.json", ready(opened))
        monkeypatch.setenv("PFXLAB_READY_FILE", str(tmp_path / "ready.json"))
        yield opened


async def said(*arguments: str, code: int = 0) -> str:
    """Return the output of a command."""
    done = await asyncio.to_thread(
        subprocess.run, [*PFXLAB, *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return str(done.stdout)


async def told(*arguments: str) -> Any:
    """Return the JSON that a command prints."""
    return json.loads(await said(*arguments, "--json"))


async def test_old_data_folder_opens(lab: Lab) -> None:
    """Records, devices and pending deliveries are there: the waiting laptop gets its certificate."""
    assert [one["thumbprint"] for one in await told("pfx", "get", "--user", USER)] == [THUMBPRINT]
    await said("world", "device", "laptop", "platform=windows", f"user={USER}")
    await said("world", "settle")
    for device in ("phone", "laptop"):
        (way,) = await told("explain", "--user", USER, "--device", device)
        assert way["arrived"], (device, way)


async def test_snapshot_is_restored(lab: Lab) -> None:
    """A snapshot in the old folder brings back a record deleted since, and the name of its certificate."""
    await said("pfx", "remove", "--user", USER)
    assert await told("pfx", "get", "--user", USER) == []
    await said("world", "restore", "kept")
    assert [one["thumbprint"] for one in await told("pfx", "get", "--user", USER)] == [THUMBPRINT]
    await said("world", "expect", "device=phone", "holds=mail")


async def test_connector_folder_works_on(lab: Lab, tmp_path: Path) -> None:
    """A connector enrolled then keeps its identity and event log, and the service accepts its heartbeats."""
    folder = unpack("connector", tmp_path)
    service = folder / "service.json"
    # Its lab had another port; everything else is as it was.
    service.write_text(json.dumps({**json.loads(service.read_text()), "service_url": lab.emulator.origin}))
    before = await told("connector", "status", "--data", str(folder))
    assert before["connectorId"] == "94808a88-b05d-4bdd-9766-77ffba068fca"
    running = await asyncio.create_subprocess_exec(
        *PFXLAB, "connector", "run", "--data", str(folder), "--keys", str(tmp_path / "keys"), "--jobs", "0",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    accepted = "5000 HealthMessageUploadSuccess"
    for _ in range(100):
        now = await told("connector", "status", "--data", str(folder))
        if now["events"][accepted] > before["events"][accepted] or running.returncode is not None:
            break
    assert now["events"][accepted] > before["events"][accepted]
    running.send_signal(signal.SIGTERM)
    await running.communicate()
    assert running.returncode == 0


async def test_fleet_folder_checks_in(lab: Lab, tmp_path: Path) -> None:
    """Devices enrolled then check in, and others join their fleet."""
    fleet = ("--data", str(unpack("fleet", tmp_path)))
    (checked_in,) = (await told("devices", "checkin", *fleet))["rounds"]
    assert (checked_in["done"], checked_in["failed"]) == (2, 0)
    assert (await told("devices", "enroll", *fleet, "--count", "1", "--shared-keys", "1"))["failed"] == 0
    assert [one["name"] for one in await told("devices", "show", *fleet)] == ["ios-00000", "ios-00002", "windows-00001"]


def test_old_configuration_has_the_same_effect() -> None:
    """The configuration of docs/configuration.md at that commit sets the same seed, switches and tenants."""
    config = read_config(OLD / "config.yaml", None)
    switches = config.switches
    assert (config.seed, config.explain, config.journal_entries) == (7, True, 1_000_000)
    assert (switches.duplicate_post, switches.page_size) == ("upsert", 2)
    assert (switches.throttling, switches.retry_after) == ("documented", "fractional")
    assert [tenant["domain"] for tenant in config.tenants] == ["pfxlab.example", "fabrikam.example"]
