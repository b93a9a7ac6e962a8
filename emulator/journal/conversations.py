"""The latest messages between devices and the service, for the admin centre. In memory only, never stored.

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
    request: bytes | None = field(repr=False)
    answer: bytes | None = field(repr=False)


def _kept(data: bytes) -> bytes | None:
    return data if len(data) <= _LARGEST else None


def _size(message: Message) -> int:
    return len(message.request or b"") + len(message.answer or b"")


class Conversations:
    """The latest messages of the most recently active devices."""

    def __init__(self) -> None:
        self._messages: OrderedDict[str, deque[Message]] = OrderedDict()
        self._number = self._bytes = 0

    def clear(self) -> None:
        """Forget everything: the store is another."""
        self._messages.clear()
        self._bytes = 0

    def note(self, device_id: str, time: datetime, request: bytes, answer: bytes) -> None:
        """Keep a message and its answer."""
        mine = self._messages.setdefault(device_id, deque())
        self._number += 1
        message = Message(self._number, time, _kept(request), _kept(answer))
        mine.append(message)
        self._bytes += _size(message)
        if len(mine) > _EXCHANGES:
            self._bytes -= _size(mine.popleft())
        self._messages.move_to_end(device_id)
        while len(self._messages) > _DEVICES or (self._bytes > _ALL and len(self._messages) > 1):
            self._bytes -= sum(map(_size, self._messages.popitem(last=False)[1]))

    def of(self, device_id: str) -> list[Message]:
        """Return the messages of a device, oldest first."""
        return list(self._messages.get(device_id, ()))
