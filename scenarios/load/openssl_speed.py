"""The baseline of `bench connector`: what OpenSSL itself does with RSA-2048 on this machine, now."""

import re
import subprocess
from typing import Final

_LINE: Final = re.compile(r"^rsa\s+2048 bits\s+[\d.]+s\s+[\d.]+s\s+([\d.]+)\s+[\d.]+", re.MULTILINE)


class NoOpenSsl(RuntimeError):
    """The openssl command did not give a rate."""


def private_operations(processes: int, seconds: int) -> float:
    """Return private RSA-2048 operations per second, by so many processes together.

    Raises:
        NoOpenSsl: the command is missing, failed, or printed something else.

    """
    many = ["-multi", str(processes)] if processes > 1 else []
    command = ["openssl", "speed", "-seconds", str(seconds), *many, "rsa2048"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 4 * seconds)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoOpenSsl(f"expected `openssl speed` to run, got: {error}") from None
    match = _LINE.search(done.stdout)
    if match is None:
        raise NoOpenSsl(f"expected a line 'rsa 2048 bits …' of openssl speed, got: {done.stdout[-200:]!r}")
    return float(match[1])
