"""OpenAI chat completions: `POST /v1/chat/completions`. Its streams are `openai_chat_stream.py`, its whole replies `openai_chat_reply.py`.

Read from openai-python 3.54's request types. Every message, role, part, tool definition and echoed tool call becomes a segment; what
is not known passes as a segment of origin `unknown`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sidecar.call import Call, Tool
from sidecar.errors import MalformedCall
from sidecar.segment import Segment
from sidecar.wire import fields, openai_chat_reply
from sidecar.wire.openai_chat_stream import ChatScreen
from sidecar.wire.openai_common import OpenAICodec, canonical_arguments, label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.wire.base import ReplyView, WireRequest

ORIGINS = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool_result",
    "function": "tool_result",
}
"""Role to the origin of its texts."""

SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "n": "n",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stream": "stream",
    "logprobs": "logprobs",
    "user": "user",
}
"""Parameters that chat and the older completions share: wire name to canonical name."""

_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "reasoning_content", "reasoning", "audio"})
_MEDIA = {"image_url": "image", "input_audio": "audio", "file": "file", "video_url": "video"}
_FUNCTION = frozenset({"name", "description", "parameters", "strict"})


class Chat(OpenAICodec):
    """The codec. See `wire.base.Codec`."""

    name = "openai_chat"
    path = "/chat/completions"
    params: ClassVar[Mapping[str, str]] = {
        **SAMPLING,
        "max_tokens": "max_tokens",
        "max_completion_tokens": "max_tokens",
        "top_logprobs": "top_logprobs",
        "reasoning_effort": "reasoning_effort",
        "verbosity": "verbosity",
        "store": "store",
        "service_tier": "service_tier",
        "parallel_tool_calls": "parallel_tool_calls",
        "tool_choice": "tool_choice",
        "safety_identifier": "safety_identifier",
        "prompt_cache_key": "prompt_cache_key",
        "prompt_cache_retention": "prompt_cache_retention",
    }
    read = frozenset({"model", "messages", "tools", "functions", "web_search_options"})
    known = frozenset({"audio", "function_call", "logit_bias", "metadata", "modalities", "prediction", "response_format", "stream_options"})
    settable = frozenset(
        {"temperature", "top_p", "n", "seed", "stop", "presence_penalty", "frequency_penalty", "reasoning_effort", "verbosity", "store"}
        | {"service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key", "user", "metadata"}
    )
    defaults: ClassVar[Mapping[str, float]] = {"n": 1, "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "top_logprobs": 0}
    limits = ("max_completion_tokens", "max_tokens")

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`. Raises MalformedCall, WrongMediaType."""
        body = fields.body_of(request)
        target = fields.target(body.get("model"))
        segments: list[Segment] = []
        messages = fields.array(body.get("messages"), "/messages")
        refs: list[tuple[str, str]] = []
        for index, message in enumerate(messages):
            _read_message(segments, refs, message, f"/messages/{index}")
        tools = _read_tools(segments, body) if "tools" in body or "functions" in body or "web_search_options" in body else ()
        params = self.read_rest(body, segments)
        return Call(
            id=call_id,
            protocol="llm",
            operation="chat",
            dialect="openai_chat",
            target=target,
            path=request.path,
            stream=fields.flag(body, "stream"),
            body=body,
            segments=tuple(segments),
            params=params,
            tools=tools,
            refs=tuple(refs),
            tokens=fields.estimate(segments, len(messages)),
            max_output=_limit(body),
            choices=_choices(body),
            bytes=len(request.body),
            headers=self.headers_of(request),
        )

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        return openai_chat_reply.read(body)

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply without its denied proposals."""
        return openai_chat_reply.write(view, denied)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> ChatScreen:
        """A screen for one stream."""
        return ChatScreen(cap=cap, event_limit=event_limit)


def _limit(body: dict[str, Any]) -> int | None:
    old, new = fields.count(body, "max_tokens"), fields.count(body, "max_completion_tokens")
    return new if old is None else old if new is None else max(old, new)


def _choices(body: dict[str, Any]) -> int:
    asked = fields.count(body, "n")
    if asked == 0:
        raise MalformedCall("`/n` must be at least 1")
    return asked or 1


def _read_message(segments: list[Segment], refs: list[tuple[str, str]], message: Any, at: str) -> None:
    if type(message) is not dict:
        raise MalformedCall(f"`{at}` must be an object")
    role = message.get("role")
    if type(role) is not str:
        raise MalformedCall(f"`{at}/role` must be a string")
    origin = ORIGINS.get(role, "unknown")
    content = message.get("content")
    if type(content) is str:
        segments.append(Segment(at + "/content", role, origin, content))
    elif content is not None:
        for index, part in enumerate(fields.array(content, f"{at}/content")):
            _read_part(segments, refs, part, (role, origin), f"{at}/content/{index}")
    if origin == "unknown":
        segments.append(Segment(f"{at}/role", "", "unknown", role))
    if len(message) > 2 or "content" not in message:  # it has a role, so that more than two fields are more than role and content
        _read_asides(segments, message, role, origin, at)


def _read_asides(segments: list[Segment], message: dict[str, Any], role: str, origin: str, at: str) -> None:
    """All of a message but its role and content."""
    for name, kind in (("name", origin), ("refusal", "refusal"), ("reasoning_content", "reasoning"), ("reasoning", "reasoning")):
        if message.get(name) is not None:
            segments.append(Segment(f"{at}/{name}", role, kind, fields.as_text(message[name])))
    label(segments, f"{at}/tool_call_id", message.get("tool_call_id"))
    for index, call in enumerate(fields.array(message.get("tool_calls") or [], f"{at}/tool_calls")):
        _read_tool_call(segments, fields.mapping(call, f"{at}/tool_calls/{index}"), f"{at}/tool_calls/{index}")
    if message.get("function_call") is not None:
        _read_function(segments, fields.mapping(message["function_call"], f"{at}/function_call"), f"{at}/function_call")
    if message.get("audio") is not None:
        segments.append(Segment(f"{at}/audio", role, "media", "audio"))
    segments += fields.unknown(message, _MESSAGE, at)


def _read_tool_call(segments: list[Segment], call: dict[str, Any], at: str) -> None:
    label(segments, f"{at}/id", call.get("id"))
    if "function" in call:
        _read_function(segments, fields.mapping(call["function"], f"{at}/function"), f"{at}/function")
    if "custom" in call:
        custom = fields.mapping(call["custom"], f"{at}/custom")
        label(segments, f"{at}/custom/name", custom.get("name"))
        segments.append(Segment(f"{at}/custom/input", "assistant", "tool_args", fields.text(custom.get("input", ""), f"{at}/custom/input")))
        segments += fields.unknown(custom, frozenset({"name", "input"}), f"{at}/custom")
    label(segments, f"{at}/type", call.get("type"))
    segments += fields.unknown(call, frozenset({"id", "type", "function", "custom", "index"}), at)


def _read_function(segments: list[Segment], function: dict[str, Any], at: str) -> None:
    label(segments, f"{at}/name", function.get("name"))
    segments.append(Segment(f"{at}/arguments", "assistant", "tool_args", canonical_arguments(function, "arguments", f"{at}/arguments")))
    segments += fields.unknown(function, frozenset({"name", "arguments"}), at)


def _read_part(segments: list[Segment], refs: list[tuple[str, str]], part: Any, told: tuple[str, str], at: str) -> None:
    part = fields.mapping(part, at)
    kind = fields.text(part.get("type", ""), f"{at}/type")
    role, origin = told
    if kind in ("text", "refusal"):
        text = fields.text(part.get(kind), f"{at}/{kind}")
        segments.append(Segment(f"{at}/{kind}", role, "refusal" if kind == "refusal" else origin, text))
        segments += fields.unknown(part, frozenset({"type", kind}), at)
    elif kind in _MEDIA:
        _read_media(segments, refs, part, (role, origin, kind), at)
    else:
        segments.append(Segment(at, role, "unknown", fields.as_text(part)))


def _read_media(segments: list[Segment], refs: list[tuple[str, str]], part: dict[str, Any], told: tuple[str, str, str], at: str) -> None:
    """A picture, sound or file can't be scanned; its address and its name can."""
    role, origin, kind = told
    segments.append(Segment(at, role, "media", _MEDIA[kind]))
    holder = fields.mapping(part.get(kind), f"{at}/{kind}")
    for name, value in holder.items():
        if name == "file_id":
            refs.append(("file", fields.text(value, f"{at}/{kind}/file_id")))
        elif type(value) is str and name not in {"data", "file_data", "detail", "format"} and value[:5] != "data:":
            segments.append(Segment(f"{at}/{kind}/{name}", role, origin, value))
        elif type(value) is dict or type(value) is list:
            segments.append(Segment(f"{at}/{kind}/{name}", role, "unknown", fields.as_text(value)))
    segments += fields.unknown(part, frozenset({"type", kind}), at)


