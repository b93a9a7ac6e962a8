"""Processes beside a benchmark: they end with the block that needs them, whatever happens in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from pfxlab.scenarios.ending import deferred


@contextmanager
def running(*processes: BaseProcess) -> Iterator[None]:
    """Run processes for the time of a block, which asks them to end; if it fails, they are terminated.

    Ctrl-C reaches this process alone: it ends the block, and with it the others.
    """
    started: list[BaseProcess] = []
    try:
        for process in processes:
            started.append(process)
            with deferred():
                process.start()
        yield
    except BaseException:
        for process in started:
            if process.pid is not None:
                process.terminate()
        raise
    finally:
        for process in started:
            if process.pid is not None:
                process.join()
