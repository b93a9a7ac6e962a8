"""A bounded memory for what is costly to find out and does not change."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most `most` answers; the oldest goes first. Not shown by repr: keys may be tokens."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what was put for a key, or None."""
        return self._known.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
