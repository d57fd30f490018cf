"""One text inside a message, and an edit of it. Codecs make segments; screens read them; codecs write edits back.

A pointer is an RFC 6901 JSON pointer into the parsed body.
"""

from __future__ import annotations

from typing import NamedTuple


class Segment(NamedTuple):
    """A piece of text with its place.

    `role`: system, developer, user, assistant, tool, or "" where there is none.
    `origin`: user | system | assistant | tool_result | tool_args | tool_definition | reasoning | refusal | input | unknown | media.
    `media` segments carry no text that can be scanned (image, audio, file): `text` is the kind.
    """

    pointer: str
    role: str
    origin: str
    text: str


class Edit(NamedTuple):
    """Replace the value at `pointer` (`op="set"`, parents made as objects) or take it out (`op="remove"`)."""

    pointer: str
    value: object = None
    op: str = "set"
