"""A client that sends bytes as they are, which no HTTP library does."""

import asyncio
import ssl
from typing import Any

from pfxlab.scenarios.lab.lab import Lab


class RawWire:
    """Sends requests to a running lab, one connection each."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.tls = lab, ssl.create_default_context(cafile=str(lab.ca_file))

    async def __call__(
        self, method: str, path: str, body: bytes = b"", *headers: bytes, host: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        port = self.lab.emulator.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.tls, server_hostname="localhost")
        named = b"localhost:%d" % port if host is None else host
        lines = [b"Host: " + named, b"Connection: close", b"Content-Length: %d" % len(body), *headers]
        writer.write(f"{method} {path} HTTP/1.1\r\n".encode() + b"\r\n".join(lines) + b"\r\n\r\n" + body)
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), content

    def entries(self, rule: str, after: int = 0) -> list[Any]:
        """Return the journal's entries with a rule."""
        return self.lab.cloud.journal.entries(after=after, rule=rule)
