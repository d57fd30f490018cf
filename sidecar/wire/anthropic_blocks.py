"""What an Anthropic body holds: every text of system, messages and tools as segments, provider-run tools, provider-minted ids.

One function per block type in a visible table; a block of a type that is not listed is walked whole as `unknown`, so that
nothing goes out unseen. Signed and encrypted values carry no text and are left out; `signed` tells where edits must not go.
`anthropic_messages` and `anthropic_count_tokens` read with it. It does not know parameters, headers or replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.call import Tool
from sidecar.errors import MalformedCall
from sidecar.segment import Segment
from sidecar.wire import fields
from sidecar.wire.gathered import NAME, Found
from sidecar.wire.pointer import escape

_CACHE = ({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"}, {"type": "ephemeral", "ttl": "1h"}, None)
_ORIGINS = {"user": "user", "assistant": "assistant", "system": "system"}
_SEALED = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})
_TEXT = frozenset({"type", "text"})
_TOOL = frozenset({"type", "name", "description", "input_schema", "cache_control"})
_MESSAGE = frozenset({"role", "content"})


class Blocks(Found):
    """What the reading gathers, and the two shapes that come in many places: a block's other fields, a tool definition."""

    __slots__ = ()

    def rest(self, block: Mapping[str, Any], pointer: str, role: str, known: frozenset[str], origin: str = "unknown") -> None:
        """The fields of a block that its reader does not name: walked whole, but a plain cache mark and what is sealed."""
        for name, value in block.items():
            if name in known or name in _SEALED or (name == "cache_control" and value in _CACHE):
                continue
            if (name == "id" or name.endswith("_id")) and type(value) is str and NAME.fullmatch(value):
                continue
            self.leaves(value, f"{pointer}/{escape(name)}", role, origin)

    def tool(self, value: Any, pointer: str) -> None:
        """One tool definition. What is not of the caller's own making is a tool that policy judges in the request."""
        tool = fields.mapping(value, pointer)
        kind = tool.get("type") or "custom"
        name = tool.get("name") or tool.get("mcp_server_name") or kind
        if type(kind) is not str or type(name) is not str:
            raise MalformedCall(f"`{pointer}` needs a name and a type in text")
        if kind != "custom":
            self.tools.append(Tool(name, kind=kind))
        if tool.get("name"):
            self.segments.append(Segment(f"{pointer}/name", "", "tool_definition", name))
        if tool.get("description") is not None:
            self.segments.append(Segment(f"{pointer}/description", "", "tool_definition", fields.text(tool["description"], f"{pointer}/description")))
        if tool.get("input_schema") is not None:
            self.segments.append(Segment(f"{pointer}/input_schema", "", "tool_definition", fields.as_text(tool["input_schema"])))
        self.rest(tool, pointer, "", _TOOL, "tool_definition")


def messages(found: Blocks, value: Any, pointer: str = "/messages") -> int:
    """Read every message; how many there are. Raises MalformedCall on a role or shape that is none."""
    turns = fields.array(value, pointer)
    for index, turn in enumerate(turns):
        at = f"{pointer}/{index}"
        role = fields.text(fields.mapping(turn, at).get("role"), f"{at}/role")
        origin = _ORIGINS.get(role)
        if origin is None:
            raise MalformedCall(f"`{at}/role` must be user, assistant or system")
        if turn.get("content") is not None:
            content(found, turn["content"], f"{at}/content", role, origin)
        if turn.keys() - _MESSAGE:
            found.rest(turn, at, role, _MESSAGE)
    return len(turns)


def content(found: Blocks, value: Any, pointer: str, role: str, origin: str) -> None:
    """A text, or a list of blocks."""
    if type(value) is str:
        found.segments.append(Segment(pointer, role, origin, value))
        return
    for index, item in enumerate(fields.array(value, pointer)):
        at = f"{pointer}/{index}"
        kind = fields.mapping(item, at).get("type")
        if kind == "text":
            found.segments.append(Segment(f"{at}/text", role, origin, fields.text(item.get("text"), f"{at}/text")))
            if len(item) > 2:
                found.rest(item, at, role, _TEXT, origin)
            continue
        if type(kind) is not str:
            raise MalformedCall(f"`{at}/type` must be a string")
        _BLOCKS.get(kind, _unknown)(found, item, at, role, origin)


def _unknown(found: Blocks, block: dict[str, Any], at: str, role: str, _origin: str) -> None:
    if type(block.get("file_id")) is str:
        found.refs.append(("file", block["file_id"]))
    # Nothing is skipped here but the type: what is sealed in a block that is known may be plain text in one that is not.
    for name, value in block.items():
        if name != "type" or not NAME.fullmatch(value):
            found.leaves(value, f"{at}/{escape(name)}", role, "unknown")


def _thinking(found: Blocks, block: dict[str, Any], at: str, role: str, _origin: str) -> None:
    found.segments.append(Segment(f"{at}/thinking", role, "reasoning", fields.text(block.get("thinking"), f"{at}/thinking")))
    found.rest(block, at, role, frozenset({"type", "thinking"}))


