"""A streamed Gemini reply (`alt=sse`) under screen: every event is a whole response, and its function calls wait for their verdicts.

The stream has no end marker of its own: it has ended when each candidate that was seen has a `finishReason`, or the prompt was blocked.
Its counterpart for whole replies is `gemini_reply`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.errors import UpstreamGarbage
from sidecar.wire import gemini_errors, gemini_reply, jsonguard
from sidecar.wire.base import Piece, Proposal, Release
from sidecar.wire.screening import Screening
from sidecar.wire.sse import Event, event

if TYPE_CHECKING:
    from sidecar.call import Call, Tool
    from sidecar.decision import Refusal
    from sidecar.wire.gemini_reply import Place

_MOST = 1_000
"""Candidates in one stream: more than the API gives, and few enough to count."""


class _Asked(NamedTuple):
    """An event that waits: its proposals, and the verdicts so far (None: through)."""

    raw: bytes
    value: dict[str, Any]
    places: list[Place]
    verdicts: list[str | None]


class GeminiScreen(Screening):
    """A `StreamScreen`. Two states: relaying (`_asked` is None), and waiting for verdicts on one event."""

    def __init__(self, call: Call, cap: int, event_limit: int) -> None:
        super().__init__(event_limit)
        self._choices = call.choices
        self._cap = cap
        self._out: list[bytes] = []
        self._asked: _Asked | None = None
        self._reasons: dict[int, str] = {}
        """Candidate index to its finish reason; "" while it goes on."""

    def resolve(self, denied: str | None) -> list[Piece]:
        """Answer the outstanding Proposal; the event goes out when its last one is answered."""
        asked = self._asked
        if asked is not None:
            asked.verdicts.append(denied)
            if len(asked.verdicts) == len(asked.places):
                self._asked = None
                self._out.append(_answered(asked))
        return self._run()

    def terminate(self, refusal: Refusal) -> bytes:
        """`finishReason: "SAFETY"` for every candidate that has none, with the sentence beside it."""
        self.ended = True
        open_ = [index for index in range(max([self._choices, *(seen + 1 for seen in self._reasons)])) if not self._reasons.get(index)]
        ends = [{"finishReason": "SAFETY", "finishMessage": gemini_errors.sentence(refusal), "index": index} for index in open_ or [0]]
        return event(jsonguard.dump({"candidates": ends, "modelVersion": self.model}))

    def abort(self, refusal: Refusal) -> bytes:
        """A Status in an event, which clients raise; no finish reason."""
        self.ended = True
        return event(jsonguard.dump(gemini_errors.body(refusal, "")))

    def _run(self) -> list[Piece]:
        """Take events from the queue until it is empty or a call must be judged."""
        while self._events and self._asked is None:
            self._take(self._events.popleft())
        pieces: list[Piece] = []
        if self._out:
            pieces.append(Release(self._out[0] if len(self._out) == 1 else b"".join(self._out)))
            self._out = []
        if self._asked is not None:
            pieces.append(Proposal(self._tool(self._asked)))
        return pieces

    def _tool(self, asked: _Asked) -> Tool:
        tool = asked.places[len(asked.verdicts)].tool()
        long = len(asked.raw) > self._cap and len(jsonguard.dump(tool.args)) > self._cap
        return replace(tool, args=None) if long else tool

    def _take(self, item: Event) -> None:
        if item.data is None:
            self._out.append(item.raw)
            return
        value = jsonguard.parse_object(item.data, UpstreamGarbage)
        self._note(value, len(item.data))
        places = gemini_reply.proposals(value)
        if places:
            self._asked = _Asked(item.raw, value, places, [])
        else:
            self._out.append(item.raw)

    def _note(self, value: dict[str, Any], size: int) -> None:
        found = gemini_reply.candidates(value)
        if not found and "usageMetadata" not in value and "error" not in value:
            self.output_bytes += size
        for at, candidate in found:
            index = candidate.get("index") or 0
            if type(index) is not int or not 0 <= index < _MOST:
                raise UpstreamGarbage(f"`{at}/index` is no index")
            self._reasons[index] = str(candidate.get("finishReason") or self._reasons.get(index, ""))
            self.output_bytes += sum(map(_size, gemini_reply.parts(candidate)))
        blocked = gemini_reply.blocked(value)
        self.finish = tuple(self._reasons[index] for index in sorted(self._reasons)) or blocked
        self.ended = bool(blocked) or "error" in value or (bool(self.finish) and all(self.finish))
        self.usage = gemini_reply.usage(value.get("usageMetadata")) or self.usage
        self.model = str(value.get("modelVersion") or self.model)


def _size(part: dict[str, Any]) -> int:
    """UTF-8 bytes of a part: its text, or the JSON of what else it holds."""
    text = part.get("text")
    if type(text) is str:
        return len(text) if text.isascii() else len(text.encode())
    return len(jsonguard.dump(part))


def _answered(asked: _Asked) -> bytes:
    denied = {number: verdict for number, verdict in enumerate(asked.verdicts) if verdict is not None}
    return event(gemini_reply.replaced(asked.value, asked.places, denied)) if denied else asked.raw
