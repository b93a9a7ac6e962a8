"""What devices and the service said to each other last, for whoever looks at a device. In memory, never written down.

Messages hold ciphertext and, in an alert, a user's token: what is shown of them goes through admin/messages.py.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_DEVICES: Final = 200
_EXCHANGES: Final = 24
_LARGEST: Final = 256 * 1024


@dataclass(frozen=True)
class Said:
    """One message of a device and the answer; None for one that is too large to keep, b"" for an empty one."""

    number: int
    time: datetime
    asked: bytes | None = field(repr=False)
    answered: bytes | None = field(repr=False)


def _kept(data: bytes) -> bytes | None:
    return data if len(data) <= _LARGEST else None


class Conversations:
    """The latest messages of the devices that were heard last."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, deque[Said]] = OrderedDict()
        self._number = 0

    def clear(self) -> None:
        """Forget everything: the store is another."""
        self._said.clear()

    def note(self, device_id: str, time: datetime, asked: bytes, answered: bytes) -> None:
        """Keep a message and its answer."""
        mine = self._said.setdefault(device_id, deque(maxlen=_EXCHANGES))
        self._number += 1
        mine.append(Said(self._number, time, _kept(asked), _kept(answered)))
        self._said.move_to_end(device_id)
        while len(self._said) > _DEVICES:
            self._said.popitem(last=False)

    def of(self, device_id: str) -> list[Said]:
        """Return what was said, oldest first."""
        return list(self._said.get(device_id, ()))
