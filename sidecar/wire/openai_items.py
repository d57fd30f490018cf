"""The items of the Responses API: what stands in `input`, in `output` and in `input_items`, to segments, refs and tools.

One reader per item type; a type that has none becomes one segment whole, so that nothing passes unread. Used for requests and for
replies; only a request's items are rewritten (JSON in strings, canonically).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sidecar.call import Tool
from sidecar.segment import Segment
from sidecar.wire import fields
from sidecar.wire.openai_chat import ORIGINS
from sidecar.wire.openai_common import arguments, canonical_arguments, custom_tool, function_tool, label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_MEDIA = {"input_image": "image", "input_file": "file", "input_audio": "audio", "computer_screenshot": "image", "output_audio": "audio"}
_BULK = frozenset({"type", "data", "file_data", "image_url", "file_url", "detail", "format", "file_id"})
_ENVELOPE = frozenset({"id", "type", "role", "status", "call_id", "phase"})
_ACTIONS = {"computer_call": "action", "local_shell_call": "action", "shell_call": "action", "apply_patch_call": "operation"}
"""Calls that the client carries out, and the field that says what."""


@dataclass(slots=True)
class Reading:
    """What was found so far. `request` is false for replies: their strings stay as they came."""

    request: bool = True
    segments: list[Segment] = field(default_factory=list)
    refs: list[tuple[str, str]] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)

    def add(self, at: str, role: str, origin: str, text: str) -> None:
        """One more segment."""
        self.segments.append(Segment(at, role, origin, text))


def proposal(item: Mapping[str, Any]) -> Tool | None:
    """The tool call that an output item asks the client for, or None where it asks for none."""
    kind = item.get("type")
    if kind == "function_call":
        return function_tool(item.get("name"), item.get("arguments"), item.get("call_id"))
    if kind == "custom_tool_call":
        return custom_tool(item.get("name"), item.get("input"), item.get("call_id"))
    if kind == "mcp_approval_request":
        return Tool(str(item.get("name")), server=str(item.get("server_label") or ""), kind="mcp", args=arguments(item.get("arguments")), call_id=_id(item))
    if type(kind) is str and kind in _ACTIONS:
        action = item.get(_ACTIONS[kind])
        return Tool(kind.removesuffix("_call"), kind=kind.removesuffix("_call"), args=action if type(action) is dict else None, call_id=_id(item))
    return None


def read_item(reading: Reading, item: Any, at: str) -> None:
    """One item. Raises MalformedCall."""
    item = fields.mapping(item, at)
    kind = item.get("type")
    if kind is None:
        kind = "message" if "role" in item else "item_reference"
    _READERS.get(fields.text(kind, f"{at}/type"), _other)(reading, item, at)


def read_tool(reading: Reading, tool: Any, at: str) -> None:
    """One tool definition: functions are offered to the client, everything else is run by the provider."""
    tool = fields.mapping(tool, at)
    kind = fields.text(tool.get("type"), f"{at}/type")
    if kind == "function":
        label(reading.segments, f"{at}/name", fields.text(tool.get("name"), f"{at}/name"))
        for name in ("description", "parameters"):
            if tool.get(name) is not None:
                reading.add(f"{at}/{name}", "", "tool_definition", fields.as_text(tool[name]))
        reading.segments += fields.unknown(tool, frozenset({"type", "name", "description", "parameters", "strict"}), at)
        return
    if kind == "namespace":
        for index, inner in enumerate(fields.array(tool.get("tools"), f"{at}/tools")):
            read_tool(reading, inner, f"{at}/tools/{index}")
        tool = {name: value for name, value in tool.items() if name != "tools"}
    reading.add(at, "", "tool_definition", fields.as_text(tool))
    if kind not in ("custom", "namespace"):
        named = fields.text(tool.get("server_label"), f"{at}/server_label") if kind == "mcp" else kind
        reading.tools.append(Tool(named, kind=kind, args=tool))
        if type(tool.get("container")) is str:
            reading.refs.append(("container", tool["container"]))


def _id(item: Mapping[str, Any]) -> str:
    value = item.get("call_id") or item.get("id")
    return value if type(value) is str else ""


def _message(reading: Reading, item: dict[str, Any], at: str) -> None:
    role = fields.text(item.get("role"), f"{at}/role")
    origin = ORIGINS.get(role, "unknown")
    _content(reading, item.get("content"), (role, origin), f"{at}/content")
    if origin == "unknown":
        reading.add(f"{at}/role", "", "unknown", role)
    reading.segments += fields.unknown(item, _ENVELOPE | {"content"}, at)


def _content(reading: Reading, content: Any, told: tuple[str, str], at: str) -> None:
    if content is None:
        return
    if type(content) is str:
        reading.add(at, *told, content)
        return
    for index, part in enumerate(fields.array(content, at)):
        _part(reading, fields.mapping(part, f"{at}/{index}"), told, f"{at}/{index}")


def _part(reading: Reading, part: dict[str, Any], told: tuple[str, str], at: str) -> None:
    role, origin = told
    kind = fields.text(part.get("type", ""), f"{at}/type")
    if kind in _TEXTS:
        reading.add(f"{at}/text", role, origin, fields.text(part.get("text"), f"{at}/text"))
        for name in part.keys() - {"type", "text"}:
            if part[name]:  # annotations and logprobs carry copies of the text, and titles and addresses of their own
                reading.add(f"{at}/{name}", role, origin if name in ("annotations", "logprobs") else "unknown", fields.as_text(part[name]))
    elif kind == "refusal":
        reading.add(f"{at}/refusal", role, "refusal", fields.text(part.get("refusal"), f"{at}/refusal"))
        reading.segments += fields.unknown(part, frozenset({"type", "refusal"}), at)
    elif kind in _MEDIA:
        _media(reading, part, (role, origin, _MEDIA[kind]), at)
    else:
        reading.add(at, role, "unknown", fields.as_text(part))


def _media(reading: Reading, part: dict[str, Any], told: tuple[str, str, str], at: str) -> None:
    """A picture, sound or file can't be scanned; its address and its name can. A stored file is a ref."""
    role, origin, kind = told
    reading.add(at, role, "media", kind)
    if part.get("file_id") is not None:
        reading.refs.append(("file", fields.text(part["file_id"], f"{at}/file_id")))
    for name in ("image_url", "file_url"):
        url = part.get(name)
        if url is not None and fields.text(url, f"{at}/{name}")[:5] != "data:":
            reading.add(f"{at}/{name}", role, origin, url)
    for name in part.keys() - _BULK:
        if kind == "audio" and name == "input_audio":
            continue
        if part[name] is not None:
            reading.add(f"{at}/{name}", role, origin, fields.as_text(part[name]))