def _redacted_thinking(found: Blocks, block: dict[str, Any], at: str, role: str, _origin: str) -> None:
    found.rest(block, at, role, frozenset({"type", "data"}))


def _tool_use(found: Blocks, block: dict[str, Any], at: str, role: str, _origin: str) -> None:
    found.rest(block, at, role, frozenset({"type"}), "tool_args")


def _tool_result(found: Blocks, block: dict[str, Any], at: str, _role: str, _origin: str) -> None:
    if block.get("content") is not None:
        content(found, block["content"], f"{at}/content", "tool", "tool_result")
    found.rest(block, at, "tool", frozenset({"type", "content"}))


def _provider_result(found: Blocks, block: dict[str, Any], at: str, _role: str, _origin: str) -> None:
    _shorn(found, {name: value for name, value in block.items() if name != "type"}, at)


def _shorn(found: Blocks, value: Any, at: str) -> None:
    """Leaves of a result that a provider's tool made, without its sealed values."""
    if type(value) is list:
        for index, item in enumerate(value):
            _shorn(found, item, f"{at}/{index}")
    elif type(value) is dict:
        for name, item in value.items():
            if name not in _SEALED:
                _shorn(found, item, f"{at}/{escape(name)}")
    else:
        found.leaves(value, at, "tool", "tool_result")


def _media(found: Blocks, block: dict[str, Any], at: str, role: str, origin: str) -> None:
    source = fields.mapping(block.get("source"), f"{at}/source")
    _source(found, source, f"{at}/source", str(block["type"]), (role, origin))
    found.rest(block, at, role, frozenset({"type", "source"}), origin)


def _source(found: Blocks, source: dict[str, Any], at: str, kind: str, spoken: tuple[str, str]) -> None:
    role, origin = spoken
    form = source.get("type")
    seen = {"type", "media_type"}
    if form == "content":
        content(found, source.get("content"), f"{at}/content", role, origin)
        seen.add("content")
    elif form != "text":
        found.segments.append(Segment(at, role, "media", kind))
        if form == "base64":
            seen.add("data")
    if form == "file" or "file_id" in source:
        found.refs.append(("file", fields.text(source.get("file_id"), f"{at}/file_id")))
    found.rest(source, at, role, frozenset(seen), origin)


def _upload(found: Blocks, block: dict[str, Any], at: str, role: str, _origin: str) -> None:
    found.refs.append(("file", fields.text(block.get("file_id"), f"{at}/file_id")))
    found.segments.append(Segment(at, role, "media", "file"))
    found.rest(block, at, role, frozenset({"type"}))


def _search_result(found: Blocks, block: dict[str, Any], at: str, role: str, origin: str) -> None:
    content(found, block.get("content"), f"{at}/content", role, origin)
    found.rest(block, at, role, frozenset({"type", "content"}), origin)


def _tool_change(found: Blocks, block: dict[str, Any], at: str, role: str, _origin: str) -> None:
    tool = fields.mapping(block.get("tool"), f"{at}/tool")
    if tool.get("definition") is None:
        found.leaves(tool, f"{at}/tool", role, "tool_definition")
    else:
        found.tool(tool["definition"], f"{at}/tool/definition")
        found.rest(tool, f"{at}/tool", role, frozenset({"type", "definition"}))
    found.rest(block, at, role, frozenset({"type", "tool"}))


def _compaction(found: Blocks, block: dict[str, Any], at: str, role: str, origin: str) -> None:
    for index, change in enumerate(block.get("tool_changes") or ()):
        _tool_change(found, fields.mapping(change, f"{at}/tool_changes/{index}"), f"{at}/tool_changes/{index}", role, origin)
    found.rest(block, at, role, frozenset({"type", "tool_changes"}), origin)


_Reader = Callable[[Blocks, dict[str, Any], str, str, str], None]
_BLOCKS: Mapping[str, _Reader] = {
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
    "tool_use": _tool_use,
    "server_tool_use": _tool_use,
    "mcp_tool_use": _tool_use,
    "tool_result": _tool_result,
    "mcp_tool_result": _tool_result,
    "web_search_tool_result": _provider_result,
    "web_fetch_tool_result": _provider_result,
    "code_execution_tool_result": _provider_result,
    "bash_code_execution_tool_result": _provider_result,
    "text_editor_code_execution_tool_result": _provider_result,
    "tool_search_tool_result": _provider_result,
    "advisor_tool_result": _provider_result,
    "image": _media,
    "document": _media,
    "container_upload": _upload,
    "search_result": _search_result,
    "tool_addition": _tool_change,
    "tool_removal": _tool_change,
    "compaction": _compaction,
}


def signed(block: dict[str, Any]) -> bool:
    """Whether a block carries a signature or is encrypted: no edit may go inside (it may be taken out whole)."""
    return block.get("type") in ("thinking", "redacted_thinking") or not _SEALED.isdisjoint(block)
