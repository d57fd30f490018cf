"""What a Gemini body holds: every text of contents, system instruction and tools as segments, provider-run tools, references.

A repeated field may stand as a single object (the API takes it so), hence `each`. Field names are lowerCamelCase by now
(`gemini_names`). Replies are read with `part` too. It does not know parameters or headers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sidecar.call import Tool
from sidecar.errors import MalformedCall
from sidecar.segment import Segment
from sidecar.wire import fields, gemini_names
from sidecar.wire.pointer import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sidecar.wire.gathered import Found

_FILE = re.compile(r"(?:https://generativelanguage\.googleapis\.com/v1(?:beta)?/)?(files/[A-Za-z0-9_-]{1,128})")
_ROLES = {
    "user": ("user", "user"),
    "model": ("assistant", "assistant"),
    "system": ("system", "system"),
    "function": ("tool", "tool_result"),
    "tool": ("tool", "tool_result"),
}
"""The wire's role to ours, and the origin of its texts."""
_CONTENT = frozenset({"role", "parts"})
_SIGNATURE = "thoughtSignature"


def each(value: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a repeated field, with their pointers. Raises MalformedCall on what is no object."""
    if value is None:
        return
    if type(value) is dict:
        yield pointer, value
        return
    for index, item in enumerate(fields.array(value, pointer)):
        yield f"{pointer}/{index}", fields.mapping(item, f"{pointer}/{index}")


def contents(found: Found, value: Any, pointer: str) -> int:
    """Read every content; how many there are. Raises MalformedCall."""
    number = 0
    for at, item in each(value, pointer):
        number += 1
        content(found, item, at)
    return number


def content(found: Found, value: dict[str, Any], pointer: str, default: str = "user") -> None:
    """One content: its role (`default` where it has none) and its parts."""
    given = value.get("role") or default
    if type(given) is not str or given not in _ROLES:
        raise MalformedCall(f"`{pointer}/role` must be user, model, system or function")
    role, origin = _ROLES[given]
    for at, item in each(value.get("parts"), f"{pointer}/parts"):
        part(found, item, at, role, origin)
    if value.keys() - _CONTENT:
        found.leaves({name: item for name, item in value.items() if name not in _CONTENT}, pointer, role, "unknown")


def part(found: Found, value: dict[str, Any], at: str, role: str, origin: str) -> None:
    """One part. What is signed carries no text; what is not known is walked whole."""
    for name, item in value.items():
        if name == "text" and type(item) is str:
            found.segments.append(Segment(f"{at}/text", role, "reasoning" if value.get("thought") is True else origin, item))
        elif name != _SIGNATURE and item is not None:
            _PARTS.get(name, _unknown)(found, item, f"{at}/{escape(name)}", role)


def _unknown(found: Found, value: Any, at: str, role: str) -> None:
    found.leaves(value, at, role, "unknown")


def _arguments(found: Found, value: Any, at: str, role: str) -> None:
    found.leaves(value, at, role, "tool_args")


def _result(found: Found, value: Any, at: str, _role: str) -> None:
    for name, item in fields.mapping(value, at).items():
        if name != "parts":
            found.leaves(item, f"{at}/{escape(name)}", "tool", "tool_result")
    for below, item in each(value.get("parts"), f"{at}/parts"):
        part(found, item, below, "tool", "tool_result")


def _inline(found: Found, value: Any, at: str, role: str) -> None:
    kind = str(fields.mapping(value, at).get("mimeType") or "file").partition("/")[0]
    found.segments.append(Segment(at, role, "media", kind if kind in ("image", "audio", "video") else "file"))
    found.leaves({name: item for name, item in value.items() if name != "data"}, at, role, "unknown")


def _file(found: Found, value: Any, at: str, role: str) -> None:
    uri = fields.text(fields.mapping(value, at).get("fileUri"), f"{at}/fileUri")
    kept = _FILE.fullmatch(uri)
    if kept:
        found.refs.append(("file", kept[1]))
    found.segments.append(Segment(at, role, "media", "file"))
    found.leaves(value, at, role, "unknown")


_PARTS: Mapping[str, Callable[[Found, Any, str, str], None]] = {
    "functionCall": _arguments,
    "toolCall": _arguments,
    "executableCode": _arguments,
    "functionResponse": _result,
    "toolResponse": _result,
    "codeExecutionResult": _result,
    "inlineData": _inline,
    "fileData": _file,
}


def tools(found: Found, value: Any, pointer: str) -> None:
    """Definitions of the caller's functions as segments; every other tool, and each MCP server, is one that policy judges in the request."""
    for at, item in each(value, pointer):
        for name, config in item.items():
            below = f"{at}/{escape(name)}"
            if name == "functionDeclarations":
                _declarations(found, config, below)
            elif name == "mcpServers":
                _servers(found, config, below)
            elif config is not None:
                found.tools.append(Tool(gemini_names.snake(name), kind=name))
                found.leaves(config, below, "", "tool_definition")


def _declarations(found: Found, value: Any, pointer: str) -> None:
    for at, function in each(value, pointer):
        for name, item in function.items():
            if item is not None:
                found.segments.append(Segment(f"{at}/{escape(name)}", "", "tool_definition", fields.as_text(item)))


def _servers(found: Found, value: Any, pointer: str) -> None:
    for at, server in each(value, pointer):
        found.tools.append(Tool(fields.text(server.get("name"), f"{at}/name"), kind="mcp"))
        found.leaves(server, at, "", "tool_definition")


def signed(value: dict[str, Any]) -> bool:
    """Whether a part carries a signature: no edit may go inside."""
    return _SIGNATURE in value
