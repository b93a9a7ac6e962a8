"""A lab whose disk is full: a small file system in a mount namespace, or a limit of what a file may hold."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.lab import key_cache
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import KEYS
from tests.emulator.raw_wire import RawWire

resource = pytest.importorskip("resource")
SMALL_DISK = 'mount -t tmpfs -o size=12M small "$1" && cd "$2" && shift 2 && exec "$@"'
REPOSITORY = Path(__file__).parents[2]


async def _ask(lab: Lab) -> dict[str, Any]:
    """Start a device code sign-in, take a snapshot and seed a user; return statuses and error codes."""
    wire, made = RawWire(lab), lab.operator.credentials
    form = (b"Content-Type: application/x-www-form-urlencoded",)
    control = (b"Content-Type: application/json", b"Authorization: Bearer " + lab.emulator.control_token.encode())
    fields = f"client_id={made.public_client_id}&scope=openid".encode()
    sign_in = await wire("POST", f"/{made.tenant_id}/oauth2/v2.0/devicecode", fields, *form)
    snapshot = await wire("POST", "/lab/v1/snapshots", b'{"name": "a"}', *control)
    seed = await wire("POST", "/lab/v1/seed", b'{"steps": [{"user": "late@pfxlab.example"}]}', *control)
    names = await wire("GET", "/lab/v1/snapshots", b"", *control)
    return {
        "sign-in": [sign_in[0], json.loads(sign_in[1]).get("error_codes")],
        "snapshot": [snapshot[0], json.loads(snapshot[1]).get("error", {}).get("code")],
        "seed": [seed[0], json.loads(seed[1]).get("error", {}).get("code")],
        "snapshots": json.loads(names[1])["snapshots"],
    }


@contextlib.contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """Let the disk beside a folder be full for the block."""
    filler = folder.with_name("filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@contextlib.contextmanager
def _limited(_: Path) -> Iterator[None]:
    """Let no file grow in the block: each write to one is refused with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


SHORTAGES = {"full": _filled, "limited": _limited}
EXPECTED = {
    "short": {"sign-in": [507, [50000]], "snapshot": [507, "StorageFull"], "seed": [507, "StorageFull"], "snapshots": []},
    "room": {"sign-in": [200, None], "snapshot": [200, None], "seed": [200, None], "snapshots": ["a"]},
    "defects": 0,
}  # fmt: skip


async def _report(folder: Path, shortage: str) -> dict[str, Any]:
    """Return what a lab answers without room for what it keeps, and with room again."""
    key_cache.lay_out(folder)
    lab = Lab(folder)
    lab.new_key = KEYS
    async with open_lab(lab):
        with SHORTAGES[shortage](folder):
            short = await _ask(lab)
        return {"short": short, "room": await _ask(lab), "defects": len(lab.cloud.journal.entries(rule="Defect"))}


def _reported(folder: Path, shortage: str, *inside: str) -> Any:
    """Return the report of a process of its own."""
    words = [*inside, sys.executable, "-m", "tests.emulator.test_full_disk", str(folder / "lab"), shortage]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False, cwd=REPOSITORY)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    return json.loads(done.stdout)


def test_full_disk_is_507_in_each_protocols_form(tmp_path: Path) -> None:
    """With a full disk, sign-in, snapshot and seed get 507 and leave nothing; with room again, all of them succeed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare")
    inside = [unshare, "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh", str(tmp_path), str(REPOSITORY)]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespaces")
    assert _reported(tmp_path, "full", *inside) == EXPECTED


def test_limit_of_a_files_size_is_507_like_a_full_disk(tmp_path: Path) -> None:
    """Where the account's limit lets no file grow, sign-in, snapshot and seed get 507, and succeed without it."""
    assert _reported(tmp_path, "limited") == EXPECTED


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_report(Path(sys.argv[1]), sys.argv[2]))))
