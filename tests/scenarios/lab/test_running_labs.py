"""How commands find a lab that runs: by option, by variable, by themselves."""

import itertools
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.lab.running_labs import announced, running_labs, runtime_folder

UP = [sys.executable, "-m", "pfxlab", "up"]


def facts(port: int) -> dict[str, Any]:
    """Return the facts of a lab that does not answer."""
    return {
        "graph_url": f"https://localhost:{port}", "control_url": f"https://localhost:{port}/lab/v1",
        "control_token": "TEST ONLY", "ca_file": "",
    }  # fmt: skip


def journal(*options: str) -> Result:
    """Return the result of `pfxlab journal`."""
    return CliRunner().invoke(main, ["journal", "--json", *options])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which this test's labs leave their ready files."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "pfxlab"


@pytest.fixture
def up(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a `pfxlab up` that has left its ready file there."""
    process = subprocess.Popen(UP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not list(folder.glob("lab-*.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_only_lab_is_found_until_it_is_killed(folder: Path, up: subprocess.Popen[str]) -> None:
    """Commands find the one lab that runs; its file is private, and is removed when the lab was killed."""
    (ready_file,) = folder.glob("lab-*.json")
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(ready_file.stat().st_mode)) == (0o700, 0o600)
    assert journal().exit_code == 0
    up.kill()
    up.wait()
    none = journal()
    assert (none.exit_code, "expected a running lab, --ready-file or PFXLAB_READY_FILE, got none" in none.stderr) == (
        3,
        True,
    )
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]


def test_up_removes_its_ready_file(folder: Path, up: subprocess.Popen[str]) -> None:
    """The last lines of `up` say that commands find the lab; a lab that ends leaves no file."""
    up.terminate()
    said, _ = up.communicate(timeout=60)
    assert "Other pfxlab commands find this lab automatically while no other lab is running." in said
    assert not list(folder.glob("lab-*"))


def test_several_labs_are_named(tmp_path: Path) -> None:
    """With two labs a command ends with code 2, both named; the option, or else the variable, chooses one."""
    with announced(facts(1)) as one, announced(facts(2)) as two:
        which = journal()
        assert (which.exit_code, "expected one running lab, got 2" in which.stderr) == (2, True)
        assert f"https://localhost:1  --ready-file {one}" in which.stderr
        assert f"https://localhost:2  --ready-file {two}" in which.stderr
        assert "expected a running lab at https://localhost:2/lab/v1" in journal("--ready-file", str(two)).stderr
        runner = CliRunner(env={"PFXLAB_READY_FILE": str(one)})
        assert "at https://localhost:1/lab/v1" in runner.invoke(main, ["journal"]).stderr
        assert "at https://localhost:2/lab/v1" in runner.invoke(main, ["journal", "--ready-file", str(two)]).stderr
    gone = CliRunner(env={"PFXLAB_READY_FILE": str(one)}).invoke(main, ["journal"])
    assert (gone.exit_code, f"got PFXLAB_READY_FILE={one}, which is not there" in gone.stderr) == (2, True)


def test_two_labs_with_one_port_have_files_of_their_own() -> None:
    """A lab in another network namespace may have the same port, and neither overwrites the other's file."""
    with announced(facts(1)) as one, announced(facts(1)) as two:
        assert one != two
        assert {lab.ready_file for lab in running_labs()} == {one, two}


def test_a_broken_ready_file_of_a_dead_lab_does_not_count(folder: Path) -> None:
    """A file that no process has locked is not a running lab, whatever its content."""
    folder.mkdir()
    (folder / "lab-9.json").write_text("{")
    assert running_labs() == []
    assert not (folder / "lab-9.json").exists()


@pytest.mark.parametrize("chosen", [None, "missing", "foreign"])
def test_without_a_runtime_folder_the_users_own_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    """If XDG_RUNTIME_DIR is unset, missing or another user's, ready files are in a private folder of the user."""
    monkeypatch.setattr("click.get_app_dir", lambda _: str(tmp_path / "home"))
    (tmp_path / "foreign").mkdir()
    if chosen is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / chosen))
    if chosen == "foreign":
        stranger = os.geteuid() + 1
        monkeypatch.setattr("os.geteuid", lambda: stranger)
    assert runtime_folder() == tmp_path / "home" / "run"
    with announced(facts(1)) as ready_file:
        assert ready_file.parent == runtime_folder()
        assert stat.S_IMODE(ready_file.parent.stat().st_mode) == 0o700
        assert json.loads(ready_file.read_text()) == facts(1)


def test_unwritable_home_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that cannot write its ready file runs anyway, and says why commands do not find it."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    (tmp_path / "home").write_text("a file, no folder")
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    with subprocess.Popen(UP, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = list(itertools.takewhile(lambda line: not line.startswith("Next:"), process.stdout))
        process.terminate()
    assert process.returncode == 0
    assert lines[-1].startswith("Further commands do not find this lab, no ready file could be written: ")
    assert "Not a directory" in lines[-1]
