"""A bounded memory for answers that depend on nothing but their key. Emptied when full: no order to keep, no clock."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
LIMIT = 4096


class Memo(Generic[K, V]):
    """Remembers up to `LIMIT` answers. What it holds never changes what is answered, only how fast."""

    __slots__ = ("_held", "get")

    def __init__(self) -> None:
        self._held: dict[K, V] = {}
        self.get = self._held.get

    def keep(self, key: K, make: Callable[[], V]) -> V:
        """Make the answer for a key that `get` does not know, and remember it."""
        if len(self._held) >= LIMIT:
            self._held.clear()
        value = self._held[key] = make()
        return value

    def __len__(self) -> int:
        return len(self._held)