def _function_call(reading: Reading, item: dict[str, Any], at: str) -> None:
    label(reading.segments, f"{at}/name", item.get("name"))
    text = canonical_arguments(item, "arguments", f"{at}/arguments") if reading.request else fields.as_text(item.get("arguments") or "")
    reading.add(f"{at}/arguments", "assistant", "tool_args", text)
    _labels(reading, item, _ENVELOPE | {"name", "arguments"}, at)


def _custom_call(reading: Reading, item: dict[str, Any], at: str) -> None:
    label(reading.segments, f"{at}/name", item.get("name"))
    reading.add(f"{at}/input", "assistant", "tool_args", fields.text(item.get("input", ""), f"{at}/input"))
    _labels(reading, item, _ENVELOPE | {"name", "input"}, at)


def _output(reading: Reading, item: dict[str, Any], at: str) -> None:
    output = item.get("output")
    if type(output) is dict:
        _part(reading, output, ("tool", "tool_result"), f"{at}/output")
    else:
        _content(reading, output, ("tool", "tool_result"), f"{at}/output")
    _labels(reading, item, _ENVELOPE | {"output"}, at)


def _reasoning(reading: Reading, item: dict[str, Any], at: str) -> None:
    for name in ("summary", "content"):
        _content(reading, item.get(name), ("assistant", "reasoning"), f"{at}/{name}")
    if item.get("encrypted_content") is not None:
        reading.add(f"{at}/encrypted_content", "assistant", "reasoning", fields.text(item["encrypted_content"], f"{at}/encrypted_content"))
    _labels(reading, item, _ENVELOPE | {"summary", "content", "encrypted_content"}, at)


def _reference(reading: Reading, item: dict[str, Any], at: str) -> None:
    reading.refs.append(("item", fields.text(item.get("id"), f"{at}/id")))
    reading.segments += fields.unknown(item, frozenset({"type", "id"}), at)


def _more_tools(reading: Reading, item: dict[str, Any], at: str) -> None:
    for index, tool in enumerate(fields.array(item.get("tools") or [], f"{at}/tools")):
        read_tool(reading, tool, f"{at}/tools/{index}")
    _labels(reading, item, _ENVELOPE | {"tools", "execution"}, at)


def _picture(reading: Reading, item: dict[str, Any], at: str) -> None:
    reading.add(at, "assistant", "media", "image")
    _labels(reading, item, _ENVELOPE | {"result"}, at)


def _other(reading: Reading, item: dict[str, Any], at: str) -> None:
    kind = str(item.get("type"))
    if kind.endswith("_output"):
        reading.add(at, "tool", "tool_result", fields.as_text(item))
    elif kind.endswith(("_call", "_approval_request")):
        reading.add(at, "assistant", "tool_args", fields.as_text(item))
    else:
        reading.add(at, "", "unknown", fields.as_text(item))


def _labels(reading: Reading, item: dict[str, Any], known: frozenset[str], at: str) -> None:
    label(reading.segments, f"{at}/call_id", item.get("call_id"))
    reading.segments += [segment for segment in fields.unknown(item, known, at) if segment.text != "null"]


_READERS: dict[str, Callable[[Reading, dict[str, Any], str], None]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _output,
    "custom_tool_call": _custom_call,
    "custom_tool_call_output": _output,
    "computer_call_output": _output,
    "reasoning": _reasoning,
    "item_reference": _reference,
    "additional_tools": _more_tools,
    "tool_search_output": _more_tools,
    "image_generation_call": _picture,
}
