"""YAML text to a tree that knows the place of everything, comments too. Counterpart: `printer`, which writes it out again.

libyaml's events tell where each value begins and ends; what lies between values and begins with `#` is a comment. Aliases
stay aliases. Takes only text that `config.source` read without an error, and knows nothing of kinds and fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs do not re-export it

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = ("|", ">")


@dataclass(slots=True)
class Scalar:
    """A text. `style` is "" (plain), `'`, `"`, `|`, `>`, or `*` for an alias, whose `text` is its name. `raw` is the source of a block of text."""

    text: str
    style: str
    start: int
    end: int
    anchor: str = ""
    raw: str = ""


@dataclass(slots=True)
class Seq:
    """A list. `column` is where it begins; of one in brackets it says nothing."""

    flow: bool
    start: int
    column: int
    anchor: str = ""
    end: int = 0
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Map:
    """A mapping, its entries in the order they are to be written."""

    flow: bool
    start: int
    column: int
    anchor: str = ""
    end: int = 0
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)


Node = Scalar | Seq | Map


class Comment(NamedTuple):
    """`#` and what follows. `own`: nothing but white space, or a list's dash, stands before it on its line."""

    text: str
    start: int
    column: int
    own: bool


class Root(NamedTuple):
    """One document and where its `---` is, or would be."""

    start: int
    node: Node


class Parsed(NamedTuple):
    """A file."""

    text: str
    roots: tuple[Root, ...]
    comments: tuple[Comment, ...]


def parse(text: str) -> Parsed:
    """The tree of a file. Raises yaml.YAMLError where it is no YAML."""
    builder = _Builder(text)
    roots = tuple(builder.roots())
    return Parsed(text, roots, tuple(_comments(text, builder.scalars)))


class _Builder:
    """Events to nodes. `scalars` are the spans that hold text, where `#` is no comment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parser: Any = CParser(text)
        self.scalars: list[Scalar] = []

    def roots(self) -> Iterator[Root]:
        while self.parser.check_event():
            event = self.next()
            if type(event) is yaml.DocumentStartEvent:
                node = self.node(self.next())
                if not (isinstance(node, Scalar) and not node.style and not node.text and not node.anchor):
                    yield Root(_span(event)[0], node)

    def next(self) -> Any:
        return self.parser.get_event()

    def node(self, event: Any) -> Node:
        if type(event) is yaml.ScalarEvent or type(event) is yaml.AliasEvent:
            return self.scalar(event)
        start, column = event.start_mark.index, event.start_mark.column
        if event.anchor:
            start, column = self.past_anchor(event)
        flow = self.text[start : start + 1] in ("[", "{")
        if type(event) is yaml.SequenceStartEvent:
            return self.seq(Seq(flow, start, column, event.anchor or ""))
        return self.map(Map(flow, start, column, event.anchor or ""))

    def seq(self, made: Seq) -> Seq:
        event = self.next()
        while type(event) is not yaml.SequenceEndEvent:
            made.items.append(self.node(event))
            event = self.next()
        made.end = _span(event)[1]
        return made

    def map(self, made: Map) -> Map:
        event = self.next()
        while type(event) is not yaml.MappingEndEvent:
            key = self.node(event)
            if not isinstance(key, Scalar):
                raise yaml.YAMLError("a key must be text")
            made.entries.append((key, _inner(self.node(self.next()), made)))
            event = self.next()
        if not made.flow and made.entries:
            made.start = made.entries[0][0].start
        made.end = _span(event)[1]
        return made

    def scalar(self, event: Any) -> Scalar:
        start, end = _span(event)
        if type(event) is yaml.AliasEvent:
            made = Scalar(str(event.anchor), "*", start, end)
        else:
            if event.anchor:
                start = min(self.past_anchor(event)[0], end)
            style = event.style if event.style in ("'", '"', *BLOCKS) else ""
            made = Scalar(event.value, style, start, end, event.anchor or "", self.text[start:end] if style in BLOCKS else "")
        self.scalars.append(made)
        return made

    def past_anchor(self, event: Any) -> tuple[int, int]:
        """(place, column) of what an anchor stands before: over it, white space and comments."""
        place = self.text.index("&", event.start_mark.index) + 1 + len(event.anchor)
        while self.text[place : place + 1].isspace() or self.text[place : place + 1] == "#":
            place = _line_end(self.text, place) if self.text[place] == "#" else place + 1
        return place, place - (self.text.rfind("\n", 0, place) + 1)


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


def _inner(value: Node, parent: Map) -> Node:
    """A list that is indented no deeper than its key: a comment in that column speaks of the next key."""
    if isinstance(value, Seq) and not value.flow and value.column == parent.column:
        value.column += 1
    return value


# ---------------------------------------------------------------- comments


def _comments(text: str, scalars: list[Scalar]) -> Iterator[Comment]:
    place = 0
    for scalar in scalars:
        yield from _between(text, place, scalar.start)
        if scalar.style in BLOCKS:
            yield from _between(text, scalar.start, min(_line_end(text, scalar.start), scalar.end))
        place = max(place, scalar.end)
    yield from _between(text, place, len(text))


def _between(text: str, start: int, end: int) -> Iterator[Comment]:
    place = text.find("#", start, end)
    while place >= 0:
        stop = _line_end(text, place)
        line = text.rfind("\n", 0, place) + 1
        yield Comment(text[place:stop].rstrip(), place, place - line, not text[line:place].strip(" \t-?"))
        place = text.find("#", stop, end)


def _line_end(text: str, place: int) -> int:
    found = text.find("\n", place)
    return len(text) if found < 0 else found
