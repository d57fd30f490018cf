"""Decision ids: `d_` and 32 hex digits that sort by time and cannot be guessed (48 bits of milliseconds, 80 random)."""

from __future__ import annotations

import os
import time

POOL = 4096


class Ids:
    """Makes ids. Random bytes are drawn from the system in batches, one call in four hundred pays for them."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def __call__(self) -> str:
        """A new id."""
        at = self._at
        if at + 10 > len(self._pool):
            self._pool, at = os.urandom(POOL), 0
        self._at = at + 10
        return f"d_{int(time.time() * 1000):012x}{self._pool[at : at + 10].hex()}"
