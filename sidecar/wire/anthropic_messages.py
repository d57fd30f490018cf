"""`POST /v1/messages` of the Anthropic API: a request to a `Call` and back, and the doors to its replies and streams.

Its parts: `anthropic_blocks` reads what a body says, `anthropic_reply` a whole reply, `anthropic_stream` a streamed one,
`anthropic_errors` says no. What the provider would serve by another model than the one asked (`fallbacks`) is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sidecar.call import Call, Member, Outgoing, Tool
from sidecar.errors import CannotCarry, MalformedCall
from sidecar.segment import Edit
from sidecar.wire import anthropic_blocks, anthropic_errors, anthropic_reply, fields, jsonguard, pointer, sealed
from sidecar.wire.anthropic_blocks import Blocks
from sidecar.wire.anthropic_stream import AnthropicScreen
from sidecar.wire.paths import with_query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.decision import Refusal
    from sidecar.wire.base import Answer, ReplyView, StreamScreen, WireRequest

_KNOWN = frozenset({
    "model", "messages", "system", "max_tokens", "metadata", "stop_sequences", "stream", "temperature", "top_k", "top_p", "thinking",
    "tools", "tool_choice", "service_tier", "container", "mcp_servers", "inference_geo", "speed", "output_config", "thread", "fallbacks",
    "cache_control",
})  # fmt: skip
_PARAMS = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
    "service_tier": "service_tier",
    "inference_geo": "inference_geo",
    "speed": "speed",
}
_SETTABLE = {canonical: wire for wire, canonical in _PARAMS.items()}
_CAPPED = frozenset({"max_tokens", "temperature", "top_p", "top_k"})
_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_QUERY = {"beta": re.compile("true")}
_BETA = re.compile(
    # Flags that change how a model thinks, counts, caches or words its answer, or bring tools that this codec sees. Others are
    # dropped: fallbacks to other models, history kept at the provider, profiles, and what is not known yet.
    r"(?:advanced-tool-use|advisor-tool|bash|cache-diagnosis|claude-code|code-execution|compact|computer-use|context-1m|context-management"
    r"|dev-full-thinking|effort|extended-cache-ttl|fast-mode|files-api|fine-grained-tool-streaming|inline-tools|interleaved-thinking"
    r"|max-tokens-3-5-sonnet|mcp-client|mid-conversation-tool-changes|mid-conversation-output-config|mid-conversation-system-clear-at"
    r"|model-context-window-exceeded|oauth|output-128k|output-300k|pdfs|prompt-caching|prompt-caching-scope|redact-thinking|search-results"
    r"|skills|structured-outputs|task-budgets|text-editor|thinking-binding-controls|thinking-display-updates|thinking-token-count"
    r"|token-counting|token-efficient-tools|tool-search-tool|web-fetch|web-search)-[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
)


class AnthropicMessages:
    """The codec. `path` is the endpoint's under an upstream's URL."""

    name = "anthropic_messages"
    family = "anthropic"
    operation = "chat"
    path = "/messages"

    def read_call(self, call_id: str, request: WireRequest, _parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`, members still empty. Raises CallError."""
        body = fields.body_of(request)
        target = fields.target(body.get("model"))
        if body.get("fallbacks") is not None:
            raise MalformedCall("`/fallbacks` names models that would serve without being decided; routes do this here")
        found = Blocks()
        turns = _read(found, body)
        return Call(
            id=call_id,
            protocol="llm",
            operation=self.operation,
            dialect=self.name,
            target=target,
            method="POST",
            path=request.path,
            stream=self.streams(body),
            body=body,
            segments=tuple(found.segments),
            params=_params(body),
            tools=tuple(found.tools),
            refs=tuple(found.refs),
            tokens=fields.estimate(found.segments, turns),
            max_output=fields.count(body, "max_tokens"),
            bytes=len(request.body),
            headers=carried(request.headers),
            query=fields.queried(request.query, _QUERY),
        )

    def streams(self, body: Mapping[str, Any]) -> bool:
        """Whether the reply will be a stream."""
        return fields.flag(body, "stream")

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The exact bytes for one member. Raises CannotCarry on an edit inside a signed block."""
        if edits:
            sealed.refuse(call.body, edits, anthropic_blocks.signed)
        body = {**pointer.apply(call.body, edits), "model": member.model}
        accept = "text/event-stream" if call.stream else "application/json"
        headers = (("content-type", "application/json"), ("accept", accept), *call.headers)
        return Outgoing("POST", with_query(self.path, call.query), headers, jsonguard.dump(body))

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """Edits that hold a parameter at or under `maximum`; one that is absent is set to it. Raises CannotCarry."""
        body: Mapping[str, Any] = call.body or {}
        if name == "n":
            return ()
        if name == "thinking_budget":
            if (body.get("thinking") or {}).get("type") == "adaptive":
                raise CannotCarry("adaptive thinking has no budget that could be capped")
            return _cap_thinking(body, maximum)
        if name not in _CAPPED:
            raise CannotCarry(f"`{name}` has no place in the Anthropic dialect")
        edits = _capped(body.get(name), f"/{name}", maximum)
        # The provider wants max_tokens above the thinking budget: a cap on the one lowers the other.
        return (*edits, *_cap_thinking(body, maximum - 1)) if name == "max_tokens" else edits

    def set(self, _call: Call, name: str, value: object) -> tuple[Edit, ...]:
        """Edits that set a parameter. Raises CannotCarry."""
        if name == "user":
            return (Edit("/metadata/user_id", value),)
        if name == "thinking_budget":
            return (Edit("/thinking", {"type": "enabled", "budget_tokens": value}),)
        if name not in _SETTABLE:
            raise CannotCarry(f"`{name}` has no place in the Anthropic dialect")
        return (Edit(f"/{_SETTABLE[name]}", value),)

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        return anthropic_reply.read(call, body)

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply with proposals taken out."""
        return anthropic_reply.write(view, denied)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> StreamScreen:
        """A screen for one streamed reply."""
        return AnthropicScreen(call, cap, event_limit)

    def refuse(self, refusal: Refusal, request_id: str) -> Answer:
        """A no in this dialect."""
        return anthropic_errors.refuse(refusal, request_id)


