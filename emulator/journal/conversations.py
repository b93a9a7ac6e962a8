"""What devices and the service said to each other last, for whoever looks at a device. In memory, never written down.

Messages hold ciphertext and, in an alert, a user's token: what is shown of them goes through admin/pages/messages.py.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_DEVICES: Final = 200
_EXCHANGES: Final = 24
_LARGEST: Final = 256 * 1024
_ALL: Final = 32 * 1024 * 1024
"""Bytes of one message, and of all together, that are kept."""


@dataclass(frozen=True)
class Message:
    """One message of a device and the answer; None for one that is too large to keep, b"" for an empty one."""

    number: int
    time: datetime
    asked: bytes | None = field(repr=False)
    answered: bytes | None = field(repr=False)


def _kept(data: bytes) -> bytes | None:
    return data if len(data) <= _LARGEST else None


def _size(said: Message) -> int:
    return len(said.asked or b"") + len(said.answered or b"")


class Conversations:
    """The latest messages of the devices that were heard last."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, deque[Message]] = OrderedDict()
        self._number = self._bytes = 0

    def clear(self) -> None:
        """Forget everything: the store is another."""
        self._said.clear()
        self._bytes = 0

    def note(self, device_id: str, time: datetime, asked: bytes, answered: bytes) -> None:
        """Keep a message and its answer."""
        mine = self._said.setdefault(device_id, deque())
        self._number += 1
        said = Message(self._number, time, _kept(asked), _kept(answered))
        mine.append(said)
        self._bytes += _size(said)
        if len(mine) > _EXCHANGES:
            self._bytes -= _size(mine.popleft())
        self._said.move_to_end(device_id)
        while len(self._said) > _DEVICES or (self._bytes > _ALL and len(self._said) > 1):
            self._bytes -= sum(map(_size, self._said.popitem(last=False)[1]))

    def of(self, device_id: str) -> list[Message]:
        """Return what was said, oldest first."""
        return list(self._said.get(device_id, ()))
