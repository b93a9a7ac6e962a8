"""Live pages: what changes on a page is rendered once for all who look at it, and sent to them as server-sent events.

A page that is costly to render is rendered seldom: all of them together take a twentieth of a processor at most.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from emulator.admin.page import Look, Shown, View, render_live
from emulator.cloud import Cloud

_SECONDS: Final = 1.0
_SHARE: Final = 20
"""Between two renderings pass so many times what they took, one second at least."""

_STILL: Final = 15.0
"""Seconds after which a page is rendered anew though nothing was written: a connector falls silent as time passes."""


@dataclass
class Channel:
    """A page as its audience sees it: the text that was sent last, and those who wait for the next."""

    look: Look
    view: View
    text: str = ""
    seen: tuple[object, ...] = ()
    rendered: float = 0.0
    waiting: set[asyncio.Event] = field(default_factory=set)


class Live:
    """All pages that are looked at now."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._channels: dict[tuple[str, str, tuple[tuple[str, str], ...]], Channel] = {}
        self._task: asyncio.Task[None] | None = None
        self._took = 0.0

    def join(self, look: Look, view: View) -> tuple[Channel, asyncio.Event]:
        """Begin to look at a page; the event is set whenever there is a new text."""
        key = (look.tenant_id, look.path, tuple(sorted(look.query.items())))
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(look, view)
        event = asyncio.Event()
        channel.waiting.add(event)
        if channel.text:
            event.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="live pages")
        return channel, event

    def leave(self, channel: Channel, event: asyncio.Event) -> None:
        """Look at it no longer."""
        channel.waiting.discard(event)
        if not channel.waiting:
            self._channels = {key: one for key, one in self._channels.items() if one is not channel}

    async def _work(self) -> None:
        """Render what has changed, as long as somebody looks."""
        while self._channels and not self._cloud.stopping:
            began = time.perf_counter()
            state = self._state()
            for channel in list(self._channels.values()):
                if channel.seen != state or began - channel.rendered > _STILL:
                    self._render(channel, state)
                    # One page at a time: whoever asks Graph meanwhile waits for one rendering and no more.
                    await asyncio.sleep(0)
            self._took = time.perf_counter() - began
            await asyncio.sleep(max(_SECONDS, _SHARE * self._took))

    def _state(self) -> tuple[object, ...]:
        """Return what differs when anything has happened: rows written, a clock that stands still put elsewhere."""
        cloud = self._cloud
        cloud.journal.flush()
        return cloud.store.changes, cloud.clock.now() if cloud.clock.frozen else None, len(cloud.faults.all())

    def _render(self, channel: Channel, state: tuple[object, ...]) -> None:
        shown: Shown = channel.view(channel.look)
        text = render_live(channel.look, shown)
        channel.seen, channel.rendered = state, time.perf_counter()
        if text != channel.text:
            channel.text = text
            for event in channel.waiting:
                event.set()


def as_event(text: str) -> bytes:
    """Return a text as one server-sent event."""
    return "".join(f"data: {line}\n" for line in text.split("\n")).encode() + b"\n"
