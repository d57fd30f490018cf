"""OpenAI Responses: `POST /v1/responses`, and the stored ones under `/v1/responses/{id}` (retrieve, delete, cancel, input items).

A response's id is minted by its provider and belongs to who made it: calls name it in `refs`, replies tell it in `minted`. Items are
`openai_items.py`, streams `openai_responses_stream.py`, whole replies `openai_responses_reply.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from sidecar.call import Call, Member, Outgoing
from sidecar.errors import CannotCarry, MalformedCall
from sidecar.segment import Edit, Segment
from sidecar.wire import fields, openai_responses_reply, paths
from sidecar.wire.openai_common import OpenAICodec
from sidecar.wire.openai_items import Reading, read_item, read_tool
from sidecar.wire.openai_responses_stream import ResponsesScreen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.wire.base import ReplyView, WireRequest

_WORD = re.compile(r"[A-Za-z0-9_.\[\]]{1,128}")
_QUERY = {
    "include": _WORD,
    "include[]": _WORD,
    "stream": re.compile("true|false"),
    "starting_after": re.compile("[0-9]{1,18}"),
    "include_obfuscation": re.compile("true|false"),
    "after": re.compile(r"[A-Za-z0-9_-]{1,256}"),
    "before": re.compile(r"[A-Za-z0-9_-]{1,256}"),
    "limit": re.compile("[0-9]{1,4}"),
    "order": re.compile("asc|desc"),
}
_REPEATED = frozenset({"include", "include[]"})
_NESTED = {"reasoning_effort": "/reasoning/effort", "verbosity": "/text/verbosity"}


class _Replies(OpenAICodec):
    """Replies are the same for new and for stored responses: a retrieved one is screened like a fresh one."""

    name = "openai_responses"

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        return openai_responses_reply.read(body)

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply with denied items replaced by messages."""
        return openai_responses_reply.write(view, denied)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> ResponsesScreen:
        """A screen for one stream."""
        return ResponsesScreen(cap=cap, event_limit=event_limit)


