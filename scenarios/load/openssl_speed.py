"""The baseline of connector benchmarks and load runs: OpenSSL's own RSA rate on this machine, at this moment."""

import re
import subprocess


class NoOpenSsl(RuntimeError):
    """The openssl command did not give a rate."""


def private_operations(processes: int, seconds: int, bits: int = 2048) -> float:
    """Return the private RSA operations per second of a number of processes together.

    Raises:
        NoOpenSsl: the command is missing, failed, or printed something else.

    """
    many = ["-multi", str(processes)] if processes > 1 else []
    command = ["openssl", "speed", "-seconds", str(seconds), *many, f"rsa{bits}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 4 * seconds)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoOpenSsl(f"expected `openssl speed` to run, got: {error}") from None
    line = re.search(rf"^rsa\s+{bits} bits\s+[\d.]+s\s+[\d.]+s\s+([\d.]+)\s+[\d.]+", done.stdout, re.MULTILINE)
    if line is None:
        raise NoOpenSsl(f"expected a line 'rsa {bits} bits …' of openssl speed, got: {done.stdout[-200:]!r}")
    return float(line[1])
