"""A tool under test: a command line with placeholders, run once or until it is stopped."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, Protocol, Self

_STOP_SECONDS: Final = 15.0
"""Seconds that a tool has to end after SIGTERM."""

_LAST_WORDS: Final = 0.5
"""Seconds to wait for the output of a command that has ended: a process it left behind may keep the pipe open."""

_OUTPUT_KEPT: Final = 1024 * 1024
_PIECE: Final = 64 * 1024


@dataclass(frozen=True)
class Ended:
    """How a tool ended: exit code (None: it had to be stopped), and what it printed on each stream, if captured."""

    exit_code: int | None
    output: str = field(repr=False)
    output_seen: bool = True


class Tool(Protocol):
    """Something that can be run: a command line with placeholders, or a function."""

    async def __call__(self, arguments: Mapping[str, str], variables: Mapping[str, str], seconds: float) -> Ended:
        """Run once with arguments by name and environment variables, at most so many seconds."""
        ...


class Running(Protocol):
    """A tool that runs until it is stopped."""

    async def stop(self) -> Ended:
        """Ask it to end, and return how it ended."""
        ...


class Service(Protocol):
    """A tool that is started and stopped."""

    async def start(self, arguments: Mapping[str, str], variables: Mapping[str, str]) -> Running:
        """Start it."""
        ...


class _Output:
    """Reads what a command prints, and keeps the first part of it."""

    def __init__(self, stream: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._kept, self._left_out, self._transport = bytearray(), 0, transport
        self._reading = asyncio.create_task(self._read(stream))

    @classmethod
    async def from_pipe(cls, read_end: int) -> Self:
        """Return a reader of a pipe; it closes the pipe."""
        loop, stream = asyncio.get_running_loop(), asyncio.StreamReader()
        pipe = os.fdopen(read_end, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        return cls(stream, transport)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(_PIECE):
            room = max(0, _OUTPUT_KEPT - len(self._kept))
            self._kept += piece[:room]
            self._left_out += len(piece[room:])

    async def end(self) -> str:
        """Return what was printed, once the stream has ended or after a moment."""
        await asyncio.wait([self._reading], timeout=_LAST_WORDS)
        self._reading.cancel()
        self._transport.close()
        more = f"\n({self._left_out} bytes more)" if self._left_out else ""
        return self._kept.decode("utf-8", "replace") + more


@dataclass
class _Process:
    """A command that runs, in a process group of its own."""

    process: asyncio.subprocess.Process
    output: _Output

    async def wait(self, seconds: float) -> Ended:
        """Wait for its end; kill it if it does not end in time, and any process it leaves behind."""
        code: int | None = None
        try:
            code = await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
        await self.process.wait()
        return Ended(code, await self.output.end())

    async def stop(self) -> Ended:
        """Send SIGTERM to its process group and wait; kill processes that do not end."""
        self._signal(signal.SIGTERM)
        return await self.wait(_STOP_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        # The group, and its number, exist until its last process has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class CannotStart(Exception):
    """The system cannot run the command; the text is its reason."""


class MissingArgument(ValueError):
    """A command line has a placeholder that the plan does not fill; the text names those it fills."""


@dataclass(frozen=True)
class CommandTool:
    """A command line whose words may contain `{name}` placeholders."""

    words: Sequence[str]

    def filled(self, arguments: Mapping[str, str]) -> list[str]:
        """Return the command line with its placeholders filled; braces around other names stay as they are.

        Raises:
            MissingArgument: a place of a known name that this plan does not give, or a name mistyped.

        """

        def value(found: re.Match[str]) -> str:
            name = found.group(1)
            if name in arguments:
                return arguments[name]
            if name in ARGUMENTS:
                raise MissingArgument(f"expected arguments of this plan ({', '.join(arguments)}), got {{{name}}}")
            meant = get_close_matches(name, arguments, 1)
            if meant and found.group() == found.string:
                raise MissingArgument(f"expected a place of this plan, such as {{{meant[0]}}}, got {{{name}}}")
            return found.group()

        return [re.sub(r"{(\w+)}", value, word) for word in self.words]

    async def start(self, arguments: Mapping[str, str], variables: Mapping[str, str]) -> Running:
        """Start the command in a process group of its own.

        Raises:
            CannotStart: the system cannot run it.

        """
        return await self._start(arguments, variables)

    async def __call__(self, arguments: Mapping[str, str], variables: Mapping[str, str], seconds: float) -> Ended:
        """Run the command; a process that does not end in time is stopped.

        Raises:
            CannotStart: the system cannot run it.

        """
        return await (await self._start(arguments, variables)).wait(seconds)

    async def _start(self, arguments: Mapping[str, str], variables: Mapping[str, str]) -> _Process:
        # With a pipe of asyncio's own, the end of a command would be seen only when all its children have closed it.
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.filled(arguments),
                env={**os.environ, **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            os.close(read_end)
            raise CannotStart(str(error)) from None
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        return _Process(process, await _Output.from_pipe(read_end))


ARGUMENTS: Final = {
    "graph_url": "address of Graph",
    "authority_url": "sign-in address with the tenant",
    "tenant_id": "the tenant's id",
    "client_id": "application id",
    "client_secret": "its secret",
    "ca_file": "the CA to trust, PEM",
    "public_key_file": "the connector's public key, PEM",
    "provider": "the key storage provider's name",
    "key_name": "the key's name",
    "pfx": "the PFX file",
    "password": "its password",
    "password_file": "a file with the password on its first line",
    "upn": "the user to import for",
    "purpose": "the intended purpose",
    "thumbprint": "the certificate's thumbprint",
    "pfx_dir": "a folder with PFX files, NAME.pfx, NAME.password.txt and NAME.upn.txt",
    "manifest": "a CSV file with the columns pfx, password_file, upn, purpose",
    "folder": "an empty folder for the tool",
    "keys_dir": "the folder of the software provider that holds the connector's key",
    "private_key_file": "that key as PEM",
    "operator_upn": "an Intune administrator, who may enrol connectors",
    "operator_password_file": "a file with that user's password",
    "proxy_url": "the lab's CONNECT proxy, for tools with built-in hosts",
    "ready_file": "the lab's ready file",
}
"""Placeholder → what replaces it."""
