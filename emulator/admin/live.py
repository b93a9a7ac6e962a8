"""Live pages: what changes on a page is rendered once for all who look at it, and sent to them as server-sent events.

A page that is costly to render is rendered seldom: all of them together take a twentieth of a processor at most.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Final

from pfxlab.emulator.admin.page import Look, Shown, View, render_live
from pfxlab.emulator.cloud import Cloud

_SECONDS: Final = 1.0
_SHARE: Final = 20
"""Between two renderings of a page pass so many times what one took, times the pages there are; a second at least."""

_STILL: Final = 5.0
"""Seconds after which a page is rendered anew though nothing was written: clocks run, connectors fall silent."""

_LOG = logging.getLogger(__name__)


@dataclass
class Channel:
    """A page as its audience sees it: the text that was sent last, and those who wait for the next."""

    look: Look
    view: View
    text: str = ""
    seen: tuple[object, ...] = ()
    rendered: float = 0.0
    took: float = 0.0
    waiting: set[asyncio.Event] = field(default_factory=set)


class Live:
    """All pages that are looked at now."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._channels: dict[tuple[str, str, tuple[tuple[str, str], ...]], Channel] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def pages(self) -> int:
        """Return how many different pages are looked at."""
        return len(self._channels)

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
            state = self._state()
            for channel in list(self._channels.values()):
                if self._due(channel, state):
                    self._render(channel, state)
                    # One page at a time: whoever asks Graph meanwhile waits for one rendering and no more.
                    await asyncio.sleep(0)
            await asyncio.sleep(_SECONDS)

    def _state(self) -> tuple[object, ...]:
        """Return what differs when anything has happened: rows written, a clock that stands still put elsewhere."""
        cloud = self._cloud
        cloud.journal.flush()
        return cloud.store.changes, cloud.clock.now() if cloud.clock.frozen else None, len(cloud.faults.all())

    def _due(self, channel: Channel, state: tuple[object, ...]) -> bool:
        since = time.perf_counter() - channel.rendered
        if since < _SHARE * channel.took * len(self._channels):
            return False
        return channel.seen != state or since > _STILL

    def _render(self, channel: Channel, state: tuple[object, ...]) -> None:
        began = time.perf_counter()
        try:
            shown: Shown = channel.view(channel.look)
            text = render_live(channel.look, shown)
        except Exception:
            # A page that cannot be rendered is that page's matter; all others go on.
            _LOG.exception("unexpected error in %s", channel.look.path)
            text = channel.text
        channel.seen, channel.rendered = state, time.perf_counter()
        channel.took = channel.rendered - began
        if text != channel.text:
            channel.text = text
            for event in channel.waiting:
                event.set()


def as_event(text: str) -> bytes:
    """Return a text as one server-sent event; a line of it ends at any of the ends of lines that the format knows."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "".join(f"data: {line}\n" for line in lines).encode() + b"\n"
