"""A cache, in the user's folder, of lab keys that are costly to generate and protect nothing.

What is kept: the keys of a lab's authorities and token signing, the connector's key, the TLS authority. A lab that
begins with them is ready in a fraction of the time. They are of test labs only, 0600, and can be deleted at any time.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pfxlab import private_file
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.device_sim.keys import KeyPool
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.tls import ServerTls
from pfxlab.emulator.wire.files.damaged import Damaged
from pfxlab.scenarios.lab.lab import KEY_NAME
from pfxlab.scenarios.user_folder import data_folder

_NAME: Final = "warm-1"
_FILES: Final = tuple(
    f"cloud/{name}.pem" for name in ("token-signing", "device-ca", "connector-ca", "tls-ca", "tls-server")
)
VARIABLE: Final = "PFXLAB_CACHE"
"""Environment variable with another folder for the cache."""


def _kept() -> Path:
    chosen = os.environ.get(VARIABLE)
    return (Path(chosen) if chosen else data_folder() / "cache") / _NAME


def lay_out(folder: Path) -> None:
    """Copy cached keys into the folder of a new lab; where there is no cache, the lab generates its own."""
    try:
        kept = _kept()
        if not all((kept / name).is_file() for name in _FILES):
            shutil.rmtree(kept, ignore_errors=True)
            _make(kept)
        shutil.copytree(kept, folder, dirs_exist_ok=True, copy_function=_copy)
    except OSError:
        # An unwritable home only costs time. A partial copy would be worse than none.
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)


def _copy(kept: str, target: str) -> None:
    private_file.replace(Path(target), Path(kept).read_bytes())


def key_pool(size: int = 8) -> KeyPool:
    """Return keys for simulated devices and test certificates, from the cache as well."""
    pool, path = _pool("keys.pem", size), _kept().with_name("keys.pem")
    with contextlib.suppress(OSError):
        if not path.exists():
            pool.fill()
    return pool


def _pool(name: str, size: int) -> KeyPool:
    """Return the keys of a cached file, or an empty pool if it cannot be read or holds something else."""
    try:
        return KeyPool(_kept().with_name(name), size)
    except (OSError, ValueError):
        return KeyPool(None, size)


@contextlib.contextmanager
def kept_keys(size: int) -> Iterator[KeyPool]:
    """Yield a pool for one command; new keys, up to a number, are cached for the next command."""
    pool = _pool("run-keys.pem", size)
    try:
        yield pool
    finally:
        # An unwritable home only costs time.
        with contextlib.suppress(OSError, Damaged):
            pool.keep()


def _make(kept: Path) -> None:
    part = kept.with_name(f".{kept.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    cloud = Cloud(Config(), LabClock(), part / "cloud")
    for make in (lambda: signing_key_of(cloud), lambda: cloud.device_ca, lambda: cloud.connector_ca):
        make()
    cloud.close()
    ServerTls(part / "cloud")
    SoftwareKsp(part / "connector" / "keys").add(KEY_NAME)
    for path in (part / "cloud").glob("cloud.db*"):
        path.unlink()
    try:
        part.rename(kept)
    except OSError:
        # Another process was faster.
        shutil.rmtree(part, ignore_errors=True)
