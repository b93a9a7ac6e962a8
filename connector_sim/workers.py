"""Where re-encryption runs: a few requests in threads of this process, many in worker processes, one for each core.

Threads lose 2 to 9 % to waiting for the interpreter's lock although RSA releases it; processes do not
(docs/decisions/0003). Workers are started when first there is enough for them to do. One that dies takes nothing
along: what it had is computed here instead, and the next large lease starts another.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from pfxlab.connector_sim.keys.installed import InstalledProviders, Place
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.connector_sim.recrypt import partition, recrypt_each
from pfxlab.connector_sim.worker_process import LENGTH, frame, read_results
from pfxlab.emulator.wire.connector import Result, WorkItem

_SHARE: Final = 64
"""Requests in a share: few against a batch, so that no worker idles while another has many left."""
_AHEAD: Final = 3
"""Shares a worker has at once: one under way, the next at hand, one on its way back."""
_READ_AHEAD: Final = 2**20
_END_SECONDS: Final = 5.0


class _WorkerGone(Exception):
    """A worker could not be started, or ended before it answered."""


class _Worker:
    """One worker process, which answers its shares in their order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise _WorkerGone
        self._process, self._sink, self._source = process, process.stdin, process.stdout
        self._asked: deque[asyncio.Future[list[Result]]] = deque()
        self._reading = asyncio.create_task(self._read_answers())

    @classmethod
    async def start(cls, places: Sequence[Place]) -> "_Worker":
        """Start a process and pass it the location of the keys."""
        # -P: no file of the folder the connector runs in is taken for a module.
        command = (sys.executable, "-P", "-m", "pfxlab.connector_sim.worker_process")
        pipe = asyncio.subprocess.PIPE
        try:
            # A session of its own: the connector alone handles signals to its group, also while the worker starts.
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, limit=_READ_AHEAD, start_new_session=True
            )
            worker = cls(process)
        except OSError:
            raise _WorkerGone from None
        await worker._send(frame(places))
        return worker

    @property
    def gone(self) -> bool:
        """Return whether the process has ended."""
        return self._reading.done()

    async def recrypt(self, items: Sequence[WorkItem]) -> list[Result]:
        """Return the results of a share.

        Raises:
            _WorkerGone: the process ended before.

        """
        if self.gone:
            raise _WorkerGone
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        try:
            await self._send(frame(items))
            return await answer
        finally:
            answer.cancel()

    async def _send(self, data: bytes) -> None:
        try:
            self._sink.write(data)
            await self._sink.drain()
        except OSError:
            raise _WorkerGone from None

    async def _read_answers(self) -> None:
        try:
            while True:
                head = await self._source.readexactly(LENGTH.size)
                results = read_results(await self._source.readexactly(LENGTH.unpack(head)[0]))
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(results)
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            for answer in self._asked:
                if not answer.done():
                    answer.set_exception(_WorkerGone())

    async def stop(self) -> None:
        """End the worker by ending its input; one that does not end is killed."""
        self._sink.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading


class Workers:
    """`recrypt` over a server's cores. `processes` 0, or providers without a known place: threads alone."""

    def __init__(self, providers: Providers, threads: int, processes: int) -> None:
        self._providers, self._threads = providers, threads
        self._places = providers.places if isinstance(providers, InstalledProviders) else ()
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="recrypt")
        self._workers: list[_Worker | None] = [None] * (processes if self._places else 0)
        self._starting = [asyncio.Lock() for _ in self._workers]
        # Each worker's number as often as it may have shares; who takes a number gives it back.
        self._free: asyncio.Queue[int] = asyncio.Queue()
        for _ in range(_AHEAD):
            for number in range(len(self._workers)):
                self._free.put_nowait(number)

    async def recrypt(self, items: Sequence[WorkItem]) -> list[Result]:
        """Return a result for each item, in an order of its own."""
        if self._workers and len(items) > _SHARE:
            shares, work = partition(items, -(-len(items) // _SHARE)), self._in_process
        else:
            shares, work = partition(items, self._threads), self._in_thread
        done = await asyncio.gather(*map(work, shares))
        return [result for results in done for result in results]

    async def _in_thread(self, share: list[WorkItem]) -> list[Result]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, recrypt_each, share, self._providers.open)

    async def _in_process(self, share: list[WorkItem]) -> list[Result]:
        number = await self._free.get()
        try:
            return await (await self._worker(number)).recrypt(share)
        except _WorkerGone:
            return await self._in_thread(share)
        finally:
            self._free.put_nowait(number)

    async def _worker(self, number: int) -> _Worker:
        async with self._starting[number]:
            worker = self._workers[number]
            if worker is not None and not worker.gone:
                return worker
            if worker is not None:
                await worker.stop()
            self._workers[number] = None
            worker = self._workers[number] = await _Worker.start(self._places)
            return worker

    async def stop(self) -> None:
        """End threads and processes; what they are at is lost."""
        await asyncio.gather(*(worker.stop() for worker in self._workers if worker is not None))
        self._pool.shutdown(wait=True, cancel_futures=True)
