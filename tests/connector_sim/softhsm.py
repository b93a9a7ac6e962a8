"""A SoftHSM token for tests, as a real PKCS#11 module, in a temporary folder instead of the user's."""

import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfxlab.connector_sim.keys.pkcs11 import Pkcs11Ksp, TokenSettings

MODULES = [Path("/usr/lib/softhsm/libsofthsm2.so"), *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")]
PIN = "canary-1234"
NAME = "Test HSM Key Storage Provider"
missing = shutil.which("softhsm2-util") is None or not any(path.exists() for path in MODULES)


@contextmanager
def token(folder: Path) -> Iterator[TokenSettings]:
    """Return a fresh token's settings; the environment names its configuration meanwhile.

    Each has a label of its own: the module reads its configuration once for each process, so that one label would find
    the token of an earlier test.
    """
    label = f"pfxlab {zlib.crc32(str(folder).encode()):08x}"
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "canary-5678", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    pin_file = folder / "pin"
    pin_file.write_text(f"{PIN}\n")
    try:
        yield TokenSettings(next(path for path in MODULES if path.exists()), label, pin_file)
    finally:
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before


def provider(settings: TokenSettings) -> Pkcs11Ksp:
    """Return the provider over a token."""
    return Pkcs11Ksp(NAME, settings)
