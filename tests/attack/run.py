"""Attacks a lab with damaged requests, and judges what it does."""

import asyncio
import logging
import re
import ssl
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote_plus

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.lab.control import PREFIX
from pfxlab.scenarios.control import bundle
from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.lab import key_cache
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.snapshots import archive
from pfxlab.scenarios.lab.snapshots.snapshot import Snapshot
from tests.attack.assertions import Assertions
from tests.attack.damage import KINDS, Sent, written
from tests.attack.files import Files, read_one
from tests.attack.recording import Recorded, requests_of
from tests.conftest import KEYS, self_signed

ASKED = {501, 507}
"""5xx that are no failures: a route that is not emulated, a full disk."""

PATIENCE_SECONDS = 0.7
"""How long the attacker waits for an answer; then it goes away."""

PROXY_LINES: Final = (
    b"CONNECT graph.microsoft.com:443", b"CONNECT login.microsoftonline.com:443", b"CONNECT a", b"CONNECT [::1:443",
    b"CONNECT [::ffff:127.0.0.1]:22", b"CONNECT graph.microsoft.com:99999", b"CONNECT graph.microsoft.com:-1",
    b"CONNECT \xff\xfe:443", b"CONNECT %00:443", b"CONNECT a:b@graph.microsoft.com:443", b"CONNECT :", b"CONNECT ",
    b"CONNECT \xc2\xb2:\xc2\xb2", b"CONNECT " + b"a." * 400 + b":443", b"GET http://\xff/", b"GET http://[::1/",
    b"GET http://graph.microsoft.com/v1.0/users", b"OPTIONS *", b"PRI * HTTP/2.0", b"\x16\x03\x01", b"\x04\x01\x01\xbb",
    b"\x05\x01\x00", b"\r\n\r\n", b"", b"A" * 20_000,
)  # fmt: skip
"""Beginnings of what the proxy gets: CONNECT of all kinds, other methods, TLS, SOCKS 4 and 5, nothing."""

JWT: Final = re.compile(r"eyJ[\w-]+(\.[\w-]*)*")
TRACE = b"Traceback (most recent call last)"


@dataclass
class Findings:
    """What an attack saw. `failures`: a line for each kind, with how often it was seen."""

    sent: int = 0
    files: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    damage: str = ""
    slowest: tuple[float, str] = (0.0, "")
    first: dict[str, str] = field(default_factory=dict)

    def fail(self, text: str) -> None:
        """Count a failure, and keep the request that was sent when it was seen first."""
        self.failures[text] += 1
        self.first.setdefault(text, self.damage)


class _Log(logging.Handler):
    """Counts errors that reach the log: each would be a traceback on a terminal."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(logging.ERROR)
        self.findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        """Count one error."""
        error = record.exc_info[1] if record.exc_info else None
        place = ""
        if error is not None and (trace := error.__traceback__) is not None:
            while trace.tb_next is not None:
                trace = trace.tb_next
            place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        self.findings.fail(
            f"log {record.name}: {record.getMessage()[:80]} ({type(error).__name__}: {str(error)[:120]}{place})"
        )


def _secrets(lab: Lab) -> list[str]:
    made = lab.operator.credentials
    return [str(getattr(made, one.name)) for one in fields(made) if not one.repr] + [lab.emulator.control_token]


def _carried(requests: list[Recorded]) -> set[str]:
    """Return the tokens and sessions in the headers of requests."""
    found = {value for one in requests for name, value in one.headers if name in ("Authorization", "Cookie")}
    return {value.removeprefix("Bearer ") for value in found}


def _shown(data: bytes, secrets: Iterable[str]) -> str:
    """Return the beginning of a request without the secrets in it, for findings that are printed."""
    for secret in secrets:
        for form in (secret, quote_plus(secret)):
            data = data.replace(form.encode(), "…".encode())
    return JWT.sub("…", data[:1500].decode("utf-8", "backslashreplace"))


async def _exchange(port: int, request: Recorded, sent: Sent) -> bytes:
    """Return the whole answer; empty when there was none in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=request.tls, server_hostname="localhost")
    try:
        writer.write(sent.data[: sent.gone_after])
        if sent.gone_after is not None:
            await writer.drain()
            return b""
        return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    except (TimeoutError, OSError):
        return b""
    finally:
        writer.transport.abort()


