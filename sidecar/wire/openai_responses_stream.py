"""A streamed Responses reply under the screen: from the item that proposes a tool call on, events wait until it is whole and judged.

Items come one after the other and events are numbered, so that all events wait in one line. A denied item's events are replaced by those
of a message at the same place, every copy of it with them (`.done`, `.completed`); later sequence numbers close up. What nothing touched
leaves as its own bytes. Items that only a final event tells of are judged there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sidecar.call import Tool
from sidecar.errors import UpstreamGarbage
from sidecar.wire import jsonguard, openai_errors, sse
from sidecar.wire.base import Piece, Proposal, Release
from sidecar.wire.openai_common import objects, usage_of
from sidecar.wire.openai_items import proposal
from sidecar.wire.openai_responses_reply import finish_of, message_id, message_item, minted_by
from sidecar.wire.screening import Screening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.decision import Refusal

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"})
_ARGUMENTS = {
    "response.function_call_arguments.delta": ("delta", False),
    "response.function_call_arguments.done": ("arguments", True),
    "response.custom_tool_call_input.delta": ("delta", False),
    "response.custom_tool_call_input.done": ("input", True),
}
"""Event type to (the field that holds the text, whether it is all of it)."""
_TEXT = {"function_call": "arguments", "custom_tool_call": "input", "mcp_approval_request": "arguments"}
_QUEUE_FACTOR = 32


@dataclass(slots=True, eq=False)
class _Item:
    """One proposal. `item` is the newest copy; `begun` whether its `added` event was seen (a resumed stream may start later)."""

    item: dict[str, Any]
    begun: bool
    text: list[str] = field(default_factory=list)
    size: int = 0
    whole: bool = False
    judged: bool = False
    over: bool = False
    denied: str | None = None

    def tool(self) -> Tool:
        """What is judged; without arguments where they went over the cap."""
        found = proposal({**self.item, _TEXT.get(str(self.item.get("type")), "action"): None, "operation": None} if self.over else self.item)
        return found or Tool("", kind="unknown")


class _Waiting(NamedTuple):
    raw: bytes
    chunk: dict[str, Any]


class ResponsesScreen(Screening):
    """See `wire.base.StreamScreen`."""

    def __init__(self, *, cap: int, event_limit: int) -> None:
        super().__init__(event_limit)
        self._cap = cap
        self._line: deque[_Waiting] = deque()
        self._line_bytes = 0
        self._due: deque[_Item] = deque()
        self._items: dict[int, _Item] = {}
        self._response: dict[str, Any] = {}
        self._shift = 0
        self._sequence = -1

    def resolve(self, denied: str | None) -> list[Piece]:
        """See `StreamScreen.resolve`."""
        item = self._due.popleft()
        item.judged, item.denied = True, denied
        out = bytearray()
        self._drain(out)
        return self._run(out)

    def terminate(self, refusal: Refusal) -> bytes:
        """`response.incomplete` with the reason `content_filter`. Its output is not repeated; a refusal stands there and says why."""
        self.ended = True
        response = {
            **self._response,
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
            "error": None,
            "output": [{**message_item({"id": "x_sidecar"}, "", "incomplete"), "content": [{"type": "refusal", "refusal": openai_errors.message(refusal)}]}],
        }
        return self._event({"type": "response.incomplete", "response": response})

    def abort(self, refusal: Refusal) -> bytes:
        """The dialect's `error` event; the SDKs hand it to the caller."""
        self.ended = True
        told = openai_errors.error(refusal)
        return self._event({"type": "error", "code": told["code"], "message": told["message"], "param": None})

    def _event(self, chunk: dict[str, Any]) -> bytes:
        self._sequence += 1
        return sse.event(orjson.dumps({**chunk, "sequence_number": self._sequence}), chunk["type"])

    def _run(self, out: bytearray | None = None) -> list[Piece]:
        out = bytearray() if out is None else out
        while not self._due and self._events:
            self._take(self._events.popleft(), out)
        pieces: list[Piece] = [Release(bytes(out))] if out else []
        if self._due:
            pieces.append(Proposal(self._due[0].tool()))
        return pieces

    def _take(self, event: sse.Event, out: bytearray) -> None:
        if self.ended:
            return  # nothing after the end is read by a client, nor judged by us
        if event.data is None or event.data == b"[DONE]":
            out += event.raw
            return
        chunk = jsonguard.parse_object(event.data, UpstreamGarbage)
        kind = chunk.get("type")
        if type(kind) is not str or (event.type and event.type != kind):
            raise UpstreamGarbage("an event has two types, or none")
        self._read(kind, chunk)
        waiting = _Waiting(event.raw, chunk)
        if kind == "error":
            self._line.clear()  # what was held is dropped: nothing more will complete it
            self._line_bytes = 0
        self._line.append(waiting)
        self._line_bytes += len(event.raw)
        if self._line_bytes > self._cap * _QUEUE_FACTOR:
            self._overflow()
        self._drain(out)

    def _read(self, kind: str, chunk: dict[str, Any]) -> None:
        if kind in _ARGUMENTS:
            self._grow(chunk, *_ARGUMENTS[kind])
        elif kind == "response.output_item.added":
            self._begin(_index(chunk), _object(chunk, "item"))
        elif kind == "response.output_item.done":
            self._complete(_index(chunk), _object(chunk, "item"))
        elif type(delta := chunk.get("delta")) is str:
            self.output_bytes += len(delta) if delta.isascii() else len(delta.encode())
        if type(chunk.get("response")) is dict:
            self._note(chunk["response"])
        if kind in _ENDS:
            self.ended = True
            if kind != "error":
                self._overflow()  # what is not whole by now never will be

    def _note(self, response: dict[str, Any]) -> None:
        self._response = response
        self.usage = usage_of(response.get("usage"), "input_tokens", "output_tokens") or self.usage
        if type(response.get("model")) is str:
            self.model = response["model"]
        self.finish = finish_of(response)
        self.minted = tuple(dict.fromkeys((*self.minted, *minted_by(response))))
        for index, item in enumerate(objects(response.get("output"), "output")):
            if index in self._items or proposal(item) is not None:
                self._complete(index, item)

    def _begin(self, index: int, item: dict[str, Any]) -> None:
        if proposal(item) is None:
            return
        if index in self._items:
            raise UpstreamGarbage("an item begins twice")
        self._items[index] = _Item(item, begun=True)
        name = item.get("name")
        self.output_bytes += len(name.encode()) if type(name) is str else 0

    def _grow(self, chunk: dict[str, Any], field: str, all: bool) -> None:
        """More of the arguments. They may come before the item is known where a stream is resumed in its middle."""
        text = chunk.get(field)
        held = self._items.get(_index(chunk))
        if held is None:
            held = self._items[_index(chunk)] = _Item({}, begun=False)
        if type(text) is not str or (held.whole and not held.over):
            raise UpstreamGarbage("a tool call went on after its end")
        name = chunk.get("name")
        if name is not None and held.item.setdefault("name", name) != name:
            raise UpstreamGarbage("a tool call has two readings")
        if all:
            self._same(held, text)
        if all and held.text:
            return
        size = len(text.encode())
        held.size += size
        self.output_bytes += size
        if not held.over:
            held.text.append(text)
        if held.size > self._cap and held.begun and not held.whole:
            self._give_up(held)

    def _same(self, held: _Item, text: Any) -> None:
        """Every copy of the arguments must be the one that was judged: clients read any of them."""
        seen = "".join(held.text)
        # Of a stream that was resumed in the middle of a call only the rest of the arguments was seen.
        if not held.over and seen and (type(text) is not str or not (text == seen if held.begun else text.endswith(seen))):
            raise UpstreamGarbage("a tool call's arguments have two readings")

    def _complete(self, index: int, item: dict[str, Any]) -> None:
        """The item whole: from its `done` event, or from a final event's copy of it."""
        held = self._items.get(index)
        if held is None:
            if proposal(item) is None:
                return
            held = self._items[index] = _Item(item, begun=False)
        if held.whole and not held.over:
            if _print(held.item) != _print(item):
                raise UpstreamGarbage("a tool call has two readings")
            return
        named = held.item.get("name", item.get("name")) == item.get("name")
        if proposal(item) is None or not named or (held.begun and _head(held.item) != _head(item)):
            raise UpstreamGarbage("a tool call has two readings")
        self._same(held, item.get(_TEXT.get(str(item.get("type")), "")))
        held.text.clear()
        held.item = item
        if not held.whole:
            held.whole = True
            self._due.append(held)

    def _give_up(self, held: _Item) -> None:
        """Over the cap: judged by its name alone."""
        held.over = held.whole = True
        held.text.clear()
        self._due.append(held)

    def _overflow(self) -> None:
        """Judge by name what can't be waited for any longer."""
        for held in self._items.values():
            if not held.whole and not held.begun:
                raise UpstreamGarbage("a tool call without a beginning is over the limit")
            if not held.whole:
                self._give_up(held)

    def _drain(self, out: bytearray) -> None:
        while self._line and self._ready(self._line[0].chunk):
            waiting = self._line.popleft()
            self._line_bytes -= len(waiting.raw)
            out += self._written(waiting)

    def _ready(self, chunk: dict[str, Any]) -> bool:
        if "response" in chunk:
            return all(held.judged for held in self._items.values())
        held = self._of(chunk)
        return held is None or held.judged

    def _of(self, chunk: dict[str, Any]) -> _Item | None:
        """The held item that an event is about."""
        index = chunk.get("output_index")
        return self._items.get(index) if type(index) is int else None

    def _written(self, waiting: _Waiting) -> bytes:
        chunk = waiting.chunk
        held = self._of(chunk)
        if held is not None and held.denied is not None:
            return self._replacement(chunk, held, held.denied)
        if type(chunk.get("response")) is dict and type(chunk["response"].get("output")) is list:
            output = [self._output(index, item) for index, item in enumerate(chunk["response"]["output"])]
            if output != chunk["response"]["output"]:
                return self._numbered({**chunk, "response": {**chunk["response"], "output": output}})
        if self._shift:
            return self._numbered(chunk)
        if type(chunk.get("sequence_number")) is int:
            self._sequence = chunk["sequence_number"]
        return waiting.raw

    def _output(self, index: int, item: dict[str, Any]) -> dict[str, Any]:
        held = self._items.get(index)
        return item if held is None or held.denied is None else message_item(item, held.denied)

    def _numbered(self, chunk: dict[str, Any]) -> bytes:
        number = chunk.get("sequence_number")
        if type(number) is int:
            self._sequence = number + self._shift
            chunk = {**chunk, "sequence_number": self._sequence}
        return sse.event(orjson.dumps(chunk), chunk["type"])

    def _replacement(self, chunk: dict[str, Any], held: _Item, text: str) -> bytes:
        """A denied item's events vanish, but its `done`, which becomes a whole message. The numbers close up."""
        number = chunk.get("sequence_number")
        if self._sequence < 0 and type(number) is int:
            self._sequence = number - 1  # a resumed stream starts somewhere
        self._shift -= 1
        if chunk["type"] != "response.output_item.done":
            return b""
        place = {"output_index": chunk["output_index"]}
        part = {**place, "item_id": message_id(held.item), "content_index": 0}
        whole = message_item(held.item, text)
        content = whole["content"][0]
        events: list[dict[str, Any]] = [
            {"type": "response.output_item.added", **place, "item": message_item(held.item, text, "in_progress")},
            {"type": "response.content_part.added", **part, "part": {**content, "text": ""}},
            {"type": "response.output_text.delta", **part, "delta": text, "logprobs": []},
            {"type": "response.output_text.done", **part, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **part, "part": content},
            {"type": "response.output_item.done", **place, "item": whole},
        ]
        self._shift += len(events)
        return b"".join(self._event(event) for event in events)


def _index(chunk: dict[str, Any]) -> int:
    index = chunk.get("output_index")
    if type(index) is not int:
        raise UpstreamGarbage("an event has no output index")
    return index


def _object(chunk: dict[str, Any], name: str) -> dict[str, Any]:
    value = chunk.get(name)
    if type(value) is not dict:
        raise UpstreamGarbage(f"an event has no `{name}`")
    return value


def _head(item: Mapping[str, Any]) -> tuple[object, ...]:
    return (item.get("type"), item.get("name"), item.get("namespace"), item.get("server_label"), item.get("call_id"))


def _print(item: Mapping[str, Any]) -> tuple[object, ...]:
    return (*_head(item), item.get("arguments"), item.get("input"), item.get("action"), item.get("operation"))
