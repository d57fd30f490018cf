"""What runs where: one row for each protocol, operation, phase and direction, whole or streamed. The table that coverage is computed from.

The facts are those of `evaluate/`: `policies.py` and `tools.py` (requests, and tools that stand in them), `reply.py` (replies and
proposals), `quotas.py` (what is counted). `tests/compiler/test_surface.py` drives the evaluator and holds each row to it. A new
operation is a row here, or every rule about it is said never to run.
"""

from __future__ import annotations

from dataclasses import dataclass

REQUEST = "request"
RESPONSE = "response"
REPLY = "reply"
WHOLE = "whole"
STREAM = "stream"

EVERYTHING = frozenset({"route", "cap", "set", "redact", "label", "warn"})
WORDS = frozenset({"label", "warn"})
"""What can be done beside a reply: its bytes are the provider's."""
NOTHING: frozenset[str] = frozenset()

SILENT = {"finish": "", "tokens": 0, "tool_calls": ()}
"""What of `reply` is always so where nothing is generated."""
ABSENT = ("call.args", "call.tool", "call.agent", "call.task", "call.server", "call.session")
"""What of a call may be absent."""


@dataclass(frozen=True, slots=True)
class Place:
    """One row.

    `phase` is what a document's `match.phase` says, `direction` the way the bytes go: a proposed tool call is judged by rules of phase
    `request` and travels in a reply. `shapes`: whole, stream. `sees`: what may be absent and is there. `carries`: obligations that
    can be done; the others are a no, but where nothing is `owed`. `counted`: quotas run. `generates`: a reply has more than a status.
    """

    protocol: str
    operation: str
    phase: str
    direction: str
    shapes: tuple[str, ...] = (WHOLE,)
    sees: frozenset[str] = NOTHING
    carries: frozenset[str] = EVERYTHING
    owed: bool = True
    counted: bool = True
    generates: bool = False

    @property
    def name(self) -> str:
        """As people say it."""
        if self.operation == "tool_call":
            return "tool_call that a model proposes" if self.direction == REPLY else "tool_call that a provider runs"
        return self.operation


_TOOL = frozenset({"call.args", "call.tool"})
_BOTH = (WHOLE, STREAM)

PLACES: tuple[Place, ...] = (
    Place("llm", "chat", REQUEST, REQUEST, _BOTH),
    Place("llm", "embeddings", REQUEST, REQUEST),
    Place("llm", "moderation", REQUEST, REQUEST),
    Place("llm", "count_tokens", REQUEST, REQUEST),
    Place("llm", "models", REQUEST, REQUEST, carries=NOTHING, owed=False),  # the sidecar answers itself
    Place("llm", "tool_call", REQUEST, REQUEST, _BOTH, sees=_TOOL, counted=False),  # stands in the request, which owes what its rules demand
    Place("llm", "tool_call", REQUEST, REPLY, _BOTH, sees=_TOOL, carries=WORDS, counted=False),  # arguments are held until they are whole
    Place("llm", "chat", RESPONSE, REPLY, _BOTH, carries=WORDS, counted=False, generates=True),
    Place("llm", "embeddings", RESPONSE, REPLY, carries=WORDS, counted=False),
    Place("llm", "moderation", RESPONSE, REPLY, carries=WORDS, counted=False),
    Place("llm", "count_tokens", RESPONSE, REPLY, carries=WORDS, counted=False),
)
"""The visible table."""

OPERATIONS = tuple(dict.fromkeys(place.operation for place in PLACES))


def places(phase: str) -> tuple[Place, ...]:
    """The rows of a phase."""
    return tuple(place for place in PLACES if place.phase == phase)


def replies(operation: str) -> bool:
    """Whether replies of this operation are judged by rules of phase `response`."""
    return any(place.operation == operation for place in places(RESPONSE))


def counted(operation: str) -> bool:
    """Whether quotas run on it."""
    return any(place.counted for place in PLACES if place.operation == operation)
