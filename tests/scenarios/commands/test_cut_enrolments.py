"""Enrolments that are cut off by a kill are repeated cleanly, and fleets of one lab stand side by side."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.scenarios.cli import main
from tests.clients.test_official_sdk import start, stop

KILLED = """
import os, runpy, signal, sys
part, number = sys.argv[1], int(sys.argv[2])
seen = []
def heard(name, values):
    if name == "os.rename" and part in os.fspath(values[1]):
        seen.append(name)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
sys.argv[:] = ["pfxlab", *sys.argv[3:]]
sys.addaudithook(heard)
runpy.run_module("pfxlab", run_name="__main__", alter_sys=True)
"""
"""Runs a command that is killed before it gives a file its name for the n-th time."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return the ready file of a running lab, and its facts."""
    folder = tmp_path_factory.mktemp("lab")
    process, facts = start(folder)
    yield folder / "ready.json", facts
    stop(process)


def run(*words: object) -> Result:
    """Return the result of a command."""
    return CliRunner().invoke(main, [*map(str, words)])


def kill(part: str, number: int, *words: object) -> None:
    """Run a command that is killed before its n-th file with `part` in its name is there."""
    command = [sys.executable, "-c", KILLED, part, str(number), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr + done.stdout


def in_graph(facts: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Return all entities of a collection."""

    async def asked() -> list[dict[str, Any]]:
        async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
            who = "setup_application" if path == "/v1.0/users" else "application"
            await client.sign_in({"grant_type": "client_credentials", **facts[who]})
            return await client.all_pages(path)

    return asyncio.run(asked())


def devices_of(facts: dict[str, Any], upn: str) -> list[str]:
    """Return the serial numbers of the records that the tenant has of a user's devices."""
    found = in_graph(facts, "/beta/deviceManagement/managedDevices")
    return [one["serialNumber"] for one in found if one["userPrincipalName"] == upn]


@pytest.mark.parametrize("platform", ["ios", pytest.param("windows", marks=pytest.mark.campaign)])
def test_killed_enrolment_of_a_device_leaves_no_second_record(
    lab: tuple[Path, dict[str, Any]], tmp_path: Path, platform: str
) -> None:
    """A device that was killed between the service's answer and its own files enrols again in place of its record."""
    ready, facts = lab
    words = ["devices", "enroll", "--ready-file", ready, "--data", tmp_path / "fleet", "--platforms", platform]
    words += ["--shared-keys", 1, "--jobs", 1]
    kill("mdm-identity.pem", 2, *words, "--count", 3)
    users = list(json.loads((tmp_path / "fleet" / "users.json").read_text()))
    assert [len(devices_of(facts, upn)) for upn in users] == [1, 1, 0]
    again = run(*words, "--count", 2)
    assert again.exit_code == 0, again.output
    shown = json.loads(run("devices", "show", "--data", tmp_path / "fleet", "--json").stdout)
    assert [(one["name"], one["upn"]) for one in shown] == [(f"{platform}-{n:05}", upn) for n, upn in enumerate(users)]
    assert [len(devices_of(facts, upn)) for upn in users] == [1, 1, 1]
    checked = run("devices", "checkin", "--ready-file", ready, "--data", tmp_path / "fleet")
    assert checked.exit_code == 0, checked.output


@pytest.mark.campaign
def test_killed_creation_of_a_user_is_finished(lab: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A fleet that was killed while it created its users goes on with the same users, each with its password."""
    words = [
        "devices",
        "enroll",
        "--ready-file",
        lab[0],
        "--data",
        tmp_path / "fleet",
        "--count",
        2,
        "--shared-keys",
        1,
    ]
    kill("users.json", 2, *words)
    for _ in range(2):
        # The password of the last one is saved, but there is no such user yet; the second time there is.
        kill("mdm-identity.pem", 1, *words)
    again = run(*words)
    assert again.exit_code == 0, again.output
    (prefix,) = {upn.partition("-0")[0] for upn in json.loads((tmp_path / "fleet" / "users.json").read_text())}
    names = [one["userPrincipalName"] for one in in_graph(lab[1], "/v1.0/users")]
    assert [name for name in names if name.startswith(f"{prefix}-")] == [
        f"{prefix}-0000{number}@pfxlab.example" for number in (1, 2)
    ]


def test_killed_enrolment_of_a_connector_leaves_no_second_one(lab: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A connector that was killed before it had its identity says what to do, and then is the same connector."""
    ready, facts = lab
    before = len(in_graph(facts, "/beta/deviceManagement/ndesConnectors"))
    words = ["connector", "enroll", "--ready-file", ready, "--data", tmp_path / "own"]
    kill("connector-", 1, *words)
    status = run("connector", "status", "--data", tmp_path / "own")
    assert status.exit_code == 3
    assert f"finish the enrolment that was cut off: pfxlab connector enroll --data {tmp_path / 'own'}" in status.stderr
    again = run(*words, "--json")
    assert again.exit_code == 0, again.output
    connectors = in_graph(facts, "/beta/deviceManagement/ndesConnectors")
    assert len(connectors) == before + 1
    assert json.loads(again.stdout)["connectorId"] in [one["id"] for one in connectors]
    assert run("connector", "status", "--data", tmp_path / "own").exit_code == 0
    assert not (tmp_path / "own" / "enrolling.pem").exists()


def test_fleets_of_one_lab_stand_side_by_side(lab: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A second fleet of a lab gets users and hardware of its own, also when it grows."""
    seen: dict[str, list[str]] = {}
    for data in ("one", "other", "other"):
        words = ["--ready-file", lab[0], "--data", tmp_path / data]
        done = run("devices", "enroll", *words, "--count", 1, "--platforms", "windows", "--shared-keys", 1)
        assert done.exit_code == 0, done.output
        assert run("devices", "checkin", *words).exit_code == 0
        seen[data] = list(json.loads((tmp_path / data / "users.json").read_text()))
    assert [len(seen[data]) for data in ("one", "other")] == [1, 2]
    prefixes = [{upn.partition("-0")[0] for upn in seen[data]} for data in ("one", "other")]
    assert [len(one) for one in prefixes] == [1, 1]
    assert prefixes[0] != prefixes[1]
    serials = [serial for upns in seen.values() for upn in upns for serial in devices_of(lab[1], upn)]
    assert len(serials) == len(set(serials)) == 3


def test_fleet_is_one_commands_at_a_time(lab: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A command that finds a fleet in use says so and ends with 3, where two would enrol the same devices."""
    words = ["--ready-file", lab[0], "--data", tmp_path / "fleet"]
    (tmp_path / "fleet").mkdir()
    with FileLock(tmp_path / "fleet" / "lock"):
        for command in ("enroll", "checkin"):
            refused = run("devices", command, *words)
            assert refused.exit_code == 3
            assert "expected no other process to work with the fleet in" in refused.output


def test_fleet_of_a_lab_that_was_reset(lab: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A fleet's users that a reset took out of the tenant are made again when devices are added."""
    words = ["--ready-file", lab[0], "--data", tmp_path / "fleet", "--platforms", "windows", "--shared-keys", 1]
    assert run("devices", "enroll", *words, "--count", 2).exit_code == 0
    assert run("world", "--ready-file", lab[0], "reset").exit_code == 0
    again = run("devices", "enroll", *words, "--count", 1, "--users", 2)
    assert again.exit_code == 0, again.output
