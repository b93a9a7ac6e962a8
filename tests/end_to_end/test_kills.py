"""Connector and emulator killed at random points under load: nothing lost, nothing twice, no plaintext left behind."""

import asyncio
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import load_der_x509_certificate

from pfxlab.connector_sim import identity
from pfxlab.connector_sim.eventlog import EventLogFile
from pfxlab.connector_sim.keys.installed import InstalledProviders, SoftwarePlace
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.service import Connector, Settings, enroll
from pfxlab.emulator.clock import LabClock
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.load.drive.material import Material, password, queue_up

READY = "select count(*) from deliveries where state = 'ready'"


def serve(folder: str, port: int) -> None:
    """Run the emulator until it is killed."""

    async def work() -> None:
        lab = Lab(Path(folder) / "lab")
        await lab.start(port)
        await asyncio.sleep(3600)

    asyncio.run(work())


def connect(folder: str, port: int) -> None:
    """Run the connector until it is killed; small batches, so that there is always something in between.

    Yet large enough for worker processes, which must end with it.
    """

    async def work() -> None:
        place = Path(folder) / "connector"
        who = identity.find(place)
        assert who is not None
        settings = Settings(
            f"https://localhost:{port}", Path(folder) / "lab" / "operator" / "ca.pem", batch=100, processes=2
        )
        log = EventLogFile(place / "events.jsonl", LabClock())
        await Connector(
            settings, who, InstalledProviders([SoftwarePlace(str(place / "keys"))]), LabClock(), log
        ).start()
        await asyncio.sleep(3600)

    asyncio.run(work())


async def prepare(folder: Path, material: Material, requests: int) -> None:
    """Fill a queue, and enrol the connector that will work on it."""
    SoftwareKsp(folder / "connector" / "keys").store(KEY_NAME, material.key)
    async with Lab(folder / "lab") as lab:
        queue_up(lab, material, material.ciphertexts(requests))
        made = lab.operator.credentials
        token = await lab.user_token(made.operator_upn, made.operator_password)
        settings = Settings(lab.emulator.origin, lab.ca_file)
        await enroll(settings, token, folder / "connector", "killed", "KILLED")


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Party:
    """A process that can be started, killed and started again."""

    def __init__(self, context: Any, target: Callable[[str, int], None], folder: Path, port: int) -> None:
        self._context, self._target, self._arguments = context, target, (str(folder), port)
        self.start()

    def start(self) -> None:
        """Start it."""
        self._process = self._context.Process(target=self._target, args=self._arguments, daemon=True)
        self._process.start()

    def kill(self) -> None:
        """Kill it as nothing can be prepared for."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()


def question(folder: Path, sql: str) -> int:
    """Return a number from the emulator's database, even while it is open elsewhere."""
    connection = sqlite3.connect(f"file:{folder}/lab/cloud/cloud.db?mode=ro", uri=True, timeout=30)
    try:
        return int(connection.execute(sql).fetchone()[0])
    finally:
        connection.close()


def test_kills_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], *, whole: bool) -> None:
    """After many kills of connector, emulator or both every request is delivered exactly once, to its device, with its password."""
    kills, requests = (50, 16_000) if whole else (4, 3000)
    material, port, chance = Material(), free_port(), random.Random(7)  # noqa: S311 - points of time, repeatable
    asyncio.run(prepare(tmp_path, material, requests))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.end_to_end.test_kills"])
    emulator, connector = (Party(context, target, tmp_path, port) for target in (serve, connect))
    killed: Counter[str] = Counter()
    while killed.total() < kills:
        if not whole:
            # Few kills: each after something was done since the last, however long that takes here.
            wait_for(tmp_path, question(tmp_path, READY) + 1)
        time.sleep(chance.uniform(0.1, 0.7) if whole else chance.uniform(0, 0.1))
        name = chance.choice(["connector", "emulator", "both"])
        for party, mine in ((connector, "connector"), (emulator, "emulator")):
            if name in (mine, "both"):
                party.kill()
        for party, mine in ((emulator, "emulator"), (connector, "connector")):
            if name in (mine, "both"):
                party.start()
        killed[name] += 1
    left_at_last_kill = requests - question(tmp_path, READY)
    wait_for(tmp_path, requests)
    connector.kill()
    emulator.kill()
    ready, twice = judge(tmp_path, material)
    lost = requests - ready
    with capsys.disabled():
        said = (
            f"{killed.total()} kills ({dict(killed)}), {lost} lost, {twice} duplicated, {left_at_last_kill} then left"
        )
        print(f"\n{said}")  # noqa: T201 - the count is to be seen
    assert (lost, twice) == (0, 0)
    assert left_at_last_kill > 0, "the queue was empty before the last kill: make it longer"


def wait_for(folder: Path, ready: int, seconds: float = 300) -> None:
    """Wait until a number of requests is ready; the time limit is for a defect, not for a slow machine."""
    deadline = time.monotonic() + seconds
    while question(folder, READY) < ready and time.monotonic() < deadline:
        time.sleep(0.02)


def judge(folder: Path, material: Material) -> tuple[int, int]:
    """Return how many requests are ready and how many became so twice; ready ones open with the device's key."""
    connection = sqlite3.connect(folder / "lab" / "cloud" / "cloud.db")
    rows = connection.execute(
        "select d.id, d.payload, v.certificate from deliveries d join devices v on v.id = d.device_id"
        " where state = 'ready'"
    ).fetchall()
    for name, payload, certificate in rows:
        opened = pkcs7.pkcs7_decrypt_der(payload, load_der_x509_certificate(certificate), material.device_key, [])
        assert opened == password(int(name[:8], 16))
    made = Counter(
        row[0]
        for row in connection.execute(
            "select json_extract(fields, '$.delivery') from journal where event = 'delivery re-encrypted'"
        )
    )
    connection.close()
    key = material.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"password 0000" not in data, path
            assert path.parent.name == "keys" or key[100:200] not in data, path
    return len(rows), sum(count > 1 for count in made.values())
