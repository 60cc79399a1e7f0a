"""A bounded cache for the hot path."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V], Generic[K, V]):
    """A dict that forgets its oldest entry when it is full. Read it as any dict; write by `put`.

    Own code, since a request reads it twenty times: cachetools' caches keep an order, which costs microseconds a read.
    """

    def __init__(self, size: int) -> None:
        """Hold at most `size` entries."""
        super().__init__()
        self._size = size

    def put(self, key: K, value: V) -> V:
        """Store and return `value`."""
        if len(self) >= self._size and key not in self:
            del self[next(iter(self))]
        self[key] = value
        return value
