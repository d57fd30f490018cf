"""A whole Anthropic message, read and written again without the proposals that were denied.

Its counterpart for streams is `anthropic_stream`; both take `USES` and `replacement` from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.call import Call, Tool, Usage
from sidecar.errors import UpstreamGarbage
from sidecar.segment import Segment
from sidecar.wire import jsonguard
from sidecar.wire.anthropic_blocks import Blocks
from sidecar.wire.base import ReplyView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks that are proposals. The last two the provider runs by itself: their results come in the same reply."""
WITHHELD = "(the result is withheld)"


def read(call: Call, body: bytes) -> ReplyView:
    """A message. Raises UpstreamGarbage on what is none."""
    value = jsonguard.parse_object(body, UpstreamGarbage)
    content = value.get("content")
    if value.get("type") != "message" or type(content) is not list or not all(type(block) is dict and type(block.get("type")) is str for block in content):
        raise UpstreamGarbage("the reply is no message")
    found = Blocks()
    for index, block in enumerate(content):
        _segments(found, block, f"/content/{index}")
    return ReplyView(
        value,
        segments=tuple(found.segments),
        tools=tuple(tool(block, own(block)) for block in content if block.get("type") in USES),
        usage=usage(value.get("usage")),
        finish=finish(value.get("stop_reason")),
        model=str(value.get("model") or ""),
        minted=minted(call, value),
    )


def _segments(found: Blocks, block: dict[str, Any], at: str) -> None:
    kind = block.get("type")
    if kind == "text" and type(block.get("text")) is str:
        found.segments.append(Segment(f"{at}/text", "assistant", "assistant", block["text"]))
        found.rest(block, at, "assistant", frozenset({"type", "text"}), "assistant")
    elif kind == "thinking":
        found.rest(block, at, "assistant", frozenset({"type"}), "reasoning")
    elif kind == "redacted_thinking":
        found.rest(block, at, "assistant", frozenset({"type", "data"}), "reasoning")
    elif kind in USES:
        found.rest(block, at, "assistant", frozenset({"type"}), "tool_args")
    else:
        found.rest(block, at, "tool", frozenset({"type"}), "tool_result")


def own(block: Mapping[str, Any]) -> dict[str, object] | None:
    """A block's own arguments; None where they are no object."""
    value = block.get("input")
    return value if type(value) is dict else None


def tool(block: Mapping[str, Any], args: Mapping[str, object] | None) -> Tool:
    """The proposal in a block, with its arguments (None: not known)."""
    kind = block["type"]
    return Tool(
        name=str(block.get("name") or ""),
        server=str(block.get("server_name") or "") if kind == "mcp_tool_use" else "",
        kind="function" if kind == "tool_use" else kind,
        args=args,
        call_id=str(block.get("id") or ""),
    )


def usage(value: Any) -> Usage | None:
    """All input tokens, cached ones too, and all output tokens; None where the provider told none."""
    if type(value) is not dict:
        return None
    read = sum(_count(value.get(name)) for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))
    return Usage(read, _count(value.get("output_tokens")))


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def finish(value: Any) -> tuple[str, ...]:
    """The stop reason, where there is one."""
    return (value,) if type(value) is str else ()


def minted(call: Call, message: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Ids that later calls may name: the container, and the message itself where the provider keeps the conversation."""
    ids = []
    container = message.get("container")
    if type(container) is dict and type(container.get("id")) is str:
        ids.append(("container", container["id"]))
    if (call.body or {}).get("thread") is not None and type(message.get("id")) is str:
        ids.append(("message", message["id"]))
    return tuple(ids)


def write(view: ReplyView, denied: Mapping[int, str]) -> bytes:
    """The message with proposal number i replaced by the text `denied[i]`; the stop reason is true again."""
    content = list(_replaced(view.body["content"], denied))
    body = {**view.body, "content": content}
    if denied and body.get("stop_reason") == "tool_use" and not any(block.get("type") == "tool_use" for block in content):
        body["stop_reason"] = "end_turn"
    return jsonguard.dump(body)


def _replaced(content: Any, denied: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    number = -1
    gone = set()
    for block in content:
        number += block.get("type") in USES
        if block.get("type") in USES and number in denied:
            gone.add(str(block.get("id")))
            yield replacement(denied[number])
        elif str(block.get("tool_use_id", "")) in gone:
            # What a provider's own tool found, though its use is denied: a text in its place, for the pair belongs together.
            yield replacement(WITHHELD)
        else:
            yield block


def replacement(text: str) -> dict[str, Any]:
    """The block that stands where a proposal stood. Never empty: the provider refuses an empty text in the next turn's history."""
    return {"type": "text", "text": text or WITHHELD}
