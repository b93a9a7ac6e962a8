"""A CONNECT proxy for tools with built-in hosts: Microsoft's names lead to this emulator, other names nowhere.

So an unmodified tool reaches the lab through HTTPS_PROXY, and nothing it does can leave the machine. Any port leads
there: MSAL.NET asks for instance discovery on the port of the authority.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

from pfxlab.emulator.hosts.microsoft import microsoft_host

_LARGEST_HEAD: Final = 16 * 1024
_PIECE: Final = 64 * 1024
_LAST_PORT: Final = 65535
_METADATA_SERVICE: Final = "169.254.169.254"
"""Where a machine of Azure gets tokens of its managed identity. Source: sources.md#instance-metadata-service."""

Refusal = Callable[[str, str], None]
"""Called with the target and the reason when a request is refused."""

DefectReport = Callable[[Exception], None]
"""Called with an exception that nobody foresaw: a bug in the lab, which ends one connection."""


def decide(request_line: str) -> str | None:
    """Return why a proxy request is refused, or None when it leads to the emulator."""
    method, _, rest = request_line.partition(" ")
    target = rest.partition(" ")[0]
    if host_of(request_line) == _METADATA_SERVICE:
        return "the lab does not emulate the instance metadata service (IMDS): it exists on machines of Azure only"
    if method != "CONNECT":
        return f"expected CONNECT, got {method[:20]!r}: the lab passes on TLS only"
    host, _, port = target.rpartition(":")
    if microsoft_host(host) is None:
        return f"{host or target} is none of the hosts this lab stands in for; nothing leaves the machine"
    if not _is_port(port):
        return f"expected a port from 1 to {_LAST_PORT}, got {port[:20]!r}"
    return None


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 0 < int(text) <= _LAST_PORT


def host_of(request_line: str) -> str:
    """Return host and port of a request's target; user, path and query are left out, they may hold secrets."""
    target = request_line.partition(" ")[2].partition(" ")[0]
    authority = target.partition("://")[2] or target
    return re.split(r"[/?#]", authority, maxsplit=1)[0].rpartition("@")[2]


class ConnectProxy:
    """The listening proxy, on the loopback address of the emulator.

    `emulator`: address and port. A request that is not whole after `idle_seconds` is answered no more.
    """

    def __init__(self, emulator: tuple[str, int], refused: Refusal, defect: DefectReport, idle_seconds: float) -> None:
        self._emulator, self._refused, self._defect, self._idle_seconds = emulator, refused, defect, idle_seconds
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, self._emulator[0], 0, limit=_LARGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut the tunnels."""
        if self._server is not None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A coroutine here would be asyncio's own task, whose cancellation Python 3.11 reports with a traceback.
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with _ending(writer):
                await self._tunnel(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        except Exception as error:
            self._defect(error)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._idle_seconds):
            head = await reader.readuntil(b"\r\n\r\n")
        line = head.partition(b"\r\n")[0].decode("latin-1")
        reason = decide(line)
        if reason is not None:
            self._refused(host_of(line), reason)
            text = f"PFX Lab: {reason}\n".encode()
            answer = f"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
            writer.write(answer.encode() + b"Connection: close\r\n\r\n" + text)
            await writer.drain()
            return
        inner_reader, inner_writer = await asyncio.open_connection(*self._emulator)
        async with _ending(inner_writer):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


@contextlib.asynccontextmanager
async def _ending(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close a connection after a block, once what was written is sent; break it off if the block fails."""
    try:
        yield
        writer.close()
        await writer.wait_closed()
    finally:
        # Closing waits for a peer that reads nothing, for as long as it likes.
        writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the sender ends, then end the receiver's side too."""
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        with contextlib.suppress(OSError):
            writer.write_eof()
