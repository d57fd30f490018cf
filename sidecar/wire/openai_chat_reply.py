"""Whole chat replies: all choices to segments and proposals, and back without the denied ones.

Proposals are numbered by one walk (`_proposals`) that reading and writing share, so that number 3 is the same call in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sidecar.call import Tool
from sidecar.errors import UpstreamGarbage
from sidecar.segment import Segment
from sidecar.wire import fields, jsonguard
from sidecar.wire.base import ReplyView
from sidecar.wire.openai_common import custom_tool, function_tool, objects, usage_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOOL_FINISHES = frozenset({"tool_calls", "function_call"})
_APART = frozenset({"role", "tool_calls", "function_call"})
"""Fields of a message that are no text of their own."""
_TEXTS = {"content": "assistant", "refusal": "refusal", "reasoning_content": "reasoning", "reasoning": "reasoning"}


class _Place(NamedTuple):
    choice: int
    call: int  # -1: the older `function_call`
    value: dict[str, Any]


def tool_of(call: Mapping[str, Any]) -> Tool:
    """One entry of `tool_calls`, or an older `function_call` wrapped as one."""
    custom = call.get("custom")
    if type(custom) is dict and "function" in call:
        raise UpstreamGarbage("a tool call is of two kinds")
    if type(custom) is dict:
        return custom_tool(custom.get("name"), custom.get("input"), call.get("id"))
    function = call.get("function")
    if type(function) is not dict:
        return Tool("", kind=str(call.get("type")), call_id=str(call.get("id") or ""))
    return function_tool(function.get("name"), function.get("arguments"), call.get("id"))


def read(data: bytes) -> ReplyView:
    """Bytes to view. Raises UpstreamGarbage."""
    body = jsonguard.parse_object(data, UpstreamGarbage)
    segments: list[Segment] = []
    finish: list[str] = []
    proposing = False
    for index, choice in enumerate(objects(body.get("choices"), "choices")):
        message = _message(choice)
        _read_message(segments, message, f"/choices/{index}/message")
        finish.append(str(choice.get("finish_reason") or ""))
        proposing = proposing or "tool_calls" in message or "function_call" in message
    places = list(_proposals(body)) if proposing else []
    segments += [_arguments(place) for place in places]
    return ReplyView(
        body,
        tuple(segments),
        tuple([tool_of(place.value) for place in places]),
        usage_of(body.get("usage")),
        tuple(finish),
        str(body.get("model") or ""),
    )


def write(view: ReplyView, denied: Mapping[int, str]) -> bytes:
    """The reply's bytes, proposal i taken out where `denied[i]` stands, its text put behind the choice's own."""
    body: dict[str, Any] = dict(view.body)
    if denied:
        places = list(_proposals(body))
        taken: dict[int, list[tuple[int, str]]] = {}
        for number, text in sorted(denied.items()):
            taken.setdefault(places[number].choice, []).append((places[number].call, text))
        body["choices"] = [_without(choice, taken[index]) if index in taken else choice for index, choice in enumerate(body["choices"])]
    return orjson.dumps(body)


def _message(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    if type(message) is not dict:
        raise UpstreamGarbage("a choice has no message")
    return message


def _proposals(body: Mapping[str, Any]) -> Iterator[_Place]:
    for index, choice in enumerate(objects(body.get("choices"), "choices")):
        message = _message(choice)
        for number, call in enumerate(objects(message.get("tool_calls"), "tool_calls")):
            yield _Place(index, number, call)
        if type(message.get("function_call")) is dict:
            yield _Place(index, -1, {"function": message["function_call"]})


def _arguments(place: _Place) -> Segment:
    at = f"/choices/{place.choice}/message/" + (f"tool_calls/{place.call}" if place.call >= 0 else "function_call")
    for kind, field in (("function", "arguments"), ("custom", "input")):
        holder = place.value.get(kind)
        if type(holder) is dict:
            inner = f"/{field}" if place.call < 0 else f"/{kind}/{field}"
            return Segment(at + inner, "assistant", "tool_args", fields.as_text(holder.get(field) or ""))
    return Segment(at, "assistant", "unknown", fields.as_text(place.value))


def _read_message(segments: list[Segment], message: dict[str, Any], at: str) -> None:
    for name, value in message.items():
        if not value or name in _APART:
            continue
        if name != "audio" or type(value) is not dict:
            segments.append(Segment(f"{at}/{name}", "assistant", _TEXTS.get(name, "unknown"), fields.as_text(value)))
            continue
        segments.append(Segment(f"{at}/audio", "assistant", "media", "audio"))
        if value.get("transcript"):
            segments.append(Segment(f"{at}/audio/transcript", "assistant", "assistant", fields.as_text(value["transcript"])))


def _without(choice: dict[str, Any], taken: list[tuple[int, str]]) -> dict[str, Any]:
    message = dict(choice["message"])
    gone = {call for call, _ in taken}
    if -1 in gone:
        del message["function_call"]
    calls = [call for number, call in enumerate(message.pop("tool_calls", None) or []) if number not in gone]
    if calls:
        message["tool_calls"] = calls
    content = message.get("content")
    texts = [text for _, text in taken]
    if type(content) is list:
        message["content"] = [*content, *({"type": "text", "text": text} for text in texts)]
    else:
        message["content"] = "\n\n".join([*([fields.as_text(content)] if content else []), *texts])
    left = bool(calls) or bool(message.get("function_call"))
    finish = choice.get("finish_reason")
    return {**choice, "message": message, "finish_reason": "stop" if str(finish) in TOOL_FINISHES and not left else finish}
