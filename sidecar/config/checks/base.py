"""What the rules about documents share: their types, pointers, and what a name may be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from sidecar.config.diagnostics import Diagnostic
from sidecar.config.document import Document, key_of

Found = Iterator[Diagnostic]
Within = Callable[[Document], Iterable[Diagnostic]]
"""A rule about one document."""
Dated = Callable[[Document, float], Iterable[Diagnostic]]
"""The same, of one that depends on the day; `now` is Unix seconds."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}\Z")


def escaped(token: str) -> str:
    """A name as a token of a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def at_key(document: Document, code: str, message: str, pointer: str, hint: str = "") -> Diagnostic:
    """An error at a mapping's key."""
    item = document.complaint("error", code, message, pointer, hint=hint)
    place = key_of(document, pointer)
    shown = document.source.line(place.line) if document.source else ""
    return replace(item, position=place, source_line=shown, end_column=place.column + len(pointer.rpartition("/")[2]))


def name_problem(name: str, shape: re.Pattern[str] = NAME, hint: str = "a to z, 0 to 9, `.`, `_`, `-`, and a letter or digit first") -> tuple[str, str] | None:
    """What is wrong with a name, and a hint. Letters that look like others are named by their code."""
    if shape.match(name):
        return None
    if strange := next((character for character in name if not character.isascii()), ""):
        spelt = unicodedata.name(strange, "a character without a name")
        return f"`{name}` holds U+{ord(strange):04X} ({spelt})", "names are plain ASCII, so that no two look alike"
    return f"`{name}` is no name", hint


def names(document: Document) -> Found:
    """Names that records and other documents cite are plain."""
    if problem := name_problem(document.name):
        yield document.complaint("error", "name", problem[0], "/metadata/name", hint=problem[1])
