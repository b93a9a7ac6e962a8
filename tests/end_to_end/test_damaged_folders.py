"""Every file of folders made by real commands, damaged in every way: the file is named, or shown, or made again.

Nothing ends with a traceback, and what is damaged keeps nothing else from working.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests.device_sim.test_damaged_files import empty, flip, halve, make_folder, make_loop

PFXLAB = [sys.executable, "-m", "pfxlab"]
MAKE = """set -e
pfxlab world profile name=phones platform=ios purpose=smimeEncryption
pfxlab world profile name=laptops platform=windows purpose=smimeEncryption
pfxlab world certificate name=mail user=user@pfxlab.example
pfxlab world import mail
pfxlab world settle
pfxlab world snapshot kept
pfxlab connector enroll --data connector
pfxlab devices enroll --data fleet --count 2 --shared-keys 1
for round in 1 2 3; do pfxlab devices checkin --data fleet; done
"""
Damage = Callable[[Path], None]
SUPERUSER = hasattr(os, "geteuid") and os.geteuid() == 0
UNPRIVILEGED = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if SUPERUSER and shutil.which("setpriv") else []
)
"""What lets commands of a superuser, as in a container, meet the same permissions as anybody's."""


def reads_everything() -> bool:
    """Return whether commands may read files whose mode forbids that."""
    return SUPERUSER and not UNPRIVILEGED


def unlink(path: Path) -> None:
    """Take a file away."""
    path.unlink()


def forbid(path: Path) -> None:
    """Let nobody read a file, a superuser neither, see `run`."""
    path.chmod(0)


ALL: tuple[Damage, ...] = (empty, halve, flip, make_folder, make_loop, unlink, forbid)
LAB = (
    "cloud/cloud.db", "cloud/connector-ca.pem", "cloud/device-ca.pem", "cloud/tls-ca.pem", "cloud/tls-server.pem",
    "cloud/token-signing.pem", "connector/connector-*.pem", "connector/keys/*.pem", "devices/ios-*/device.json",
    "devices/ios-*/mdm-identity.pem", "devices/ios-*/profiles.json", "devices/ios-*/store/*.json",
    "devices/ios-*/store/*.pem", "devices/macos-*/device.json", "devices/macos-*/mdm-identity.pem",
    "devices/windows-*/device.json", "devices/windows-*/mdm-identity.pem", "devices/windows-*/nodes.json",
    "devices/windows-*/store/*.json", "devices/windows-*/store/*.pem", "lock", "operator/ca.pem",
    "operator/connector-public-key.pem", "operator/credentials.json", "operator/ready.json", "snapshots/kept.snapshot",
)  # fmt: skip
CONNECTOR = ("connector-*.pem", "service.json")
FLEET = (
    "devices/ios-*/device.json", "devices/ios-*/mdm-identity.pem", "devices/windows-*/device.json",
    "devices/windows-*/mdm-identity.pem", "devices/windows-*/nodes.json", "fleet.jsonl", "keys.pem", "lock",
    "users.json",
)  # fmt: skip

_WRITTEN_ANEW = (empty, halve, flip, make_loop, unlink, forbid)
MENDED: dict[str, tuple[Damage, ...]] = {
    # Eight bytes within a row: pages and indexes are sound, so only who knows the row sees it.
    "cloud/cloud.db": (flip,),
    # The middle of the file is the CA's key, which is needed for another server certificate only.
    "cloud/tls-ca.pem": (flip,),
    "cloud/tls-server.pem": _WRITTEN_ANEW,
    "cloud/token-signing.pem": (unlink,),
    # A server without its identity enrols again.
    "connector/connector-*.pem": (unlink,),
    "devices/ios-*/profiles.json": (unlink,),
    "devices/windows-*/nodes.json": (unlink,),
    # The check-in at the start installs these again.
    **dict.fromkeys((name for name in LAB if "/store/" in name), _WRITTEN_ANEW),
    "lock": (empty, halve, flip, unlink),
    "operator/ca.pem": _WRITTEN_ANEW,
    "operator/connector-public-key.pem": _WRITTEN_ANEW,
    "operator/credentials.json": (unlink,),
    "operator/ready.json": _WRITTEN_ANEW,
    "fleet.jsonl": (empty, halve, flip, unlink),
    "keys.pem": _WRITTEN_ANEW,
}
"""File → damages after which everything is as before: what the file held is made again, or not needed."""

