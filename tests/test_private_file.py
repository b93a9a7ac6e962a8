"""Files with secrets: the owner's only, whole or not there, and never written through what others left."""

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pfxlab import private_file
from pfxlab.connector_sim.eventlog import EventLogFile
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.store.database import Store
from pfxlab.emulator.wire.files.damaged import Damaged
from pfxlab.scenarios.lab.ready_file import write_ready_file

ROOT = Path(__file__).parents[1]
SECRET = b"a secret of the lab"


@pytest.mark.parametrize(
    ("write", "mode"), [(private_file.replace, 0o600), (private_file.replace_public, 0o644)]
)  # fmt: skip
def test_a_reader_never_sees_half_a_file(tmp_path: Path, write: Callable[[Path, bytes], None], mode: int) -> None:
    """A reader with the file open still sees the complete old one; the next to open it gets the complete new one."""
    path = tmp_path / "ca.pem"
    write(path, b"old" * 1000)
    with path.open("rb") as reader:
        begun = reader.read(3)
        write(path, b"new")
        assert begun + reader.read() == b"old" * 1000
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_planted_file_gets_no_secret_of_the_ready_file(tmp_path: Path) -> None:
    """A file or link that waits under the names a lab used for half-written files receives nothing."""
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    shared.mkdir(mode=0o777)
    elsewhere.write_bytes(b"")
    ready = shared / "ready.json"
    for name in (".ready.json.part", f".ready.json.{os.getpid()}.part"):
        os.link(elsewhere, shared / name)
    ready.symlink_to(elsewhere)
    write_ready_file(ready, {"control_token": SECRET.decode()})
    assert elsewhere.read_bytes() == b""
    assert (ready.is_symlink(), stat.S_IMODE(ready.stat().st_mode)) == (False, 0o600)
    assert SECRET in ready.read_bytes()


def test_a_new_file_does_not_take_a_name_that_is_a_link(tmp_path: Path) -> None:
    """A link under the name of a new key makes the writing fail, even one that leads nowhere."""
    (tmp_path / "key.pem").symlink_to(tmp_path / "planted")
    with pytest.raises(FileExistsError):
        private_file.create(tmp_path / "key.pem", SECRET)
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_failed_write_leaves_no_file(tmp_path: Path) -> None:
    """A name that is a folder cannot be replaced, and no half-written file stays beside it."""
    (tmp_path / "key.pem").mkdir()
    with pytest.raises(OSError, match=r"key\.pem"):
        private_file.replace(tmp_path / "key.pem", SECRET)
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("use", [Store, lambda path: EventLogFile(path, LabClock())], ids=["store", "event log"])
def test_special_file_is_not_opened(tmp_path: Path, use: Callable[[Path], object], kind: str) -> None:
    """The database and the connector's event log are not kept in what somebody else's link or pipe leads to."""
    path, elsewhere = tmp_path / "kept", tmp_path / "elsewhere"
    if kind == "link":
        path.symlink_to(elsewhere)
    else:
        os.mkfifo(path)
    with pytest.raises((private_file.NotOurs, Damaged), match="got a link, a device or a pipe"):
        use(path)
    assert not elsewhere.exists()


def test_the_database_is_private_from_its_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When SQLite opens the lab's database, its file is there already and only its owner may read it."""
    modes: list[int] = []
    connect = sqlite3.connect

    def noted(path: Path, *, check_same_thread: bool) -> sqlite3.Connection:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return connect(path, check_same_thread=check_same_thread)

    monkeypatch.setattr(sqlite3, "connect", noted)
    Store(tmp_path / "cloud.db").close()
    assert modes == [0o600]


WAYS_AROUND = ("write_bytes(", ".touch(mode", "O_CREAT", "mkstemp(", "0o600")
"""What code would use that writes a private file by itself."""

NO_SECRETS = {
    "scenarios/commands/conformance_run.py": "a verdict, for the user to pass on",
    "scenarios/commands/lab/scenario_run.py": "a JUnit report",
    "scenarios/commands/parties/device_fleet.py": "a mail the user asked for",
    "scenarios/conformance/plans.py": "a file that is no PFX",
    "scenarios/load/bench/graph.py": "the lab's CA certificate",
    "scenarios/mail/openssl.py": "certificates, for openssl",
}


def test_one_helper_writes_all_private_files() -> None:
    """No other module of the four packages writes bytes to a file, but for the listed ones, which hold no secret."""
    found = {
        str(path.relative_to(ROOT))
        for package in ("emulator", "connector_sim", "device_sim", "scenarios")
        for path in (ROOT / package).rglob("*.py")
        if any(way in path.read_text("utf-8") for way in WAYS_AROUND)
    }
    assert found == set(NO_SECRETS)
