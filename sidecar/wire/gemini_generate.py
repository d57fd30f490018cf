"""`POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent` of the Gemini API: a request to a `Call` and back.

Its parts: `gemini_names` gives fields one spelling, `gemini_parts` reads what a body says, `gemini_reply` a whole reply,
`gemini_stream` a streamed one, `gemini_errors` says no. A stream is asked as SSE (`alt=sse`); the JSON-array form is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sidecar.call import Call, Member, Outgoing
from sidecar.errors import CannotCarry, MalformedCall
from sidecar.segment import Edit
from sidecar.wire import fields, gemini_errors, gemini_names, gemini_parts, gemini_reply, jsonguard, pointer, sealed
from sidecar.wire.gathered import Found
from sidecar.wire.gemini_stream import GeminiScreen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.decision import Refusal
    from sidecar.wire.base import Answer, ReplyView, StreamScreen, WireRequest

_KNOWN = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent", "model"})
_NUMBERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "candidateCount": "n",
    "maxOutputTokens": "max_tokens",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "logprobs": "logprobs",
}
_PARAMS = {**_NUMBERS, "stopSequences": "stop", "responseMimeType": "response_mime_type", "responseLogprobs": "response_logprobs"}
_WIRE = {canonical: wire for wire, canonical in _PARAMS.items()}
_CAPPED = {canonical: wire for wire, canonical in _NUMBERS.items() if wire != "seed"}
_DEFAULTS = {"n": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "logprobs": 0.0}
"""What the provider takes for an absent number: a cap above it needs no edit."""


class GeminiGenerate:
    """The codec of both methods; which one it is, the path says."""

    name = "gemini_generate"
    family = "gemini"
    operation = "chat"

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`, members still empty. `parts`: `model`, `method`. Raises CallError."""
        body = gemini_names.respelt(fields.body_of(request), request.body)
        target = fields.target(parts["model"], "{model}")
        stream = parts["method"].lower() == "streamgeneratecontent"
        if stream and dict(request.query).get("alt") != "sse":
            raise MalformedCall("a stream is served as server-sent events: ask with `?alt=sse`")
        found = Found()
        turns = self.read_body(found, body, target)
        config = self.config(body)
        return Call(
            id=call_id,
            protocol="llm",
            operation=self.operation,
            dialect=self.name,
            target=target,
            method="POST",
            path=request.path,
            stream=stream,
            body=body,
            segments=tuple(found.segments),
            params=_params(config),
            tools=tuple(found.tools),
            refs=tuple(found.refs),
            tokens=fields.estimate(found.segments, turns),
            max_output=_count(config, "maxOutputTokens"),
            choices=_count(config, "candidateCount") or 1,
            bytes=len(request.body),
        )

    def read_body(self, found: Found, body: dict[str, Any], target: str) -> int:
        """All texts, tools and references; the number of contents."""
        return read(found, body, target, "")

    def config(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The generation parameters, or none."""
        return _config(body, "")

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The exact bytes for one member. Raises CannotCarry on an edit inside a signed part."""
        if edits:
            sealed.refuse(call.body, edits, gemini_parts.signed)
        body = {name: value for name, value in pointer.apply(call.body, edits).items() if name != "model"}
        return self.outgoing(call, member, body)

    def outgoing(self, call: Call, member: Member, body: dict[str, Any]) -> Outgoing:
        """The method's own path, with the member's model in it."""
        method, accept = ("streamGenerateContent?alt=sse", "text/event-stream") if call.stream else ("generateContent", "application/json")
        return Outgoing("POST", f"{path_of(member.model)}:{method}", (("content-type", "application/json"), ("accept", accept)), jsonguard.dump(body))

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """Edits that hold a parameter at or under `maximum`; one that is absent is set to it. Raises CannotCarry."""
        config = self.config(call.body or {})
        if name == "thinking_budget":
            return _cap_thinking(config, maximum)
        if name not in _CAPPED:
            raise CannotCarry(f"`{name}` has no place in the Gemini dialect")
        value = config.get(_CAPPED[name])
        if fields.number(_DEFAULTS.get(name, maximum + 1) if value is None else value, name) <= maximum:
            return ()
        return (Edit(f"/generationConfig/{_CAPPED[name]}", fields.whole(maximum)),)

    def set(self, _call: Call, name: str, value: object) -> tuple[Edit, ...]:
        """Edits that set a parameter. Raises CannotCarry."""
        if name == "thinking_budget":
            return (Edit("/generationConfig/thinkingConfig/thinkingBudget", value),)
        if name not in _WIRE:
            raise CannotCarry(f"`{name}` has no place in the Gemini dialect")
        return (Edit(f"/generationConfig/{_WIRE[name]}", value),)

    def read_reply(self, _call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        return gemini_reply.read(body)

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply with proposals taken out."""
        return gemini_reply.write(view, denied)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> StreamScreen:
        """A screen for one streamed reply."""
        return GeminiScreen(call, cap, event_limit)

    def refuse(self, refusal: Refusal, request_id: str) -> Answer:
        """A no in this dialect."""
        return gemini_errors.refuse(refusal, request_id)


def read(found: Found, body: dict[str, Any], target: str, base: str) -> int:
    """Everything a GenerateContentRequest at `base` says; the number of contents. Raises MalformedCall."""
    model = body.get("model")
    if model is not None and fields.target(model, f"{base}/model").removeprefix("models/") != target:
        raise MalformedCall(f"`{base}/model` is not the model of the path")
    if body.get("systemInstruction") is not None:
        gemini_parts.content(found, _instruction(body["systemInstruction"], base), f"{base}/systemInstruction")
    turns = gemini_parts.contents(found, body.get("contents"), f"{base}/contents")
    gemini_parts.tools(found, body.get("tools"), f"{base}/tools")
    _read_config(found, body, base)
    cached = body.get("cachedContent")
    if cached is not None:
        found.refs.append(("cached_content", fields.text(cached, f"{base}/cachedContent")))
    found.segments += fields.unknown(body, _KNOWN, base)
    return turns


def _instruction(value: Any, base: str) -> dict[str, Any]:
    """A system instruction speaks as the system, whatever role it is given."""
    return {**fields.mapping(value, f"{base}/systemInstruction"), "role": "system"}


def _read_config(found: Found, body: Mapping[str, Any], base: str) -> None:
    for name, value in _config(body, base).items():
        if name in _NUMBERS:
            if value is not None and type(value) is not int and type(value) is not float:
                raise MalformedCall(f"`{base}/generationConfig/{name}` must be a number")
        else:
            found.leaves(value, f"{base}/generationConfig/{pointer.escape(name)}", "", "input")
    for name in ("toolConfig", "safetySettings"):
        found.leaves(body.get(name), f"{base}/{name}", "", "input")
    tools = body.get("toolConfig")
    calling = tools.get("functionCallingConfig") if type(tools) is dict else None
    if type(calling) is dict and calling.get("streamFunctionCallArguments"):
        raise MalformedCall("`streamFunctionCallArguments` is not carried: a call is judged when its arguments are whole")


def _config(body: Mapping[str, Any], base: str) -> dict[str, Any]:
    value = body.get("generationConfig")
    return {} if value is None else fields.mapping(value, f"{base}/generationConfig")


def _params(config: Mapping[str, Any]) -> dict[str, object]:
    found = fields.params(config, _PARAMS)
    thinking = config.get("thinkingConfig")
    if type(thinking) is dict:
        if type(thinking.get("thinkingBudget")) is int:
            found["thinking_budget"] = thinking["thinkingBudget"]
        if type(thinking.get("thinkingLevel")) is str:
            found["reasoning_effort"] = thinking["thinkingLevel"].lower()
    return found


def _count(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise MalformedCall(f"`/generationConfig/{name}` must be a whole number")
    return value


def _cap_thinking(config: Mapping[str, Any], maximum: float) -> tuple[Edit, ...]:
    """Absent or -1 lets the model choose, so both are set to the maximum."""
    thinking = {} if config.get("thinkingConfig") is None else config["thinkingConfig"]
    if type(thinking) is not dict or "thinkingLevel" in thinking:
        raise CannotCarry("a thinking level has no budget that could be capped")
    value = thinking.get("thinkingBudget")
    if value is not None and 0 <= fields.number(value, "thinking_budget") <= maximum:
        return ()
    return (Edit("/generationConfig/thinkingConfig/thinkingBudget", fields.whole(maximum)),)


def path_of(model: str) -> str:
    """Under the upstream's URL, which holds the version."""
    return f"/models/{quote(model, safe='-._~')}"


CODEC = GeminiGenerate()
