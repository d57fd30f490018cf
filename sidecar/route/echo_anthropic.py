"""The echo in the Anthropic dialect: messages (whole and streamed) and count_tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sidecar.route.echo_script import Memory, Said, Script, count, document, event, objects, pieces, script, texts, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def messages(body: Mapping[str, Any], memory: Memory, _now: int) -> Said:
    """`POST /messages`."""
    said = _script(body)
    message = {
        "id": memory.mint("msg"),
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "echo"),
        "content": _content(said, memory),
        "stop_reason": "tool_use" if said.calls else "max_tokens" if said.cut else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": _read(body), "output_tokens": said.tokens},
    }
    return Said(200, tuple(_events(message, said))) if body.get("stream") else document(message)


def count_tokens(body: Mapping[str, Any], _memory: Memory, _now: int) -> Said:
    """`POST /messages/count_tokens`."""
    return document({"input_tokens": _read(body)})


def _read(body: Mapping[str, Any]) -> int:
    return count(body.get("system")) + count(body.get("messages")) + count(body.get("tools"))


def _script(body: Mapping[str, Any]) -> Script:
    said = [turn for turn in objects(body.get("messages")) if turn.get("role") == "user"]
    content = said[-1].get("content") if said else ""
    results = [block for block in objects(content) if block.get("type") == "tool_result"]
    if results:
        heard = "\n".join(texts(block.get("content")) for block in results)
        return script(heard, (), limit=whole(body.get("max_tokens")), heard="The tool said")
    offered = (str(tool.get("name")) for tool in objects(body.get("tools")) if tool.get("type", "custom") == "custom")
    return script(texts(content), offered, limit=whole(body.get("max_tokens")))


def _content(said: Script, memory: Memory) -> list[dict[str, Any]]:
    if not said.calls:
        return [{"type": "text", "text": said.text}]
    return [{"type": "tool_use", "id": memory.mint("toolu"), "name": call.name, "input": orjson.loads(call.arguments)} for call in said.calls]


def _events(message: dict[str, Any], said: Script) -> Iterator[bytes]:
    usage = message["usage"]
    yield event({"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}})
    yield event({"type": "ping"})
    for index, block in enumerate(message["content"]):
        empty = {**block, "input": {}} if block["type"] == "tool_use" else {**block, "text": ""}
        yield event({"type": "content_block_start", "index": index, "content_block": empty})
        for piece in _deltas(said, index):
            yield event({"type": "content_block_delta", "index": index, "delta": piece})
        yield event({"type": "content_block_stop", "index": index})
    delta: dict[str, Any] = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}})
    yield event({"type": "message_stop"})


def _deltas(said: Script, index: int) -> Iterator[dict[str, str]]:
    if said.calls:
        for piece in pieces(said.calls[index].arguments):
            yield {"type": "input_json_delta", "partial_json": piece}
    for word in said.words:
        yield {"type": "text_delta", "text": word}
