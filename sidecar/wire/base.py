"""What a dialect is: bytes to `Call`, `Call` to bytes, replies likewise, and a no in its own shape.

One file per dialect, one line in the table of `wire/__init__.py`. A codec is pure and stateless; only the `StreamScreen`
it makes holds state, and that is sans-IO. Codecs know nothing of policy: they raise `errors.CallError` on what they
cannot read and `errors.CannotCarry` on an obligation that has no place in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sidecar.value import value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.call import Call, Member, Outgoing, Tool, Usage
    from sidecar.decision import Refusal
    from sidecar.segment import Edit, Segment


@value
class WireRequest:
    """One request as the listener hands it on. `path` is canonical (`wire.paths.canonical`), header names lower-case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Sequence[tuple[str, str]]
    body: bytes


@value
class Answer:
    """A whole answer of ours."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@value
class ReplyView:
    """A whole reply, read. `tools` are the proposals in order; `minted` the ids its provider made, as (kind, id).

    `finish` holds one reason per choice. `usage` is None where the provider told none.
    """

    body: Mapping[str, object]
    segments: tuple[Segment, ...] = ()
    tools: tuple[Tool, ...] = ()
    usage: Usage | None = None
    finish: tuple[str, ...] = ()
    model: str = ""
    minted: tuple[tuple[str, str], ...] = ()
    pending: bool = False
    """The provider goes on working behind this reply: what it will have used is not told yet."""


@value
class Release:
    """Bytes that may go to the client now."""

    data: bytes


@value
class Proposal:
    """A tool call whose arguments are complete. The driver must `resolve` it before it feeds anything else."""

    tool: Tool


Piece = Release | Proposal


class StreamScreen(Protocol):
    """One streamed reply. Sans-IO: bytes in, pieces out. Untouched events are released as their own bytes.

    Arguments of proposed tool calls are held until complete (to `cap` bytes, past which the proposal has `args=None`).
    A denied one is taken out and replaced by a short text; indices stay gapless, the finish reason true.
    """

    usage: Usage | None
    finish: tuple[str, ...]
    model: str
    minted: tuple[tuple[str, str], ...]
    output_bytes: int
    """UTF-8 bytes of generated text, reasoning and arguments seen so far: our own count when no usage comes."""
    ended: bool
    """The dialect's own end was seen."""

    def feed(self, data: bytes) -> list[Piece]:
        """Take bytes from the upstream. Raises UpstreamGarbage on an event over the size limit or unreadable."""
        ...

    def resolve(self, denied: str | None) -> list[Piece]:
        """Answer the outstanding Proposal: None lets it through, a text takes its place."""
        ...

    def finish_input(self) -> list[Piece]:
        """The upstream closed. Raises UpstreamCut where the dialect's end was missing; what was held is dropped."""
        ...

    def terminate(self, refusal: Refusal) -> bytes:
        """End the client's stream in the dialect's own way after a denial (WIRE.md «In a stream»)."""
        ...

    def abort(self, refusal: Refusal) -> bytes:
        """End the client's stream after an upstream failure: the dialect's error event, no false end marker."""
        ...


class Codec(Protocol):
    """One dialect. Attributes are constants."""

    name: str
    """`openai_chat`: what conditions see as `call.dialect`."""
    family: str
    """`openai` | `anthropic` | `gemini`: what an Upstream's `dialect` says."""
    operation: str

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`, members still empty. `parts` are the path's variables. Raises CallError."""
        ...

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The exact bytes for one member: body re-serialised with edits, the member's model put in."""
        ...

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """Edits that hold parameter `name` (`max_tokens`, `n`, …) at or under `maximum`. Raises CannotCarry."""
        ...

    def set(self, call: Call, name: str, value: object) -> tuple[Edit, ...]:
        """Edits that set parameter `name`. Raises CannotCarry."""
        ...

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        ...

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply with proposal number i taken out and `denied[i]` in its place, gapless, finish reason true."""
        ...

    def screen(self, call: Call, *, cap: int, event_limit: int) -> StreamScreen:
        """A screen for one streamed reply."""
        ...

    def refuse(self, refusal: Refusal, request_id: str) -> Answer:
        """A no in this dialect (WIRE.md «How to say no»). Never echoes content."""
        ...
