"""A lab killed in the middle of a restore, a reset or a snapshot is as it was before, or as it is after: all of it.

The judge reads the database with sqlite3 and the files byte by byte, and wrote down both states when they were there.
"""

import asyncio
import os
import random
import shutil
import sqlite3
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.scenario import steps
from tests.conftest import new_lab
from tests.end_to_end import kill_points

THEN, LATER = datetime(2026, 3, 2, 8, tzinfo=UTC), datetime(2026, 3, 9, 8, tzinfo=UTC)
USER = "user@pfxlab.example"
FOLDERS = ("devices", "connector", "connectors", "operator")
REFUSED = 7
"""How a process ends whose restore was refused, and whose lab went on."""

ALLOCATING = ("write", "pwrite64", "openat", "mkdir")
"""Calls that a full disk refuses."""

STARTS = "runs"
"""The setting that counts starts: every one changes it."""

pytestmark = pytest.mark.skipif(not kill_points.possible(), reason="needs strace, and leave to trace")

State = dict[str, Any]


def read_state(folder: Path) -> State:
    """Return every row of a lab's database and every byte of its files; snapshots by what is in them."""
    connection = sqlite3.connect(f"file:{folder}/cloud/cloud.db?mode=ro", uri=True)
    tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    state: State = {
        f"table {name}": sorted(map(repr, connection.execute(f"select * from {name}")))  # noqa: S608 - the file's own names
        for name in tables
    }
    connection.close()
    state["table meta"] = [row for row in state["table meta"] if not row.startswith(f"('{STARTS}',")]
    for place in FOLDERS:
        for path in sorted((folder / place).rglob("*")):
            if path.is_file():
                state[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted((folder / "snapshots").glob("*.snapshot")):
        with zipfile.ZipFile(path) as archive:
            state[str(path.relative_to(folder))] = {name: archive.read(name) for name in archive.namelist()}
    return state


def difference(one: State, other: State) -> list[str]:
    """Return where two states differ, shortly."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


async def start_again(folder: Path) -> None:
    """Start the lab, open every device it has, and stop it."""
    async with Lab(folder) as lab:
        for place in (folder / "devices").iterdir():
            lab.reopen_device(place.name)
            assert place.name in lab.devices, place.name
        assert lab.connector_key() is not None


async def do(world: World, *wanted: dict[str, Any]) -> None:
    """Perform steps of a scenario."""
    for step in wanted:
        await steps.perform(world, step)


@dataclass(frozen=True)
class Prepared:
    """A lab's folder that has moved on from the snapshot `kept` in it, and both states."""

    folder: Path
    kept: State
    later: State


async def _move_on(world: World) -> None:
    lab = world.lab
    await do(
        world,
        {"device": {"name": "laptop", "platform": "windows", "user": USER}},
        {"user": "second@pfxlab.example"},
        {"certificate": {"name": "other", "user": USER}},
        {"import": "other"},
        {"connector": {"name": "third", "own_keys": True}},
        {"settle": None},
    )
    for one in list(lab.connectors()):
        await lab.stop_connector(one.name)
    lab.cloud.journal.flush()
    # What was in the snapshot and is gone: a device, and a connector with its own key.
    shutil.rmtree(lab.folder / "devices" / "phone")
    shutil.rmtree(lab.folder / "connectors" / "second")


async def _prepare(folder: Path) -> State:
    lab = new_lab(folder, at=THEN, stepped=True)
    async with open_lab(lab) as world:
        await do(
            world,
            {"connector": "main"},
            {"connector": {"name": "second", "own_keys": True}},
            {"device": {"name": "phone", "platform": "ios", "user": USER}},
            {"profile": {"name": "mail", "platform": "ios", "purpose": "smimeEncryption"}},
            {"certificate": {"name": "mail", "user": USER}},
            {"import": "mail"},
            {"settle": None},
            {"expect": {"device": "phone", "holds": "mail"}},
        )
        for one in list(lab.connectors()):
            await lab.stop_connector(one.name)
        state = await world.take()
        kept = read_state(folder)
        world.kept.write("kept", state)
        lab.clock.freeze(LATER)
        await _move_on(world)
    return kept


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Return a lab that has a snapshot and has moved on; made once, to be copied."""
    folder = tmp_path_factory.mktemp("restore") / "lab"
    kept = asyncio.run(_prepare(folder))
    later = read_state(folder)
    snapshots = {name: data for name, data in later.items() if name.startswith("snapshots")}
    return Prepared(folder, kept | snapshots, later)


def _opened(folder: str, connection: Connection, name: str) -> None:
    async def work() -> None:
        lab = Lab(Path(folder), at=LATER, stepped=True)
        world = World(lab)
        if name == "reset":
            await world.begin_here()
            await world.restore(world.kept.read("kept"))
        kill_points.wait(connection)
        if name == "restore":
            await world.restore(world.kept.read("kept"))
        elif name == "reset":
            await world.reset()
        else:
            world.kept.write(name, await world.take())
        # As if it was killed right after.
        os._exit(0)

    asyncio.run(work())


def restore(folder: str, connection: Connection) -> None:
    """Restore the snapshot."""
    _opened(folder, connection, "restore")


def restore_or_go_on(folder: str, connection: Connection) -> None:
    """Restore the snapshot; when it is refused, let the lab that runs go on as it was."""

    async def work() -> None:
        lab = Lab(Path(folder), at=LATER, stepped=True)
        world = World(lab)
        lab.reopen_device("laptop")
        kill_points.wait(connection)
        try:
            await world.restore(world.kept.read("kept"))
        except BadSnapshot:
            assert (lab.clock.now(), list(lab.devices)) == (LATER, ["laptop"])
            assert lab.cloud.directory.user(lab.operator.credentials.tenant_id, "second@pfxlab.example") is not None
            os._exit(REFUSED)
        os._exit(0)

    asyncio.run(work())


def reset(folder: str, connection: Connection) -> None:
    """Go back to the beginning from the state of the snapshot."""
    _opened(folder, connection, "reset")


def take_new(folder: str, connection: Connection) -> None:
    """Keep a snapshot under a new name."""
    _opened(folder, connection, "new")


def take_again(folder: str, connection: Connection) -> None:
    """Keep a snapshot under a name that another one has."""
    _opened(folder, connection, "kept")


ACTIONS = {one.__name__: one for one in (restore, reset, take_new, take_again)}
SAMPLE = {"restore": 3, "reset": 1, "take_new": 1, "take_again": 1}
"""Points to be killed at in `make test`."""


def _copy(prepared: Prepared, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared.folder, folder)
    return folder


def _snapshot_of(name: str, state: State) -> Any:
    return state.get(f"snapshots/{name}.snapshot")


def _judge(name: str, folder: Path, prepared: Prepared) -> str:
    """Return which state a lab is in after the kill and another start."""
    asyncio.run(start_again(folder))
    leftovers = [str(path) for path in folder.rglob("*") if path.name.endswith(".part") or path.name == "restoring"]
    assert leftovers == []
    found = read_state(folder)
    if name.startswith("take"):
        return _judge_taken("new" if name == "take_new" else "kept", found, prepared)
    if not difference(found, prepared.later):
        return "later"
    assert difference(found, prepared.kept) == [], f"neither; from the later state: {difference(found, prepared.later)}"
    return "kept"


def _judge_taken(name: str, found: State, prepared: Prepared) -> str:
    others = {f"snapshots/{name}.snapshot"}
    assert set(difference(found, prepared.later)) <= others
    taken, before = _snapshot_of(name, found), _snapshot_of(name, prepared.later)
    if taken == before:
        return "before"
    files = {f"files/{path}" for path in prepared.later if path.partition("/")[0] in FOLDERS}
    assert {part: taken[part] for part in taken if part.startswith("files/")} == {
        part: prepared.later[part.removeprefix("files/")] for part in files
    }
    return "after"


@pytest.mark.parametrize("name", ACTIONS)
def test_kill_leaves_before_or_after(name: str, prepared: Prepared, tmp_path: Path, *, whole: bool) -> None:
    """Killed before any call that changes the disk, the lab starts in the state before or in the one after."""
    action, folder = ACTIONS[name], tmp_path / "lab"
    found = kill_points.points(action, _copy(prepared, folder))
    last = _judge(name, folder, prepared)
    chosen: Sequence[kill_points.Point] = found
    if not whole:
        chosen = random.Random(7).sample(found, SAMPLE[name])  # noqa: S311 - the same ones every time
    came = []
    for point in chosen:
        assert kill_points.kill_at(action, _copy(prepared, folder), point), point
        try:
            came.append(_judge(name, folder, prepared))
        except Exception as error:
            error.add_note(f"{name}, killed before {point}, number {found.index(point) + 1} of {len(found)}")
            raise
    assert len(found) > 5
    if whole:
        # Until it is decided, as before; from then on, as after.
        assert came == sorted(came, key=lambda state: state == last), came
        assert len(set(came)) == 2, came


def test_full_disk_refuses_a_restore(prepared: Prepared, tmp_path: Path, *, whole: bool) -> None:
    """Where the disk is full, the restore is refused and the lab goes on as it was, or all of it is restored."""
    folder = tmp_path / "lab"
    found = kill_points.points(restore_or_go_on, _copy(prepared, folder))
    allocating = [point for point in found if point.call in ALLOCATING]
    came = set()
    for point in allocating if whole else allocating[2:3]:
        code = kill_points.fail_at(restore_or_go_on, _copy(prepared, folder), point, "ENOSPC")
        state = _judge("restore", folder, prepared)
        assert (code == REFUSED) == (state == "later"), (point, code, state)
        came.add(state)
    assert came == ({"later", "kept"} if whole else {"later"})
