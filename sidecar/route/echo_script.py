"""What the echo says, before any dialect: a text made from the last user text, or the tool calls it was told to propose.

Its counterparts are the `echo_*` files, each of which puts a `Script` into the shape of one family. Nothing here knows
HTTP, clocks or randomness: the same request always gets the same words. A token of the echo is a word.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

_CALL = re.compile(r"^call ([A-Za-z0-9_.:-]{1,128})[ \t]*(\{.*\})?[ \t]*$", re.MULTILINE)
_WORD = re.compile(r"\S+\s*")
_PIECE = 8
"""Characters of arguments per streamed delta: small, so that every proposal comes in several."""


class Said(NamedTuple):
    """One whole answer: `body` is the bytes of a document, or the SSE events of a stream."""

    status: int
    body: bytes | tuple[bytes, ...]


class Proposed(NamedTuple):
    """One tool call the echo was told to propose. `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Script:
    """What to say. `cut` tells that the text was shortened to the caller's token limit."""

    text: str
    calls: tuple[Proposed, ...] = ()
    cut: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The text word by word, spaces kept: what a stream sends as deltas."""
        return tuple(_WORD.findall(self.text))

    @property
    def tokens(self) -> int:
        """Words of text and of arguments."""
        return count(self.text) + sum(count(call.name) + count(call.arguments) for call in self.calls)


@dataclass(slots=True)
class Memory:
    """Responses the echo made, oldest forgotten first, and the counter its ids come from.

    `run` keeps ids of two runs apart, since owners of ids are kept on disk.
    """

    run: str = "echo"
    limit: int = 1024
    responses: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)
    made: int = 0

    def mint(self, prefix: str) -> str:
        """A new id."""
        self.made += 1
        return f"{prefix}_{self.run}{self.made:06x}"

    def keep(self, response: dict[str, Any]) -> None:
        """Remember a response under its id."""
        self.responses[response["id"]] = response
        while len(self.responses) > self.limit:
            self.responses.popitem(last=False)


def script(text: str, offered: Iterable[str], *, limit: int | None = None, heard: str = "You said") -> Script:
    """The answer to `text`: one proposal per line `call TOOL {json}` that names an offered tool, else the text back.

    `limit` is the caller's own bound in tokens (words).
    """
    names = frozenset(offered)
    calls = tuple(call for call in _calls(text) if call.name in names)
    if calls:
        return Script("", calls)
    words = _WORD.findall(f"{heard}: {text.strip()}")
    if limit is not None and len(words) > limit:
        return Script("".join(words[:limit]).rstrip(), cut=True)
    return Script("".join(words))


def _calls(text: str) -> Iterator[Proposed]:
    for match in _CALL.finditer(text):
        try:
            arguments = orjson.loads(match[2] or "{}")
        except orjson.JSONDecodeError:
            continue
        yield Proposed(match[1], orjson.dumps(arguments).decode())


def pieces(arguments: str) -> Iterator[str]:
    """Arguments as a stream sends them."""
    for start in range(0, len(arguments), _PIECE):
        yield arguments[start : start + _PIECE]


def count(value: Any) -> int:
    """Tokens in every text of a JSON value."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, Mapping):
        return sum(count(item) for item in value.values())
    if isinstance(value, list):
        return sum(count(item) for item in value)
    return 0


def texts(content: Any, kinds: frozenset[str] = frozenset({"text", "input_text"})) -> str:
    """The texts of a message's content: a string, or blocks of one of `kinds` with a `text`."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(block["text"] for block in content if isinstance(block, Mapping) and block.get("type") in kinds and isinstance(block.get("text"), str))


def fields(value: Any) -> Mapping[str, Any]:
    """An object, or nothing where the caller sent no object."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list, or of a single object (Gemini takes one for a list)."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, Mapping)]


def whole(value: Any) -> int | None:
    """A positive whole number, or None."""
    return value if type(value) is int and value > 0 else None


def document(value: Mapping[str, Any], status: int = 200) -> Said:
    """A whole answer."""
    return Said(status, orjson.dumps(value))


def data(value: Mapping[str, Any]) -> bytes:
    """One SSE event without a name."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def event(value: Mapping[str, Any]) -> bytes:
    """One SSE event named for its `type`."""
    return b"event: " + str(value["type"]).encode() + b"\n" + data(value)
