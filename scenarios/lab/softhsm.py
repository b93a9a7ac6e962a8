"""An HSM for a lab's connector: a SoftHSM token, used through PKCS#11 like any other HSM.

SoftHSM reads its configuration once per process, so all labs of a process share one folder of tokens.
"""

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from pfxlab import private_file
from pfxlab.connector_sim.cmdlets import EncryptionKey
from pfxlab.connector_sim.keys.pkcs11 import Pkcs11Ksp, TokenSettings
from pfxlab.scenarios.lab.softhsm_missing import NoHsm
from pfxlab.scenarios.lab.world import World

PROVIDER: Final = "PFX Lab HSM Key Storage Provider"
_MODULES: Final = (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/local/lib/softhsm/libsofthsm2.so"))


def _module() -> Path:
    found = [path for path in (*_MODULES, *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")) if path.exists()]
    if not found or shutil.which("softhsm2-util") is None:
        raise NoHsm("expected SoftHSM, got none; on Debian: apt-get install softhsm2")
    return found[0]


@cache
def _tokens() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pfxlab-hsm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir(mode=0o700)
    text = f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    private_file.replace(folder / "softhsm2.conf", text.encode())
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    return folder


def use_hsm(world: World, key_name: str) -> str:
    """Give the lab's connectors an HSM with a key in it, before they are started; return a sentence on the result.

    Raises:
        NoHsm: SoftHSM is not installed.

    """
    module, folder, label = _module(), _tokens(), f"lab {secrets.token_hex(4)}"
    pin = secrets.token_hex(8)
    pin_file = folder / f"{label}.pin"
    private_file.replace(pin_file, f"{pin}\n".encode())
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", secrets.token_hex(8)]
    subprocess.run([*command, "--pin", pin], check=True, capture_output=True)  # noqa: S603 - our own arguments
    ksp = Pkcs11Ksp(PROVIDER, TokenSettings(module, label, pin_file))
    public = ksp.add(key_name).public_key()
    world.lab.installed.append(ksp)
    world.keys.use(key_name, EncryptionKey(public, PROVIDER, key_name))
    return f"key {key_name} made in an HSM; it never leaves it"
