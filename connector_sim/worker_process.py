"""A worker of the connector, `python -m pfxlab.connector_sim.worker_process`: shares in on standard input, results out.

A message is its length in four bytes, most significant first, and MessagePack. The first one says where the keys are;
each worker opens them itself, so that no key travels and a token has a session for every worker. The end of its input
ends a worker: none outlives its connector, however that died.
"""

import queue
import signal
import struct
import sys
import threading
from collections.abc import Sequence
from typing import BinaryIO, Final

import msgspec

from pfxlab.connector_sim.keys.installed import InstalledProviders, Place
from pfxlab.connector_sim.recrypt import recrypt_each
from pfxlab.emulator.wire.connector import (
    NotRecrypted,
    PasswordRecryption,
    PayloadEncryption,
    Recrypted,
    Result,
    WorkItem,
)

LENGTH: Final = struct.Struct(">I")
_PLACES: Final = msgspec.msgpack.Decoder(list[Place])
_SHARE: Final = msgspec.msgpack.Decoder(list[PasswordRecryption | PayloadEncryption])
_RESULTS: Final = msgspec.msgpack.Decoder(list[Recrypted | NotRecrypted])


def frame(message: Sequence[Place] | Sequence[WorkItem] | Sequence[Result]) -> bytes:
    """Return a message as it travels."""
    data = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(data)) + data


def read_results(data: bytes) -> list[Result]:
    """Return a worker's answer."""
    return list(_RESULTS.decode(data))


def _next(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    data = source.read(size)
    return data if len(data) == size else None


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer each share with its results until the input ends."""
    places = _next(source)
    if places is None:
        return
    providers = InstalledProviders(_PLACES.decode(places))
    shares: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def read() -> None:
        while (data := _next(source)) is not None:
            shares.put(data)
        shares.put(None)

    # Read ahead: the next share is at hand when one is done, even while the connector is busy.
    threading.Thread(target=read, daemon=True).start()
    while (data := shares.get()) is not None:
        sink.write(frame(recrypt_each(_SHARE.decode(data), providers.open)))
        sink.flush()


def main() -> None:
    """Serve standard input; signals to the group are left to the connector, which ends its workers when drained."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
