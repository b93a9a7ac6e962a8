"""The watchdog of these tests itself: it can fail, and fails for nothing but what it is for."""

import asyncio
import sys
import time

import aiohttp
import pytest
from aiohttp import web

from tests import watchdog


def compute(seconds: float) -> None:
    """Use the processor for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def serve(seconds: float, path: str, *, wait: bool = False) -> list[watchdog.SlowStep]:
    """Return what the watchdog sees when a handler computes, or waits."""

    async def handle(_: web.Request) -> web.Response:
        if wait:
            time.sleep(seconds)  # noqa: ASYNC251 - the loop is to stand still, without computing
        else:
            compute(seconds)
        return web.Response()

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    with watchdog.watching() as slow:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{runner.addresses[0][1]}{path}"):
            pass
        await asyncio.sleep(0)
    await runner.cleanup()
    return slow


@pytest.fixture(autouse=True)
def watched_loops() -> None:
    """Let these tests hold a loop without failing for it."""


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limit, so that it takes little time to exceed."""
    monkeypatch.setattr(watchdog, "LIMIT", 0.05)


@pytest.mark.usefixtures("low_limit")
async def test_handler_that_computes_for_long_is_seen() -> None:
    """A step that takes more of the thread's CPU time than the limit is named with its request."""
    (slow,) = await serve(watchdog.limit() * 1.2, "/beta/users")
    assert slow.what == "GET /beta/users"
    assert "GET /beta/users held the loop for" in str(slow)


@pytest.mark.usefixtures("low_limit")
async def test_control_api_is_watched_as_well() -> None:
    """A step of the lab's own addresses holds up the lab's clients like any other."""
    (slow,) = await serve(watchdog.limit() * 1.2, "/lab/v1/do/import")
    assert slow.what == "GET /lab/v1/do/import"


@pytest.mark.usefixtures("low_limit")
async def test_task_that_is_named_so_is_watched() -> None:
    """A test can have any task watched, such as a device's check-in, by its name."""

    async def step() -> None:
        compute(watchdog.limit() * 1.2)

    with watchdog.watching() as slow:
        await asyncio.create_task(step())
        await asyncio.create_task(step(), name=f"{watchdog.WATCHED}a device")
    assert [one.what for one in slow] == ["a device"]


@pytest.mark.usefixtures("low_limit")
async def test_handler_that_waits_is_not() -> None:
    """Time that passes on the clock alone is no CPU time."""
    assert await serve(watchdog.limit() * 1.2, "/beta/users", wait=True) == []
    assert await serve(0, "/beta/users") == []


@pytest.mark.usefixtures("low_limit")
async def test_bytes_that_are_parsed_for_long_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a connection does with bytes that came, before any handler runs, is a step too."""
    parse = web.RequestHandler.data_received

    def parse_for_long(connection: web.RequestHandler, data: bytes) -> None:
        compute(watchdog.limit() * 1.2)
        parse(connection, data)

    monkeypatch.setattr(web.RequestHandler, "data_received", parse_for_long)
    (slow,) = await serve(0, "/beta/users")
    assert str(slow).startswith("a connection's _read_ready held the loop for")


def test_limit_grows_under_a_tracer() -> None:
    """Coverage and debuggers slow Python down several times: the limit is then ten times as high."""
    before = sys.gettrace()
    try:
        sys.settrace(None)
        plain = watchdog.limit()
        sys.settrace(lambda *_: None)
        traced = watchdog.limit()
    finally:
        sys.settrace(before)
    assert (plain, traced) == (0.2, 2.0)
