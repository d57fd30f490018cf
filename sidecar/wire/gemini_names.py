"""One spelling for Gemini's fields: its JSON takes `system_instruction` for `systemInstruction`, and text for numbers.

ProtoJSON (protobuf.dev, «JSON Options») accepts a field's original name beside its lowerCamelCase one, so every reader of a body
would have to know both. The body is respelt once, before it is read; what says one field in both ways is refused. Values the caller
made himself (arguments, results, schemas, labels) keep their own keys.
"""

from __future__ import annotations

import re
from typing import Any

from sidecar.errors import MalformedCall

_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
_OPAQUE = frozenset({
    "args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "_responseJsonSchema", "labels", "partMetadata",
})  # fmt: skip


def respelt(body: Any, raw: bytes) -> Any:
    """`body` with lowerCamelCase field names; itself where `raw`, the bytes it was read from, can hold no other. Raises MalformedCall."""
    # An escape may spell the underscore, so any escape is a reason to look.
    return _walk(body) if b"_" in raw or b"\\u" in raw else body


def _walk(value: Any) -> Any:
    if type(value) is list:
        return [_walk(item) for item in value]
    if type(value) is not dict:
        return value
    found: dict[str, Any] = {}
    for name, item in value.items():
        spelt = camel(name)
        if spelt in found:
            raise MalformedCall(f"`{spelt}` is said in two spellings")
        # A function declaration's `response` is a schema, its call's is free: neither has fields of the API inside.
        found[spelt] = item if spelt in _OPAQUE else _walk(item)
    return found


def camel(name: str) -> str:
    """`google_search` to `googleSearch`; other names as they are."""
    if not _SNAKE.fullmatch(name):
        return name
    head, *tail = name.split("_")
    return head + "".join(map(str.capitalize, tail))


def snake(name: str) -> str:
    """`googleSearch` to `google_search`: the name policies use for a provider's own tool."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1], name).lower()