class Responses(_Replies):
    """The codec of `POST /v1/responses`. See `wire.base.Codec`."""

    path = "/responses"
    params: ClassVar[Mapping[str, str]] = {
        "max_output_tokens": "max_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "top_logprobs": "top_logprobs",
        "stream": "stream",
        "store": "store",
        "background": "background",
        "service_tier": "service_tier",
        "truncation": "truncation",
        "max_tool_calls": "max_tool_calls",
        "parallel_tool_calls": "parallel_tool_calls",
        "tool_choice": "tool_choice",
        "user": "user",
        "safety_identifier": "safety_identifier",
        "prompt_cache_key": "prompt_cache_key",
        "prompt_cache_retention": "prompt_cache_retention",
    }
    read = frozenset({"model", "input", "instructions", "tools", "previous_response_id", "conversation", "prompt", "reasoning", "text"})
    known = frozenset({"include", "metadata", "stream_options", "context_management", "moderation", "background_options", "prompt_cache_options"})
    settable = frozenset(
        {"temperature", "top_p", "store", "background", "service_tier", "truncation", "max_tool_calls", "parallel_tool_calls"}
        | {"safety_identifier", "prompt_cache_key", "user", "metadata"}
    )
    defaults: ClassVar[Mapping[str, float]] = {"temperature": 1, "top_p": 1, "top_logprobs": 0}
    limits = ("max_output_tokens",)

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`. Raises MalformedCall, WrongMediaType."""
        body = fields.body_of(request)
        target = fields.target(body.get("model"))
        reading = Reading()
        items = _read_input(reading, body)
        _read_refs(reading, body)
        params = {**self.read_rest(body, reading.segments), **_read_nested(reading, body)}
        return Call(
            id=call_id,
            protocol="llm",
            operation="chat",
            dialect=self.name,
            target=target,
            path=request.path,
            stream=fields.flag(body, "stream"),
            body=body,
            segments=tuple(reading.segments),
            params=params,
            tools=tuple(reading.tools),
            refs=tuple(reading.refs),
            tokens=fields.estimate(reading.segments, items),
            max_output=fields.count(body, "max_output_tokens"),
            bytes=len(request.body),
            headers=self.headers_of(request),
        )

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """See `Codec.cap`. There is one answer, so every cap of `n` from 1 on holds; an absent `max_tool_calls` has no bound and gets one."""
        if name == "n" and maximum >= 1:
            return ()
        if name == "max_tool_calls":
            value = (call.body or {}).get(name)
            held = value is not None and fields.number(value, name) <= maximum
            return () if held else (Edit("/max_tool_calls", fields.whole(maximum)),)
        return super().cap(call, name, maximum)

    def set(self, call: Call, name: str, value: object) -> tuple[Edit, ...]:
        """See `Codec.set`."""
        if name in _NESTED:
            return (Edit(_NESTED[name], value),)
        return super().set(call, name, value)


class Stored(_Replies):
    """The codec of `/v1/responses/{id}` and below: no body, no model; whose it is decides."""

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """A call on a stored response. Raises MalformedCall on query parameters that can't be."""
        query = fields.queried(request.query, _QUERY, _REPEATED)
        if request.body and request.body.strip() != b"{}":
            raise MalformedCall("this endpoint takes no body")
        return Call(
            id=call_id,
            protocol="llm",
            operation="chat",
            dialect=self.name,
            target="",
            method=request.method,
            path="/v1/responses/" + "/".join([parts["id"], *([parts["action"].lower()] if "action" in parts else [])]),
            stream=("stream", "true") in query and request.method == "GET" and "action" not in parts,
            refs=(("response", parts["id"]),),
            max_output=0,
            headers=self.headers_of(request),
            query=query,
        )

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The exact request. Raises CannotCarry on edits: there is nothing to edit."""
        if edits:
            raise CannotCarry("a stored response can't be edited")
        accept = "text/event-stream" if call.stream else "application/json"
        path = paths.with_query(call.path.removeprefix("/v1"), call.query)
        return Outgoing(call.method, path, (("accept", accept), *call.headers), b"")

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """Nothing is generated by these calls, so every cap holds."""
        return ()

    def set(self, call: Call, name: str, value: object) -> NoReturn:
        """There is nothing to set."""
        raise CannotCarry(f"a stored response can't carry `{name}`")


def _read_input(reading: Reading, body: dict[str, Any]) -> int:
    """Input, instructions and tools; gives the number of items."""
    value = body.get("input")
    items = [] if value is None or type(value) is str else fields.array(value, "/input")
    if type(value) is str:
        reading.segments.append(Segment("/input", "user", "user", value))
    for index, item in enumerate(items):
        read_item(reading, item, f"/input/{index}")
    if body.get("instructions") is not None:
        reading.segments.append(Segment("/instructions", "system", "system", fields.text(body["instructions"], "/instructions")))
    for index, tool in enumerate(fields.array(body.get("tools") or [], "/tools")):
        read_tool(reading, tool, f"/tools/{index}")
    return max(1, len(items))


def _read_refs(reading: Reading, body: dict[str, Any]) -> None:
    """Ids that bring in what is not in this body. A stored prompt is one: it may hold tools and texts that nobody here has seen."""
    if body.get("previous_response_id") is not None:
        reading.refs.append(("response", fields.text(body["previous_response_id"], "/previous_response_id")))
    for name in ("conversation", "prompt"):
        value = body.get(name)
        if value is None:
            continue
        id = value if type(value) is str else fields.mapping(value, f"/{name}").get("id")
        reading.refs.append((name, fields.text(id, f"/{name}/id")))
        if type(value) is dict:
            rest = {key: item for key, item in value.items() if key != "id"}
            if rest:
                reading.segments.append(Segment(f"/{name}", "", "input", fields.as_text(rest)))


def _read_nested(reading: Reading, body: dict[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, scalar, canonical in (("reasoning", "effort", "reasoning_effort"), ("text", "verbosity", "verbosity")):
        holder = fields.mapping(body.get(name) or {}, f"/{name}")
        if type(holder.get(scalar)) is str:
            found[canonical] = holder[scalar]
        if holder.keys() - {scalar}:
            reading.segments.append(Segment(f"/{name}", "", "input", fields.as_text(holder)))
    return found


CODEC = Responses()
STORED = Stored()
