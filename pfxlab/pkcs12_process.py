"""Opens PKCS#12 containers: the cheap ones at once, the costly ones in worker processes and within a time limit.

cryptography holds the interpreter's lock while it computes: no other thread runs meanwhile, no signal is handled. A
worker, `python -m pfxlab.pkcs12_process`, is started when first needed, reads containers with their passwords from its
standard input, and is killed at the time limit or when nobody waits for its answer any more. It ends with its lab.
"""

import asyncio
import atexit
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    pkcs12,
)

SECONDS: Final = 30.0
"""Real seconds for one container: the dearest that is taken needs 5 s of a processor."""

_LENGTH: Final = struct.Struct(">I")
_AT_ONCE: Final = os.cpu_count() or 1


class WrongPassword(Exception):
    """The password does not open the container."""


class NotPkcs12(Exception):
    """The bytes are no PKCS#12 container."""


class NotOpened(Exception):
    """A costly container was given up; the text is a phrase to follow `holds`."""


@dataclass(frozen=True, repr=False)
class Opened:
    """What a container holds: the key and its certificate, if it has them, and all other certificates."""

    key: PrivateKeyTypes | None
    certificate: x509.Certificate | None
    others: tuple[x509.Certificate, ...]


def load(data: bytes, password: bytes, costly: str | None, seconds: float | None = None) -> Opened:
    """Return the content of a container. `costly`: what there is to compute, None for what takes no time.

    `seconds`: how long a worker may take, None for `SECONDS`. On an event loop, call `load_async`.

    Raises:
        WrongPassword: the password does not open it.
        NotPkcs12: it is none.
        NotOpened: it took longer than `seconds`, or the worker process ended.

    """
    return _load_here(data, password) if costly is None else _Job(data, password, costly, seconds).run()


async def load_async(data: bytes, password: bytes, costly: str | None, seconds: float | None = None) -> Opened:
    """Return the content of a container as `load` does; the event loop goes on while a worker process is at it.

    Raises:
        WrongPassword, NotPkcs12, NotOpened: as `load`.

    """
    if costly is None:
        return _load_here(data, password)
    job = _Job(data, password, costly, seconds)
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, job.run)
    finally:
        job.give_up()


def _load_here(data: bytes, password: bytes) -> Opened:
    if b"\0" in password:
        # No password of a PKCS#12 holds one, and cryptography stops the whole process on it.
        raise WrongPassword
    try:
        loaded = pkcs12.load_pkcs12(data, password)
    except TypeError:
        # cryptography wants UTF-8; bytes that are not cannot be the password of any container it opens.
        raise WrongPassword from None
    except ValueError as error:
        # cryptography tells the two apart by text only.
        raise (WrongPassword if "password" in str(error).lower() else NotPkcs12) from None
    leaf = None if loaded.cert is None else loaded.cert.certificate
    return Opened(loaded.key, leaf, tuple(extra.certificate for extra in loaded.additional_certs))