CASES = [
    (folder, pattern, damage)
    for folder, patterns in (("lab", LAB), ("connector", CONNECTOR), ("fleet", FLEET))
    for pattern, damage in product(patterns, ALL)
]
SAMPLE = random.Random(20).sample(CASES, 4)  # noqa: S311 - the same ones each time


def command_of(folder: str, pattern: str) -> tuple[str, ...]:
    """Return the command that reads a file."""
    lab = ("exec", "--data", "lab")
    if folder == "connector":
        return ("connector", "run", "--data", "connector", "--keys", "keys", "--jobs", "0")
    if pattern in ("users.json", "keys.pem"):
        return (*lab, "--", "pfxlab", "devices", "enroll", "--data", "fleet", "--count", "1", "--shared-keys", "1")
    if folder == "fleet":
        return (*lab, "--", "pfxlab", "devices", "checkin", "--data", "fleet")
    if pattern.startswith("snapshots/"):
        return (*lab, "--", "pfxlab", "world", "restore", "kept")
    return (*lab, "--with", "connector,devices", "--", "true")


def shown_as(folder: str, pattern: str, path: Path, damage: Damage) -> str:
    """Return what an answer must name: the file, or what it held where it is gone."""
    if damage is unlink and folder == "connector":
        return path.name.partition("-")[0]
    return path.stem if damage is unlink and pattern.startswith("snapshots/") else path.name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folders of a lab, a connector and a fleet, made by the commands; the lab has stopped."""
    folder = tmp_path_factory.mktemp("made")
    run(folder, "exec", "--data", "lab", "--with", "connector,devices", "--", "sh", "-c", MAKE)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of pfxlab in a folder; `pfxlab` is on the path of what it runs itself."""
    (folder / "bin").mkdir(exist_ok=True)
    shim = folder / "bin" / "pfxlab"
    if not shim.exists():
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m pfxlab "$@"\n')
        shim.chmod(0o700)
    environment = os.environ | {"PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [*UNPRIVILEGED, *PFXLAB, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_lists_name_every_file(made: Path) -> None:
    """What is damaged below is all that the commands leave in their folders."""
    for name, patterns in (("lab", LAB), ("connector", CONNECTOR), ("fleet", FLEET)):
        found = {path for path in (made / name).rglob("*") if path.is_file()}
        assert found == {path for pattern in patterns for path in (made / name).glob(pattern)}


@pytest.mark.parametrize(
    ("folder", "pattern", "damage"),
    [pytest.param(*case, marks=() if case in SAMPLE else pytest.mark.campaign) for case in CASES],
)
def test_damage_is_named_or_mended(made: Path, tmp_path: Path, folder: str, pattern: str, damage: Damage) -> None:
    """A damaged file ends its command with 3 and its name, is shown by name while all else goes on, or is mended."""
    if damage is forbid and reads_everything():
        pytest.skip("a superuser may read every file, and there is no setpriv")
    here = tmp_path / "made"
    shutil.copytree(made, here)
    (path,) = (here / folder).glob(pattern)
    damage(path)
    result = run(here, *command_of(folder, pattern))
    said = (result.stdout + result.stderr).replace("\n", "")
    assert "Traceback" not in said
    assert "never retrieved" not in said
    if damage in MENDED.get(pattern, ()):
        assert result.returncode == 0, said
        again = run(here, *command_of(folder, pattern))
        assert (again.returncode, "Damaged" in again.stderr) == (0, False), again.stderr
        return
    assert shown_as(folder, pattern, path, damage) in said
    # What others than the damaged entry do goes on: the lab's command has its own 0, a fleet's round a failure. A
    # snapshot that cannot be restored ends the restore alone, with 2.
    going_on = {"connector": 3, "fleet": 1, "lab": 2 if pattern.startswith("snapshots/") else 0}
    assert result.returncode in (3, going_on[folder]), said
