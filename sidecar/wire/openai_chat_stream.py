"""A streamed chat reply under the screen: tool calls are held until they are whole, judged, then let through or replaced.

Events wait in line behind a call that is not judged yet, but only those of its own choice: with `n=2` the other choice flows on.
What nothing touched leaves as its own bytes. A denied call's entries are taken out of their events, its text stands where it began,
later indices close up, and a `finish_reason` that speaks of tool calls when none is left becomes `stop`.

Counterpart for whole replies: `openai_chat_reply.py`. Knows nothing of why a call is denied.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from sidecar.errors import UpstreamGarbage
from sidecar.wire import jsonguard, openai_errors, sse
from sidecar.wire.base import Piece, Proposal, Release
from sidecar.wire.openai_chat_reply import TOOL_FINISHES, tool_of
from sidecar.wire.openai_common import objects, usage_of
from sidecar.wire.screening import Screening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.call import Tool
    from sidecar.decision import Refusal

_DONE = b"[DONE]"
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_QUEUE_FACTOR = 32
"""Bytes of waiting events per byte of arguments: a one-token delta has some 200 bytes of envelope."""


@dataclass(slots=True, eq=False)
class _Held:
    """One tool call of one choice, as far as it has come."""

    place: int
    """Its index on the client's side, if it is let through: counted over the calls of its choice that were not denied."""
    id: str = ""
    name: str = ""
    kind: str = "function"
    text: list[str] = field(default_factory=list)
    size: int = 0
    whole: bool = False
    judged: bool = False
    denied: str | None = None
    told: bool = False
    """The denial's text has been put into the stream."""
    over: bool = False

    def tool(self) -> Tool:
        """The proposal; without arguments where they went over the cap."""
        arguments = None if self.over else "".join(self.text)
        inner = {"custom": {"name": self.name, "input": arguments}} if self.kind == "custom" else {"function": {"name": self.name, "arguments": arguments}}
        return tool_of({"id": self.id, **inner})


@dataclass(slots=True, eq=False)
class _Choice:
    """One of the answers. `calls` in the order they began; `current` by the upstream's index (-1: the older `function_call`)."""

    calls: list[_Held] = field(default_factory=list)
    current: dict[int, _Held] = field(default_factory=dict)
    finish: str = ""
    closed: bool = False
    """The client has its finish reason."""
    spoke: bool = False

    def left(self) -> bool:
        """Whether a call goes through."""
        return any(call.denied is None for call in self.calls)


@dataclass(slots=True, eq=False)
class _Waiting:
    """An event in line: its bytes, its chunk, and for each choice in it the calls of its entries (in the entries' order)."""

    raw: bytes
    chunk: dict[str, Any]
    calls: dict[int, list[_Held]]

    def ready(self, choices: Mapping[int, _Choice]) -> bool:
        """Whether every call that this event tells of, or that came before its finish reason, is judged."""
        if any(not call.judged for calls in self.calls.values() for call in calls):
            return False
        ends = [choice["index"] for choice in self.chunk["choices"] if choice.get("finish_reason")]
        return all(call.judged for index in ends for call in choices[index].calls)


