"""Ends a server's connections: requests under way are finished first, not those of clients that read nothing."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

_UNREAD_SECONDS: Final = 1.0
"""Real seconds in which a client must take some of its answer, once the server ends."""

_TURNS_TO_CLOSE: Final = 4
"""Turns of the event loop in which it sees that sockets were shut down, and closes them."""


async def end_connections(runner: web.AppRunner, sockets: Iterable[Any]) -> None:
    """Finish running requests, then end every connection: a TLS client may never answer the end of its session.

    `sockets`: what aiohttp may have forgotten, since it began to close it.
    """
    server = runner.server
    idle = [] if server is None else [one.transport for one in server.connections if one.transport is not None]
    # A transport that has closed by itself has no socket any more.
    known = [one for transport in idle if (one := transport.get_extra_info("socket")) is not None]
    watch = asyncio.create_task(_abort_unread(idle))
    try:
        await runner.cleanup()
    finally:
        watch.cancel()
    for one in (*known, *sockets):
        # Not `transport.abort()`: it does nothing once `close()` was called twice, as aiohttp does.
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
    for _ in range(_TURNS_TO_CLOSE):
        await asyncio.sleep(0)


async def _abort_unread(transports: list[asyncio.Transport]) -> None:
    """Break off each connection of which the client takes nothing: its handler waits to write the rest."""
    unread = {one: one.get_write_buffer_size() for one in transports}
    while unread:
        await asyncio.sleep(_UNREAD_SECONDS)
        for transport, before in list(unread.items()):
            unread[transport] = transport.get_write_buffer_size()
            if before and unread[transport] >= before:
                del unread[transport]
                transport.abort()
