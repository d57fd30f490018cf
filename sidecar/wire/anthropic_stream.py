"""A streamed Anthropic message under screen: events in, the same events out, but each tool use waits for a verdict.

A block that proposes a tool is held from its `content_block_start` to its `content_block_stop`. One that is denied becomes a text
block at the same index, so indices stay gapless; `message_delta` then tells the true stop reason. Its counterpart for whole
replies is `anthropic_reply`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.errors import MalformedCall, UpstreamGarbage
from sidecar.wire import anthropic_errors, anthropic_reply, jsonguard
from sidecar.wire.anthropic_reply import USES, WITHHELD
from sidecar.wire.base import Piece, Proposal, Release
from sidecar.wire.screening import Screening
from sidecar.wire.sse import Event, event

if TYPE_CHECKING:
    from sidecar.call import Call
    from sidecar.decision import Refusal

_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json", "compaction_delta": "content"}


class _Held:
    """A tool use whose arguments are not complete, or not judged."""

    __slots__ = ("arguments", "block", "index", "raw", "size", "stopped")

    def __init__(self, index: Any, block: dict[str, Any], raw: bytes) -> None:
        self.index = index
        self.block = block
        self.raw = [raw]
        self.arguments: list[str] = []
        self.size = 0
        self.stopped = False


class AnthropicScreen(Screening):
    """A `StreamScreen`. States, by what is set: neither `_held` nor `_swallow`: relaying; `_held`: holding or asked; `_swallow`: dropping."""

    def __init__(self, call: Call, cap: int, event_limit: int) -> None:
        super().__init__(event_limit)
        self._call = call
        self._cap = cap
        self._out: list[bytes] = []
        self._held: _Held | None = None
        self._asked = False
        self._swallow: object = None
        """The index of a denied block whose end has not come."""
        self._gone: set[str] = set()
        """Ids of denied uses: what the provider's own tool found for them is withheld too."""
        self._kept = 0
        """Tool uses of the caller's own tools that went through."""
        self._began = False
        self._open: object = None
        """The index of the block that is open at the client."""
        self._usage: dict[str, Any] = {}

    def resolve(self, denied: str | None) -> list[Piece]:
        """Answer the outstanding Proposal."""
        held = self._held
        if held is None or not self._asked:
            return self._run()
        self._asked, self._held = False, None
        if denied is None:
            self._kept += held.block["type"] == "tool_use"
            self._out += held.raw
            self._open = None if held.stopped else held.index
        else:
            self._gone.add(str(held.block.get("id")))
            self._replace(held.index, denied)
            self._swallow = None if held.stopped else held.index
        return self._run()

    def terminate(self, refusal: Refusal) -> bytes:
        """`stop_reason: "refusal"` and the end of the message, after what is open is closed and a start made where none was."""
        self.ended = True
        details = {"type": "refusal", "category": None, "explanation": anthropic_errors.sentence(refusal)}
        delta = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
        usage = {"output_tokens": self.usage.output_tokens if self.usage else 0}
        events = [] if self._began else [_start(self._call)]
        if self._open is not None:
            events.append(_event({"type": "content_block_stop", "index": self._open}))
        events.append(_event({"type": "message_delta", "delta": delta, "usage": usage}))
        return b"".join([*events, _event({"type": "message_stop"})])

    def abort(self, refusal: Refusal) -> bytes:
        """The dialect's error event, which its clients raise; no end of the message."""
        self.ended = True
        return event(jsonguard.dump(anthropic_errors.body(refusal, "")), "error")

    def _run(self) -> list[Piece]:
        """Take events from the queue until it is empty or a tool use must be judged."""
        pieces: list[Piece] = []
        while self._events and not self._asked:
            self._take(self._events.popleft())
        if self._out:
            pieces.append(Release(self._out[0] if len(self._out) == 1 else b"".join(self._out)))
            self._out = []
        if self._asked and self._held is not None:
            pieces.append(Proposal(anthropic_reply.tool(self._held.block, _arguments(self._held, self._cap))))
        return pieces

    def _take(self, item: Event) -> None:
        if item.data is None:
            self._out.append(item.raw)
            return
        value = jsonguard.parse_object(item.data, UpstreamGarbage)
        kind = value.get("type")
        if item.type and item.type != kind:
            raise UpstreamGarbage("an event is named for another type than its own")
        if kind == "content_block_delta":
            self._delta(value, item.raw)
        elif kind == "content_block_start":
            self._block(value, item.raw)
        elif kind == "content_block_stop":
            self._stop(value, item.raw)
        elif kind in ("message_start", "message_delta", "message_stop"):
            self._message(kind, value, item.raw)
        else:
            self.ended = self.ended or kind == "error"
            self.output_bytes += 0 if kind == "ping" else len(item.data)
            self._out.append(item.raw)

    def _block(self, value: dict[str, Any], raw: bytes) -> None:
        block, index = value.get("content_block"), value.get("index")
        if type(block) is not dict or type(block.get("type")) is not str or type(index) is not int or self._held or self._swallow is not None:
            raise UpstreamGarbage("a block begins inside another, or without an index or a type")
        if block.get("type") in USES:
            self._held = _Held(index, block, raw)
            self._grow(jsonguard.dump(block["input"]).decode() if block.get("input") else "")
        elif str(block.get("tool_use_id", "")) in self._gone:
            self._replace(index, WITHHELD)
            self._swallow = index
        else:
            self.output_bytes += _size(block.get("text")) + _size(block.get("thinking"))
            self._open = index
            self._out.append(raw)

    def _delta(self, value: dict[str, Any], raw: bytes) -> None:
        delta = value.get("delta")
        if type(delta) is not dict:
            raise UpstreamGarbage("a delta is no object")
        text = delta.get(_DELTAS.get(str(delta.get("type")), ""))
        self.output_bytes += _size(text)
        if self._held is not None:
            self._mine(self._held.index, value)
            self._held.raw.append(raw)
            if type(text) is str:
                self._held.arguments.append(text)
                self._grow(text)
        elif self._swallow is None:
            # A delta for a block that has ended would add to arguments that were judged.
            self._mine(self._open, value)
            self._out.append(raw)
        else:
            self._mine(self._swallow, value)

    def _stop(self, value: dict[str, Any], raw: bytes) -> None:
        if self._held is not None:
            self._mine(self._held.index, value)
            self._held.raw.append(raw)
            self._held.stopped = self._asked = True
        elif self._swallow is None:
            self._mine(self._open, value)
            self._open = None
            self._out.append(raw)
        else:
            self._mine(self._swallow, value)
            self._swallow = None

    def _grow(self, text: str) -> None:
        """Count what is held; past the cap it is judged without arguments, so that memory stays bounded."""
        held = self._held
        if held is not None:
            held.size += len(text)
            self._asked = held.size > self._cap

    def _mine(self, index: object, value: dict[str, Any]) -> None:
        # Two blocks at a time would let the second pass while the first is judged; the provider sends them one by one.
        if index is None or value.get("index") != index:
            raise UpstreamGarbage("an event of a block that is not open")

    def _message(self, kind: str, value: dict[str, Any], raw: bytes) -> None:
        if self._held or self._swallow is not None:
            raise UpstreamGarbage("the message goes on inside a block")
        if kind == "message_start":
            self._start(value)
        elif kind == "message_stop":
            self.ended = True
        else:
            raw = self._end(value, raw)
        self._out.append(raw)

    def _start(self, value: dict[str, Any]) -> None:
        message = value.get("message")
        if type(message) is not dict or message.get("content") or self._began:
            # Clients take the blocks of a start as said, so a proposal in there would go past the screen.
            raise UpstreamGarbage("a stream must start once, with an empty message")
        self._began = True
        self.model = str(message.get("model") or "")
        self._count(message.get("usage"))
        self.minted = anthropic_reply.minted(self._call, message)

    def _end(self, value: dict[str, Any], raw: bytes) -> bytes:
        self._count(value.get("usage"))
        delta = value.get("delta")
        if type(delta) is not dict:
            raise UpstreamGarbage("a delta is no object")
        self.minted = tuple(dict.fromkeys(self.minted + anthropic_reply.minted(self._call, delta)))
        if delta.get("stop_reason") == "tool_use" and self._gone and not self._kept:
            delta["stop_reason"] = "end_turn"
            raw = _event(value)
        self.finish = anthropic_reply.finish(delta.get("stop_reason"))
        return raw

    def _count(self, usage: Any) -> None:
        """Counts are cumulative; the end repeats some of the start's and leaves out others."""
        if type(usage) is dict:
            self._usage.update({name: number for name, number in usage.items() if type(number) is int})
            self.usage = anthropic_reply.usage(self._usage)

    def _replace(self, index: object, text: str) -> None:
        self._out += [
            _event({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}),
            _event({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text or WITHHELD}}),
            _event({"type": "content_block_stop", "index": index}),
        ]


def _arguments(held: _Held, cap: int) -> dict[str, object] | None:
    """The whole arguments of a held use: its deltas joined, or what its start brought. None where they are no JSON object, or too long."""
    if held.size > cap:
        return None
    if not any(held.arguments):
        return anthropic_reply.own(held.block)
    try:
        return jsonguard.parse_object("".join(held.arguments).encode())
    except (MalformedCall, UnicodeEncodeError):
        return None


def _size(text: Any) -> int:
    return 0 if type(text) is not str else len(text) if text.isascii() else len(text.encode())


def _event(value: dict[str, Any]) -> bytes:
    return event(jsonguard.dump(value), value["type"])


def _start(call: Call) -> bytes:
    usage = {"input_tokens": 0, "output_tokens": 0}
    message: dict[str, Any] = {
        "id": f"msg_{call.id}",
        "type": "message",
        "role": "assistant",
        "model": call.target,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    return _event({"type": "message_start", "message": {**message, "usage": usage}})