def _read_tools(segments: list[Segment], body: dict[str, Any]) -> tuple[Tool, ...]:
    """Definitions become segments; what the provider would run itself becomes a tool that policy judges."""
    provider: list[Tool] = []
    for index, tool in enumerate(fields.array(body.get("tools") or [], "/tools")):
        _read_tool(segments, provider, fields.mapping(tool, f"/tools/{index}"), f"/tools/{index}")
    for index, function in enumerate(fields.array(body.get("functions") or [], "/functions")):
        _read_definition(segments, fields.mapping(function, f"/functions/{index}"), f"/functions/{index}")
    search = body.get("web_search_options")
    if search is not None:
        provider.append(Tool("web_search", kind="web_search", args=fields.mapping(search, "/web_search_options")))
        segments.append(Segment("/web_search_options", "", "tool_definition", fields.as_text(search)))
    return tuple(provider)


def _read_tool(segments: list[Segment], provider: list[Tool], tool: dict[str, Any], at: str) -> None:
    kind = fields.text(tool.get("type"), f"{at}/type")
    if kind == "function":
        _read_definition(segments, fields.mapping(tool.get("function"), f"{at}/function"), f"{at}/function")
        segments += fields.unknown(tool, frozenset({"type", "function"}), at)
        return
    segments.append(Segment(at, "", "tool_definition", fields.as_text(tool)))
    if kind != "custom":
        provider.append(Tool(kind, kind=kind, args=tool))


def _read_definition(segments: list[Segment], function: dict[str, Any], at: str) -> None:
    label(segments, f"{at}/name", fields.text(function.get("name"), f"{at}/name"))
    for name in ("description", "parameters"):
        value = function.get(name)
        if value is not None:
            segments.append(Segment(f"{at}/{name}", "", "tool_definition", fields.as_text(value)))
    segments += fields.unknown(function, _FUNCTION, at)


CODEC = Chat()