def _judge(findings: Findings, request: Recorded, answer: bytes, secrets: list[str]) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        findings.statuses[0] += 1
        return
    status = int(head.split(None, 2)[1])
    findings.statuses[status] += 1
    place = f"{request.method} {request.path.partition('?')[0][:60]}"
    soap = status == 500 and b":Envelope" in body[:300] and b"Defect" not in body
    if status >= 500 and status not in ASKED and not soap:
        findings.fail(f"{status} {place}")
    if TRACE in answer:
        findings.fail(f"traceback in an answer: {place}")
    if any(secret.encode() in answer for secret in secrets):
        findings.fail(f"secret in an answer: {place}")


async def _one(lab: Lab, request: Recorded, random: Random, findings: Findings, shown_without: Iterable[str]) -> None:
    name = random.choice(list(KINDS))
    damaged = KINDS[name](request, random)
    if random.random() < 0.15:
        damaged = KINDS[random.choice(list(KINDS))](damaged, random)
    sent = written(damaged, lab.emulator.port, random)
    findings.sent += 1
    findings.kinds[name] += 1
    findings.damage = f"{name} {sent.gone_after} {_shown(sent.data, shown_without)!r}"
    began = time.monotonic()
    _judge(findings, damaged, await _exchange(lab.emulator.port, damaged, sent), _secrets(lab))
    findings.slowest = max(findings.slowest, (time.monotonic() - began, findings.damage))
    if request.path.startswith((PREFIX, "/admin")):
        lab.cloud.faults.clear()


async def _tunnel(lab: Lab, random: Random) -> None:
    """Ask the proxy in an odd way, and go away."""
    port = int(lab.emulator.proxy_url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    more = random.choice((b"", b"", b"Host: \xff\r\n", b"Content-Length: -1\r\n", b": x\r\n", b"A: " + b"b" * 70_000))
    whole = random.choice(PROXY_LINES) + b" HTTP/1.1\r\n" + more + b"\r\n" + random.randbytes(random.randrange(60))
    writer.write(whole[: random.randrange(len(whole) + 1)] if random.random() < 0.3 else whole)
    await asyncio.sleep(0)
    if random.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()


async def _round(folder: Path, random: Random, findings: Findings, ends: float, most: int, *, devices: bool) -> None:
    key_cache.lay_out(folder)
    lab = Lab(folder)
    lab.new_key = KEYS
    asyncio.get_running_loop().set_exception_handler(lambda _, seen: _unhandled(findings, seen))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    async with open_lab(lab) as world:
        requests = await requests_of(lab, devices=devices)
        assertions = Assertions(lab, key, self_signed(key), ssl.create_default_context(cafile=str(lab.ca_file)))
        files = Files.made(folder, bundle.pack(bundle.of_world(world)), key, _snapshot(folder, await world.take()))
        secrets = {*_secrets(lab), *_carried(requests)}
        for _ in range(most):
            if time.monotonic() > ends:
                break
            if random.random() < 0.03:
                await _tunnel(lab, random)
            if random.random() < 0.03:
                _read(findings, read_one(files, requests[0], random))
            request = assertions.request(random) if random.random() < 0.03 else random.choice(requests)
            await _one(lab, request, random, findings, secrets)
        for entry in lab.cloud.journal.entries(rule="Defect"):
            findings.fail(f"journal: {entry.reason} at {str(entry.fields.get('path'))[:60]}")
        journal = str(lab.cloud.journal.entries())
        if any(secret in journal for secret in _secrets(lab)):
            findings.fail("secret in the journal")


def _snapshot(folder: Path, state: Snapshot) -> bytes:
    path = folder / "attack.snapshot"
    archive.write(path, state)
    return path.read_bytes()


def _read(findings: Findings, raised: str | None) -> None:
    findings.files += 1
    if raised is not None:
        findings.damage = "a damaged file"
        findings.fail(f"file: {raised}")


def _unhandled(findings: Findings, seen: dict[str, Any]) -> None:
    error = seen.get("exception")
    findings.fail(f"event loop: {seen['message'][:80]} ({type(error).__name__}: {str(error)[:120]})")


def attack(seed: int, seconds: float, requests: int | None = None, *, devices: bool = True) -> Findings:
    """Attack labs one after the other, each with a few thousand requests, until the time or `requests` are used up."""
    findings, random, ends = Findings(), Random(seed), time.monotonic() + seconds  # noqa: S311
    log = _Log(findings)
    logging.getLogger().addHandler(log)
    try:
        while time.monotonic() < ends and (requests is None or findings.sent < requests):
            with TemporaryDirectory(prefix="pfxlab-attack-") as folder:
                most = 4000 if requests is None else requests
                asyncio.run(_round(Path(folder), random, findings, ends, most, devices=devices))
    finally:
        logging.getLogger().removeHandler(log)
    return findings
