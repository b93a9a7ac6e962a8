"""Costly PKCS#12 containers are opened apart: within a time limit, beside the event loop, and nothing is left over."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from pfxlab import pkcs12_process
from pfxlab.emulator.wire.asn1.pkcs12_cost import check_cost
from pfxlab.pkcs12_process import NotOpened, NotPkcs12, WrongPassword, load, load_async
from tests import costly_pkcs12
from tests.conftest import self_signed
from tests.costly_pkcs12 import costly_container

PASSWORD = costly_pkcs12.PASSWORD.encode()
LIMIT = 30.0
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def container(key: Key, certificate: x509.Certificate, iterations: int, *others: x509.Certificate) -> bytes:
    """Return a PKCS#12 whose key and certificates each take so many iterations."""
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(iterations)
    scheme = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
    encryption = builder.key_cert_algorithm(scheme).hmac_hash(hashes.SHA256()).build(PASSWORD)
    return pkcs12.serialize_key_and_certificates(b"n", key, certificate, others or None, encryption)


def workers(of: int | None = None) -> list[psutil.Process]:
    """Return the worker processes of a process, of this one when none is named."""
    return [one for one in psutil.Process(of).children() if _is_worker(one)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "pfxlab.pkcs12_process" in process.cmdline()
    except psutil.Error:
        # It has ended, and is not waited for yet.
        return False


def _computes(process: psutil.Process) -> bool:
    """Return whether a worker is at a container: it has used more of a processor than it takes to start."""
    return bool(process.cpu_times().user > 0.7)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until(true: Callable[[], object]) -> None:
    """Wait until something is true; the runner ends a test that waits for ever."""
    while not true():
        time.sleep(0.01)


def test_worker_opens_what_this_process_opens(rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey) -> None:
    """Key, certificate and chain come out of a worker as they went in, for RSA and elliptic curves."""
    extra = self_signed(other_key)
    for key in (rsa_key, ec.generate_private_key(ec.SECP256R1())):
        leaf = self_signed(rsa_key)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            leaf = x509.CertificateBuilder(
                leaf.issuer, leaf.subject, key.public_key(), 5, leaf.not_valid_before_utc, leaf.not_valid_after_utc
            ).sign(rsa_key, hashes.SHA256())
        opened = load(container(key, leaf, 1, extra), PASSWORD, "said to be costly")
        assert opened.key is not None
        assert opened.key.private_numbers() == key.private_numbers()  # type: ignore[union-attr]
        assert (opened.certificate, opened.others) == (leaf, (extra,))


@pytest.mark.parametrize("costly", [None, "said to be costly"], ids=["here", "in a worker"])
def test_failures_are_told_apart(rsa_key: rsa.RSAPrivateKey, costly: str | None) -> None:
    """A wrong password is one thing and other bytes are another, wherever the container is opened."""
    pfx = container(rsa_key, self_signed(rsa_key), 1)
    for password in (b"wrong", b"a\0b", b"\xff\xfe"):
        with pytest.raises(WrongPassword):
            load(pfx, password, costly)
    with pytest.raises(NotPkcs12):
        load(b"rubbish", PASSWORD, costly)


def test_workers_are_used_again(rsa_key: rsa.RSAPrivateKey) -> None:
    """A second container, whatever came of the first, goes to the process that is there already."""
    pfx = container(rsa_key, self_signed(rsa_key), 1)
    load(pfx, PASSWORD, "said to be costly")
    before = workers()
    with pytest.raises(WrongPassword):
        load(pfx, b"wrong", "said to be costly")
    load(pfx, PASSWORD, "said to be costly")
    assert workers() == before != []


def test_time_limit_names_limit_and_cost() -> None:
    """A container that takes too long is given up with the limit and its cost, and its worker is killed."""
    shown = check_cost(costly_container()).shown
    before = workers()
    with pytest.raises(NotOpened) as given_up:
        load(costly_container(), PASSWORD, shown, seconds=0.05)
    assert str(given_up.value) == f"parameters that took longer than 0.05 s to compute ({shown})"
    assert "keys of up to 4," in str(given_up.value)
    assert len(workers()) <= max(len(before) - 1, 0)


def test_worker_that_was_killed_is_replaced(rsa_key: rsa.RSAPrivateKey) -> None:
    """When the system kills an idle worker, the next container gets another one."""
    pfx = container(rsa_key, self_signed(rsa_key), 1)
    load(pfx, PASSWORD, "said to be costly")
    killed = workers()
    for worker in killed:
        worker.kill()
    wait_until(lambda: all(one.status() == psutil.STATUS_ZOMBIE for one in killed))
    assert load(pfx, PASSWORD, "said to be costly").key is not None


async def test_loop_goes_on_and_cancellation_kills_the_worker() -> None:
    """The loop's thread has nothing to compute, and a device that is stopped leaves no worker at its container."""
    pkcs12_process._end_idle()
    begin, turns = time.thread_time(), 0
    opening = asyncio.create_task(load_async(costly_container(), PASSWORD, check_cost(costly_container()).shown))
    while not any(_computes(one) for one in workers()):
        await asyncio.sleep(0.01)
        turns += 1
    assert time.thread_time() - begin < turns * 0.01 + 0.2
    busy = {one.pid for one in workers()}
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.to_thread(wait_until, lambda: not busy & {one.pid for one in workers()})


HOLDER = """
import asyncio
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
from pfxlab.scenarios.ending import end_on_signals
end_on_signals()
from pfxlab.pkcs12_process import load, load_async
what = Path(sys.argv[1]).read_bytes(), b"correct horse", "costly", 600
load(*what) if sys.argv[2] == "load" else asyncio.run(load_async(*what))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
@pytest.mark.parametrize("how", ["load", "load_async"])
def test_no_worker_survives_its_process(tmp_path: Path, number: signal.Signals, code: int, how: str) -> None:
    """Ctrl-C, SIGTERM and a kill end a process in the midst of an opening at once, and its worker with it."""
    file = tmp_path / "slow.pfx"
    file.write_bytes(costly_container())
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(file), how], env=os.environ)
    wait_until(lambda: any(_computes(one) for one in workers(process.pid)))
    (worker,) = workers(process.pid)
    assert PASSWORD.decode() not in " ".join([*worker.cmdline(), *worker.environ().values()])
    process.send_signal(number)
    assert process.wait(LIMIT) == code
    wait_until(lambda: _has_ended(worker))


def test_messages_show_no_secret() -> None:
    """What travels to a worker and back shows neither password nor key where it is printed."""
    shown = f"{pkcs12_process._Request(b'data', PASSWORD)!r} {pkcs12_process._Answer(key=PASSWORD)}"
    assert shown == "<_Request> <_Answer>"


def test_cheap_containers_start_no_process(rsa_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """What exporters write, 2,048 iterations and an RSA-2048 key, is opened where it is."""
    monkeypatch.setattr(pkcs12_process, "_take", lambda: pytest.fail("a worker was asked for"))
    pfx = container(rsa_key, self_signed(rsa_key), 2048)
    assert load(pfx, PASSWORD, check_cost(pfx).shown).key is not None