class _Message(msgspec.Struct, array_like=True):
    """What goes to a worker or comes from it: it holds secrets, and shows none."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class _Request(_Message):
    data: bytes
    password: bytes


class _Answer(_Message):
    """`failed`: the name of what was raised. Key and certificates are DER, empty where there is none."""

    failed: str = ""
    key: bytes = b""
    certificate: bytes = b""
    others: tuple[bytes, ...] = ()


_FAILURES: Final = {one.__name__: one for one in (WrongPassword, NotPkcs12)}
_REQUEST: Final = msgspec.msgpack.Decoder(_Request)
_ANSWER: Final = msgspec.msgpack.Decoder(_Answer)


def _send(sink: IO[bytes], message: _Message) -> None:
    data = msgspec.msgpack.encode(message)
    sink.write(_LENGTH.pack(len(data)) + data)
    sink.flush()


def _receive(source: IO[bytes]) -> bytes | None:
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    data = source.read(size)
    return data if len(data) == size else None


def _packed(opened: Opened) -> _Answer:
    key = b""
    if opened.key is not None:
        key = opened.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    certificate = b"" if opened.certificate is None else opened.certificate.public_bytes(Encoding.DER)
    return _Answer("", key, certificate, tuple(one.public_bytes(Encoding.DER) for one in opened.others))


def _unpacked(answer: _Answer) -> Opened:
    if answer.failed:
        raise _FAILURES[answer.failed]
    # The worker has proved the primes of an RSA key.
    key = load_der_private_key(answer.key, None, unsafe_skip_rsa_key_validation=True) if answer.key else None
    certificate = x509.load_der_x509_certificate(answer.certificate) if answer.certificate else None
    return Opened(key, certificate, tuple(map(x509.load_der_x509_certificate, answer.others)))


class _Worker:
    """A worker process, from the side that asks."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        # -P: no file of the folder that the lab runs in is taken for a module. In a process group of its own, Ctrl-C is
        # for the lab alone, which ends its workers.
        self._process = subprocess.Popen(
            (sys.executable, "-P", "-m", "pfxlab.pkcs12_process"),
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, request: _Request) -> bytes | None:
        """Return the answer, None if the process ends before."""
        sink, source = self._process.stdin, self._process.stdout
        if sink is None or source is None:
            return None
        try:
            _send(sink, request)
            return _receive(source)
        except OSError:
            return None

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Kill the process, if it has not ended, and close its pipes; what could not be written is lost."""
        self._process.kill()
        with suppress(OSError):
            self._process.__exit__(None, None, None)


_SLOTS: Final = threading.BoundedSemaphore(_AT_ONCE)
_THREADS: Final = ThreadPoolExecutor(_AT_ONCE, "pkcs12")
_IDLE: Final[queue.SimpleQueue[_Worker]] = queue.SimpleQueue()


def _take() -> _Worker:
    """Return a worker that is idle, or a new one."""
    while True:
        try:
            worker = _IDLE.get_nowait()
        except queue.Empty:
            return _Worker()
        if not worker.has_ended:
            return worker
        worker.end()


@atexit.register
def _end_idle() -> None:
    with suppress(queue.Empty):
        while True:
            _IDLE.get_nowait().end()


class _Job:
    """One costly container, and the worker that is at it."""

    def __init__(self, data: bytes, password: bytes, costly: str, seconds: float | None) -> None:
        self._request, self._costly = _Request(data, password), costly
        self._seconds = SECONDS if seconds is None else seconds
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._given_up = self._late = False

    def run(self) -> Opened:
        """Wait for a worker, then for its answer, as long as nobody gives it up."""
        with _SLOTS:
            answer = self._ask()
        if answer is not None:
            return _unpacked(answer)
        if self._late:
            raise NotOpened(f"parameters that took longer than {self._seconds:g} s to compute ({self._costly})")
        raise NotOpened(f"parameters whose computation ended its process ({self._costly})")

    def give_up(self) -> None:
        """Kill the worker that is at the container; none begins with it any more."""
        with self._lock:
            self._given_up = True
            if self._worker is not None:
                self._worker.kill()

    def _ask(self) -> _Answer | None:
        try:
            worker = _take()
        except OSError:
            return None
        clock = threading.Timer(self._seconds, self._time_out)
        clock.daemon = True
        data = None
        try:
            clock.start()
            with self._lock:
                self._worker = None if self._given_up else worker
            if self._worker is not None:
                data = worker.ask(self._request)
        finally:
            clock.cancel()
            with self._lock:
                self._worker = None
                usable = data is not None and not self._given_up
            if usable:
                _IDLE.put(worker)
            else:
                worker.end()
        return None if data is None else _ANSWER.decode(data)

    def _time_out(self) -> None:
        self._late = True
        self.give_up()


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer each request until the input ends."""
    while (data := _receive(source)) is not None:
        request = _REQUEST.decode(data)
        with _ended_by_end_of(source):
            try:
                answer = _packed(_load_here(request.data, request.password))
            except (WrongPassword, NotPkcs12) as failed:
                answer = _Answer(type(failed).__name__)
        _send(sink, answer)


@contextmanager
def _ended_by_end_of(source: IO[bytes]) -> Iterator[None]:
    """Have the system kill this process when its input ends within the block, where the interpreter sees nothing.

    SIGIO, which nobody handles, kills at once (Linux); elsewhere the process ends when the block does.
    """
    if not hasattr(os, "O_ASYNC"):
        yield
        return
    import fcntl

    flags = fcntl.fcntl(source, fcntl.F_GETFL)
    fcntl.fcntl(source, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(source, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        yield
    finally:
        fcntl.fcntl(source, fcntl.F_SETFL, flags)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
