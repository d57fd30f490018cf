"""What every stream screen begins with: its counts, its parser and its queue of events. The dialects' screens stand on it.

Its contract is `wire.base.StreamScreen`. It knows no dialect: a screen gives `_run`, which takes events off the queue.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sidecar.errors import UpstreamCut
from sidecar.wire.sse import Event, SseParser

if TYPE_CHECKING:
    from sidecar.call import Usage
    from sidecar.wire.base import Piece


class Screening:
    """The common part. `_run` must release what may go and stop at a proposal that waits for its verdict."""

    def __init__(self, event_limit: int) -> None:
        self.usage: Usage | None = None
        self.finish: tuple[str, ...] = ()
        self.model = ""
        self.minted: tuple[tuple[str, str], ...] = ()
        self.output_bytes = 0
        self.ended = False
        self._parser = SseParser(event_limit)
        self._events: deque[Event] = deque()

    def feed(self, data: bytes) -> list[Piece]:
        """Take bytes. Raises UpstreamGarbage."""
        self._events.extend(self._parser.feed(data))
        return self._run()

    def finish_input(self) -> list[Piece]:
        """The upstream closed. Raises UpstreamCut where the dialect's end was missing; what was held is dropped."""
        self._events.extend(self._parser.finish())
        pieces = self._run()
        if not self.ended:
            raise UpstreamCut("the stream ended before its end mark")
        return pieces

    def _run(self) -> list[Piece]:
        """Take events from the queue until it is empty or a proposal must be judged."""
        raise NotImplementedError
