"""The echo in the OpenAI responses dialect: create, retrieve, cancel, delete, and streams. It remembers what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.route.echo_script import Memory, Said, Script, count, document, event, objects, pieces, script, texts, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def create(body: Mapping[str, Any], memory: Memory, now: int) -> Said:
    """`POST /responses`, whole or streamed. An unknown `previous_response_id` is 404."""
    previous = body.get("previous_response_id")
    before = memory.responses.get(previous) if isinstance(previous, str) else None
    if previous is not None and before is None:
        return _unknown()
    said = _script(body)
    read = count(body.get("input")) + count(body.get("instructions")) + (before["usage"]["total_tokens"] if before else 0)
    response = _response(body, memory, now, said)
    response["usage"] = _usage(read, said.tokens)
    if body.get("store") is not False:
        memory.keep(response)
    return Said(200, tuple(_events(response, said))) if body.get("stream") else document(response)


def retrieve(id: str, memory: Memory) -> Said:
    """`GET /responses/{id}`."""
    found = memory.responses.get(id)
    return document(found) if found else _unknown()


def cancel(id: str, memory: Memory) -> Said:
    """`POST /responses/{id}/cancel`."""
    found = memory.responses.get(id)
    if not found:
        return _unknown()
    memory.keep({**found, "status": "cancelled"})
    return document(memory.responses[id])


def delete(id: str, memory: Memory) -> Said:
    """`DELETE /responses/{id}`."""
    if memory.responses.pop(id, None) is None:
        return _unknown()
    return document({"id": id, "object": "response", "deleted": True})


def _unknown() -> Said:
    error = {"message": "no response with that id", "type": "invalid_request_error", "param": None, "code": "not_found"}
    return document({"error": error}, 404)


def _script(body: Mapping[str, Any]) -> Script:
    given = body.get("input", "")
    items = objects(given)
    limit = whole(body.get("max_output_tokens"))
    if items and items[-1].get("type") == "function_call_output":
        return script(texts(items[-1].get("output")), (), limit=limit, heard="The tool said")
    user = next((item.get("content") for item in reversed(items) if item.get("role") == "user"), given if isinstance(given, str) else "")
    offered = (str(tool.get("name")) for tool in objects(body.get("tools")) if tool.get("type") == "function")
    return script(texts(user), offered, limit=limit)


def _usage(read: int, said: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + said,
    }


def _response(body: Mapping[str, Any], memory: Memory, now: int, said: Script) -> dict[str, Any]:
    return {
        "id": memory.mint("resp"),
        "object": "response",
        "created_at": now,
        "status": "incomplete" if said.cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if said.cut else None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "model": body.get("model", "echo"),
        "output": _output(said, memory),
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "temperature": body.get("temperature", 1.0),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
    }


def _output(said: Script, memory: Memory) -> list[dict[str, Any]]:
    if not said.calls:
        part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        status = "incomplete" if said.cut else "completed"
        return [{"type": "message", "id": memory.mint("msg"), "role": "assistant", "status": status, "content": [part]}]
    return [
        {
            "type": "function_call",
            "id": memory.mint("fc"),
            "call_id": memory.mint("call"),
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for call in said.calls
    ]


def _events(response: dict[str, Any], said: Script) -> Iterator[bytes]:
    for number, value in enumerate(_values(response, said)):
        yield event({"sequence_number": number, **value})


def _values(response: dict[str, Any], said: Script) -> Iterator[dict[str, Any]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        yield from _call_values(index, item) if item["type"] == "function_call" else _message_values(index, item, said)
    yield {"type": "response.incomplete" if said.cut else "response.completed", "response": response}


def _call_values(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    at = {"output_index": index, "item_id": item["id"]}
    yield {"type": "response.output_item.added", "output_index": index, "item": {**item, "arguments": "", "status": "in_progress"}}
    for piece in pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **at, "name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _message_values(index: int, item: dict[str, Any], said: Script) -> Iterator[dict[str, Any]]:
    at = {"output_index": index, "item_id": item["id"], "content_index": 0}
    part = item["content"][0]
    yield {"type": "response.output_item.added", "output_index": index, "item": {**item, "content": [], "status": "in_progress"}}
    yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
    for word in said.words:
        yield {"type": "response.output_text.delta", **at, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}
