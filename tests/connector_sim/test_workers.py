"""Worker processes: the same results as in threads, no request lost when one dies, no process left over."""

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import load_der_x509_certificate

from pfxlab.connector_sim.keys.installed import InstalledProviders, SoftwarePlace, TokenPlace
from pfxlab.connector_sim.keys.padding import encrypt
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.connector_sim.keys.software import PROVIDER_NAME, SoftwareKsp
from pfxlab.connector_sim.worker_process import LENGTH, frame, read_results, serve
from pfxlab.connector_sim.workers import Workers
from pfxlab.emulator.wire.connector import NotRecrypted, PasswordRecryption, Recrypted, WorkItem
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.scenarios.load.drive.material import Material, password
from tests.connector_sim import softhsm

MANY = 150
SCHEME = PaddingScheme.oaepSha256


@pytest.fixture(scope="module")
def material() -> Material:
    """Return a key and devices."""
    return Material()


@pytest.fixture
def folder(tmp_path: Path, material: Material) -> Path:
    """Return a folder of the software provider with the material's key."""
    SoftwareKsp(tmp_path / "keys").store("k", material.key)
    return tmp_path / "keys"


def work(material: Material, count: int, provider: str = PROVIDER_NAME, key: str = "k") -> list[WorkItem]:
    """Return a number of requests, each with a different password."""
    public = material.key.public_key()
    return [
        PasswordRecryption(
            str(number), provider, key, SCHEME, encrypt(public, password(number), SCHEME), material.devices[0], "t"
        )
        for number in range(count)
    ]


def children(process: int | str = "self") -> list[int]:
    """Return the worker processes of a process."""
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        # Threads and processes may end while one looks.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                if b"pfxlab.connector_sim.worker_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