def _read(found: Blocks, body: dict[str, Any]) -> int:
    """All texts, tools and references of a body; the number of messages."""
    if body.get("system") is not None:
        anthropic_blocks.content(found, body["system"], "/system", "system", "system")
    turns = anthropic_blocks.messages(found, body.get("messages"))
    if body.get("tools") is not None:
        for index, tool in enumerate(fields.array(body["tools"], "/tools")):
            found.tool(tool, f"/tools/{index}")
    if body.get("mcp_servers") is not None:
        _read_servers(found, body["mcp_servers"])
    for name in ("metadata", "tool_choice", "output_config", "stop_sequences", "inference_geo", "service_tier", "speed"):
        if name in body:
            found.leaves(body[name], f"/{name}", "", "input")
    _read_references(found, body)
    found.segments += fields.unknown(body, _KNOWN)
    return turns


def _read_servers(found: Blocks, value: Any) -> None:
    for index, item in enumerate(fields.array(value, "/mcp_servers")):
        at = f"/mcp_servers/{index}"
        name = fields.text(fields.mapping(item, at).get("name"), f"{at}/name")
        found.tools.append(Tool(name, kind="mcp"))
        found.leaves(item, at, "", "tool_definition")


def _read_references(found: Blocks, body: Mapping[str, Any]) -> None:
    """A container or a message of an earlier turn: history or files at the provider, by id."""
    container = body.get("container")
    if type(container) is dict:
        found.leaves({name: value for name, value in container.items() if name != "id"}, "/container", "", "input")
        container = container.get("id")
    if container is not None:
        found.refs.append(("container", fields.text(container, "/container")))
    thread = body.get("thread")
    if thread is not None:
        found.leaves(thread, "/thread", "", "input")
        previous = fields.mapping(thread, "/thread").get("previous_message_id")
        if previous is not None:
            found.refs.append(("message", fields.text(previous, "/thread/previous_message_id")))


def _params(body: Mapping[str, Any]) -> dict[str, object]:
    found = fields.params(body, _PARAMS)
    thinking = body.get("thinking")
    if thinking is not None:
        kind = fields.mapping(thinking, "/thinking").get("type")
        if type(kind) is str:
            found["thinking"] = kind
        if type(thinking.get("budget_tokens")) is int:
            found["thinking_budget"] = thinking["budget_tokens"]
    return found


def carried(headers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that may travel: the version, and the beta flags that are listed, joined. A version said twice is none."""
    versions, flags = [], []
    for name, value in headers:
        if name == "anthropic-version":
            versions.append(value)
        elif name == "anthropic-beta":
            flags.append(value)
    found = []
    if len(versions) == 1 and _VERSION.fullmatch(versions[0]):
        found.append(("anthropic-version", versions[0]))
    if flags and (kept := _listed(",".join(flags))):
        found.append(("anthropic-beta", kept))
    return tuple(found)


@lru_cache(maxsize=256)
def _listed(flags: str) -> str:
    """Of a comma-separated list the flags that may travel. A client sends the same list with every call."""
    return ",".join(dict.fromkeys(flag for flag in map(str.strip, flags.split(",")) if _BETA.fullmatch(flag)))


def _capped(value: Any, at: str, maximum: float) -> tuple[Edit, ...]:
    if value is not None and fields.number(value, at) <= maximum:
        return ()
    return (Edit(at, fields.whole(maximum)),)


def _cap_thinking(body: Mapping[str, Any], maximum: float) -> tuple[Edit, ...]:
    """A budget that is given is lowered; thinking without a budget can't be held by one."""
    thinking = body.get("thinking")
    if thinking is None or thinking.get("type") == "disabled" or "budget_tokens" not in thinking:
        return ()
    return _capped(thinking["budget_tokens"], "/thinking/budget_tokens", maximum)


CODEC = AnthropicMessages()