class ChatScreen(Screening):
    """See `wire.base.StreamScreen`."""

    def __init__(self, *, cap: int, event_limit: int) -> None:
        super().__init__(event_limit)
        self._cap = cap
        self._line: deque[_Waiting] = deque()
        self._line_bytes = 0
        self._due: deque[_Held] = deque()
        self._choices: dict[int, _Choice] = {}
        self._base: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}
        self._done = b""

    def resolve(self, denied: str | None) -> list[Piece]:
        """See `StreamScreen.resolve`."""
        call = self._due.popleft()
        call.judged, call.denied = True, denied
        call.text.clear()
        out = bytearray()
        self._drain(out)
        return self._run(out)

    def terminate(self, refusal: Refusal) -> bytes:
        """`finish_reason: content_filter` on every choice that is open, then `[DONE]`."""
        self.ended = True
        delta = {"refusal": openai_errors.message(refusal)}
        opened = [index for index, choice in self._choices.items() if not choice.closed] or ([] if self._choices else [0])
        chunks = [{**self._base, "choices": [{"index": index, "delta": delta, "finish_reason": "content_filter"}]} for index in opened]
        return b"".join(sse.event(orjson.dumps(chunk)) for chunk in chunks) + sse.event(_DONE)

    def abort(self, refusal: Refusal) -> bytes:
        """An error event, and no `[DONE]`."""
        self.ended = True
        return openai_errors.error_event(refusal)

    def _run(self, out: bytearray | None = None) -> list[Piece]:
        """Take events until one makes a proposal due or none is left. `out` holds what a verdict has set free."""
        out = bytearray() if out is None else out
        while not self._due and self._events:
            self._take(self._events.popleft(), out)
        if not self._due and self._done and not self._line:
            out += self._done
            self._done = b""
        pieces: list[Piece] = [Release(bytes(out))] if out else []
        if self._due:
            pieces.append(Proposal(self._due[0].tool()))
        return pieces

    def _take(self, event: sse.Event, out: bytearray) -> None:
        if self.ended:
            return  # nothing after the end is read by a client, nor judged by us
        if event.data is None:
            out += event.raw
        elif event.data == _DONE:
            self._end(event.raw)
        else:
            self._take_chunk(event.raw, jsonguard.parse_object(event.data, UpstreamGarbage), out)

    def _end(self, raw: bytes) -> None:
        self.ended = True
        self._done = raw
        for choice in self._choices.values():
            self._complete(choice)

    def _take_chunk(self, raw: bytes, chunk: dict[str, Any], out: bytearray) -> None:
        if "error" in chunk and "choices" not in chunk:
            self._line.clear()  # what was held is dropped: nothing more will complete it
            self.ended = True
            out += raw
            return
        choices = self._note(chunk)
        waiting = _Waiting(raw, chunk, {})
        for choice in choices:
            self._read_choice(choice, waiting)
        if not waiting.calls and not self._line and not any(choice.get("finish_reason") for choice in choices):
            out += raw
            return
        self._line.append(waiting)
        self._line_bytes += len(raw)
        if self._line_bytes > self._cap * _QUEUE_FACTOR:
            self._overflow()
        self._drain(out)

    def _note(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """Keep what the end of the stream needs; the choices, each with a usable index."""
        usage = chunk.get("usage")
        if usage:
            self.usage = usage_of(usage) or self.usage
        if not self.model and type(chunk.get("model")) is str:
            self.model = chunk["model"]
            self._base = {name: chunk.get(name, value) for name, value in self._base.items()}
        choices = objects(chunk.get("choices"), "choices")
        chunk["choices"] = choices
        for choice in choices:
            if type(choice.setdefault("index", 0)) is not int or choice["index"] < 0:
                raise UpstreamGarbage("a choice has no index")
        return choices

    def _read_choice(self, choice: dict[str, Any], waiting: _Waiting) -> None:
        state = self._choices.get(choice["index"])
        if state is None:
            state = self._choices[choice["index"]] = _Choice()
        delta = choice.get("delta")
        if "message" in choice or (delta is not None and type(delta) is not dict):
            raise UpstreamGarbage("a chunk's choice is no delta")
        if delta:
            for name in _TEXTS:
                text = delta.get(name)
                if type(text) is str and text:
                    self.output_bytes += len(text) if text.isascii() else len(text.encode())
                    state.spoke = state.spoke or name == "content"
            if delta.get("tool_calls") or delta.get("function_call"):
                waiting.calls[choice["index"]] = [self._read_entry(state, index, entry) for index, entry in _entries(delta, state)]
        finish = choice.get("finish_reason")
        if finish:
            self._finish(state, str(finish))
            self._complete(state)

    def _finish(self, state: _Choice, reason: str) -> None:
        state.finish = reason
        self.finish = tuple(self._choices[index].finish for index in sorted(self._choices))

    def _read_entry(self, state: _Choice, index: int, entry: dict[str, Any]) -> _Held:
        call = state.current.get(index)
        id = entry.get("id")
        if call is None or (id and call.id and id != call.id):
            self._complete(state)
            call = state.current[index] = _Held(0)
            state.calls.append(call)
        if call.judged and not call.over:
            raise UpstreamGarbage("a tool call went on after its end")
        if type(id) is str and id:
            call.id = id
        kind = "custom" if type(entry.get("custom")) is dict else "function"
        inner = entry.get(kind)
        if type(inner) is dict:
            self._grow(call, kind, inner.get("name"), inner.get("input" if kind == "custom" else "arguments"))
        return call

    def _grow(self, call: _Held, kind: str, name: Any, text: Any) -> None:
        if name:
            # Clients either join names or take the last: a name said again, or after the arguments began, has two readings.
            if type(name) is not str or call.judged or call.size or name == call.name or (call.name and kind != call.kind):
                raise UpstreamGarbage("a tool call's name has two readings")
            call.name += name
            call.kind = kind
            self.output_bytes += len(name.encode())
        if text:
            if type(text) is not str:
                raise UpstreamGarbage("a tool call's arguments are no text")
            size = len(text.encode())
            call.size += size
            self.output_bytes += size
            if not call.judged:
                call.text.append(text)
            if call.size > self._cap and not call.whole:
                call.over = True
                self._ask(call)

    def _ask(self, call: _Held) -> None:
        call.whole = True
        self._due.append(call)

    def _complete(self, state: _Choice) -> None:
        for call in state.calls:
            if not call.whole:
                self._ask(call)

    def _overflow(self) -> None:
        for state in self._choices.values():
            for call in state.calls:
                if not call.whole:
                    call.over = True
                    self._ask(call)

    def _drain(self, out: bytearray) -> None:
        """Let go what waits for nothing: in line within a choice, past each other between choices."""
        blocked: set[int] = set()
        kept: deque[_Waiting] = deque()
        for waiting in self._line:
            touched = {choice["index"] for choice in waiting.chunk["choices"]}
            if not touched and not kept:
                out += waiting.raw
            elif touched and not touched & blocked and waiting.ready(self._choices):
                out += self._written(waiting)
            else:
                blocked |= touched
                kept.append(waiting)
        self._line = kept
        self._line_bytes = sum(len(waiting.raw) for waiting in kept)

    def _written(self, waiting: _Waiting) -> bytes:
        """The event as the client gets it: its own bytes, unless a denial changes it."""
        chunk = waiting.chunk
        written: list[dict[str, Any]] = []
        changed = False
        for choice in chunk["choices"]:
            state = self._choices[choice["index"]]
            rewritten = _rewrite(choice, state, waiting.calls.get(choice["index"], []))
            changed = changed or rewritten is not choice
            if rewritten is not None:
                written.append(rewritten)
            if rewritten is not None and rewritten.get("finish_reason"):
                state.closed = True
                self._finish(state, str(rewritten["finish_reason"]))
        if not changed:
            return waiting.raw
        if not written and not chunk.get("usage"):
            return b""
        return sse.event(orjson.dumps({**chunk, "choices": written}))


def _entries(delta: dict[str, Any], state: _Choice) -> Iterator[tuple[int, dict[str, Any]]]:
    """The tool-call entries of a delta with the upstream's index; one that has none is a new call if it has an id, else the last."""
    for entry in objects(delta.get("tool_calls"), "tool_calls"):
        index = entry.get("index")
        if index is None:
            newest = max(state.current, default=-1)
            index = newest + 1 if entry.get("id") or newest < 0 else newest
        if type(index) is not int or index < 0:
            raise UpstreamGarbage("a tool call has no index")
        yield index, entry
    function = delta.get("function_call")
    if function:
        if type(function) is not dict:
            raise UpstreamGarbage("a function call is no object")
        yield -1, {"function": function}


def _rewrite(choice: dict[str, Any], state: _Choice, calls: list[_Held]) -> dict[str, Any] | None:
    """One choice of a chunk after judgement: itself where nothing changes, None where nothing is left of it."""
    places = {id(call): place for place, call in enumerate(call for call in state.calls if call.denied is None)}
    delta = choice.get("delta") or {}
    entries = delta.get("tool_calls") or []
    finish = choice.get("finish_reason")
    kept = [{**entry, "index": places[id(call)]} for entry, call in zip(entries, calls, strict=False) if call.denied is None]
    untold = [call for call in calls if call.denied is not None and not call.told]
    true_finish = "stop" if str(finish) in TOOL_FINISHES and state.calls and not state.left() else finish
    function_gone = "function_call" in delta and bool(calls) and calls[-1].denied is not None
    if true_finish == finish and kept == entries and not untold and not function_gone:
        return choice
    after = {name: value for name, value in delta.items() if name != "tool_calls" and not (name == "function_call" and function_gone)}
    if kept:
        after["tool_calls"] = kept
    text = _tell(untold, state)
    if text:
        after["content"] = (after.get("content") or "") + text
    if not after and not finish:
        return None
    return {**choice, "delta": after, "finish_reason": true_finish}


def _tell(untold: list[_Held], state: _Choice) -> str:
    text = ""
    for call in untold:
        call.told = True
        text += ("\n\n" if state.spoke else "") + (call.denied or "")
        state.spoke = True
    return text