def alive(process: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def opened(material: Material, results: list[Recrypted | NotRecrypted]) -> dict[str, bytes]:
    """Return the password that the device decrypts from each result."""
    certificate = load_der_x509_certificate(material.devices[0])
    read = {}
    for result in results:
        assert isinstance(result, Recrypted), result
        read[result.request_id] = pkcs7.pkcs7_decrypt_der(result.encrypted_blob, certificate, material.device_key, [])
    return read


@pytest.fixture
async def workers(folder: Path) -> AsyncIterator[Workers]:
    """Return two worker processes over the folder's keys."""
    running = Workers(InstalledProviders([SoftwarePlace(str(folder))]), threads=2, processes=2)
    yield running
    await running.stop()
    assert not children()


async def test_many_requests_are_computed_in_other_processes(workers: Workers, material: Material) -> None:
    """A large lease is completed correctly although this process opens no key for it."""
    with patch.object(InstalledProviders, "open", side_effect=AssertionError("opened here")):
        results = await workers.recrypt(work(material, MANY))
    assert opened(material, results) == {str(number): password(number) for number in range(MANY)}
    assert len(children()) == 2


async def test_few_requests_start_no_process(workers: Workers, material: Material) -> None:
    """A small lease is computed in this process, since starting a worker takes longer than it saves."""
    assert len(opened(material, await workers.recrypt(work(material, 10)))) == 10
    assert children() == []


async def test_a_killed_worker_loses_nothing(workers: Workers, material: Material) -> None:
    """The requests of a killed worker are computed anyway, and another worker replaces it."""
    await workers.recrypt(work(material, MANY))
    before = children()
    many = work(material, 4 * MANY)
    running = asyncio.create_task(workers.recrypt(many))
    await asyncio.sleep(0.02)
    os.kill(before[0], signal.SIGKILL)
    assert len(opened(material, await running)) == 4 * MANY
    await workers.recrypt(many)
    assert len(children()) == 2
    assert before[0] not in children()


async def test_files_in_the_working_folder_are_not_imported(
    workers: Workers, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the working folder named like a standard library module does not stop the workers."""
    (tmp_path / "queue.py").write_text("raise SystemExit('taken for a module')")
    monkeypatch.chdir(tmp_path)
    with patch.object(InstalledProviders, "open", side_effect=AssertionError("opened here")):
        assert len(opened(material, await workers.recrypt(work(material, MANY)))) == MANY


async def test_a_worker_that_cannot_start_costs_only_speed(
    workers: Workers, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no process can be started, a large lease is computed in threads."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert len(opened(material, await workers.recrypt(work(material, MANY)))) == MANY


async def test_reasons_come_back_from_workers(workers: Workers, material: Material) -> None:
    """A failure in a worker has the same code and message as in a thread."""
    missing = await workers.recrypt(work(material, MANY, key="other"))
    few = await workers.recrypt(work(material, 1, key="other"))
    assert {result.code for result in missing if isinstance(result, NotRecrypted)} == {"KeyNotFound"}
    assert {result.message for result in missing if isinstance(result, NotRecrypted)} == {
        result.message for result in few if isinstance(result, NotRecrypted)
    }
    assert len(missing) == MANY


async def test_providers_without_a_place_stay_here(folder: Path, material: Material) -> None:
    """A provider that only this process knows is used here, however large the lease."""
    running = Workers(Providers([SoftwareKsp(folder)]), threads=2, processes=2)
    try:
        assert len(opened(material, await running.recrypt(work(material, MANY)))) == MANY
        assert children() == []
    finally:
        await running.stop()


@pytest.mark.skipif(softhsm.missing, reason="SoftHSM2 is not installed")
async def test_each_worker_has_its_own_session_on_a_token(tmp_path: Path, material: Material) -> None:
    """Workers decrypt with a key that never leaves its token, each in its own session."""
    with softhsm.token(tmp_path) as settings:
        softhsm.provider(settings).store("k", material.key)
        place = TokenPlace(softhsm.NAME, str(settings.module), settings.token_label, str(settings.pin_file))
        running = Workers(InstalledProviders([place]), threads=1, processes=2)
        try:
            results = await running.recrypt(work(material, MANY, softhsm.NAME))
            assert len(opened(material, results)) == MANY
            assert len(children()) == 2
        finally:
            await running.stop()


@pytest.mark.parametrize("cut", [0, 3, 40, -1])
def test_an_input_that_ends_within_a_message_ends_a_worker(folder: Path, material: Material, cut: int) -> None:
    """A worker whose input breaks off answers the complete shares and ends without answering the partial one."""
    whole = frame([SoftwarePlace(str(folder))]) + frame(work(material, 2))
    broken, answers = frame(work(material, 1)), io.BytesIO()
    serve(io.BytesIO(whole + broken[:cut]), answers)
    (size,) = LENGTH.unpack(answers.getvalue()[: LENGTH.size])
    assert len(answers.getvalue()) == LENGTH.size + size
    assert len(opened(material, read_results(answers.getvalue()[LENGTH.size :]))) == 2


def test_no_worker_outlives_a_killed_connector(folder: Path) -> None:
    """When the connector is killed as nothing can be prepared for, its workers end by themselves."""
    connector = subprocess.Popen([sys.executable, "-c", KEPT_BUSY, str(folder)], stdout=subprocess.PIPE)
    try:
        assert connector.stdout is not None
        assert connector.stdout.readline() == b"busy\n"
        begun = children(connector.pid)
    finally:
        connector.kill()
        connector.communicate()
    assert len(begun) == 2
    for _ in range(2000):
        if not any(map(alive, begun)):
            return
        time.sleep(0.05)
    raise AssertionError(f"expected no worker left, got {[one for one in begun if alive(one)]}")


KEPT_BUSY = """
import asyncio, sys
from pfxlab.connector_sim.keys.installed import InstalledProviders, SoftwarePlace
from pfxlab.connector_sim.workers import Workers
from pfxlab.scenarios.load.drive.material import Material
from tests.connector_sim.test_workers import MANY, work

async def main():
    running = Workers(InstalledProviders([SoftwarePlace(sys.argv[1])]), threads=1, processes=2)
    many = work(Material(), MANY)
    await running.recrypt(many)
    print("busy", flush=True)
    while True:
        await running.recrypt(many)

asyncio.run(main())
"""
