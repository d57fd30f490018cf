"""A document that was read: its dataclass, and where each of its values stands in the file.

`sidecar.compiler` takes `LayerSource` values and points at what it does not like with `Document.complaint`. Counterpart:
`validate`, which makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.config.diagnostics import Diagnostic, Position, Severity
from sidecar.config.source import ListNode, MapNode, Node, ScalarNode, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

_ESCAPES: Mapping[str, int] = {"x": 4, "u": 6, "U": 10}  # characters of a backslash sequence in double quotes, where not 2


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """`spec` is an instance of `documents.KINDS[kind]`; `file` and `line` say where it begins."""

    kind: str
    name: str
    labels: Mapping[str, str]
    spec: Any
    file: str
    line: int
    layer: str = ""
    root: Node | None = field(default=None, repr=False)
    source: Source | None = field(default=None, repr=False)

    def at(self, pointer: str, line: int = 0, column: int = 0) -> Position:
        """The place of a value. `pointer` is a JSON pointer from the document's root with the names of the YAML keys.

        `line` and `column` (from 1) go on into the text of a scalar, through quotes, escapes, folds and indentation.
        A pointer to what is not written gives its nearest ancestor. One value that stands for a list answers to `/0`.
        """
        if self.root is None or self.source is None:
            return Position(self.file, self.line)
        node, exact = _find(self.root, pointer)
        if exact and line and isinstance(node, ScalarNode):
            return Position(self.file, *_inside(node, self.source.lines, line, column or 1))
        return self.source.inside(node.line, node.column)

    def complaint(
        self, severity: Severity, code: str, message: str, pointer: str = "", *, line: int = 0, column: int = 0, end_column: int = 0, hint: str = ""
    ) -> Diagnostic:
        """A diagnostic at a value, or inside its text, with the source line. `end_column` is exclusive, on the same line of the text."""
        start = self.at(pointer, line, column)
        end = self._end(pointer, line, end_column, start)
        if self.source is None:
            return Diagnostic(severity, code, message, start, hint)
        shown = self.source.line(start.line)
        return Diagnostic(severity, code, self.source.masked(message), start, self.source.masked(hint), shown, min(end, len(shown) + 1))

    def _end(self, pointer: str, line: int, end_column: int, start: Position) -> int:
        if end_column > 1:  # the place of the last character, and one on: what follows may be on another line
            last = self.at(pointer, line, end_column - 1)
            return last.column + 1 if last.line == start.line else 0
        if line or self.root is None:
            return 0
        node, _ = _find(self.root, pointer)
        return node.end_column if isinstance(node, ScalarNode) and node.end_line == node.line else 0


class LayerSource(NamedTuple):
    """One layer: its name and its documents, in the order of files and places."""

    name: str
    documents: tuple[Document, ...]


def _find(root: Node, pointer: str) -> tuple[Node, bool]:
    """The node, or its nearest ancestor that exists and False."""
    node = root
    for step in pointer.split("/")[1:]:
        child = _child(node, step.replace("~1", "/").replace("~0", "~"))
        if child is None:
            return node, False
        node = child
    return node, True


def _child(node: Node, step: str) -> Node | None:
    if isinstance(node, MapNode) and step in node.entries:
        return node.entries[step][1]
    if isinstance(node, ListNode):
        return node.items[int(step)] if step.isdecimal() and int(step) < len(node.items) else None
    return node if step == "0" else None


def key_of(document: Document, pointer: str) -> Position:
    """The place of a mapping's key rather than of its value."""
    parent, _, step = pointer.rpartition("/")
    if document.root is None:
        return document.at(pointer)
    node, exact = _find(document.root, parent)
    name = step.replace("~1", "/").replace("~0", "~")
    if exact and isinstance(node, MapNode) and name in node.entries:
        key = node.entries[name][0]
        return Position(document.file, key.line, key.column)
    return document.at(pointer)


# ---------------------------------------------------------------- into a scalar


def _inside(node: ScalarNode, lines: list[str], line: int, column: int) -> tuple[int, int]:
    """Walk the value and its source side by side. White space may differ (folds, indentation), all else is the same."""
    value = node.text
    wanted = _offset(value, line, column)
    row, place = node.line - 1, node.column - 1
    if node.style in ("|", ">"):
        row, place = row + 1, 0
    elif node.style:
        place += 1
    for character in value[:wanted]:
        row, place = _to(character, node.style, lines, row, place)
        row, place = _past(character, node.style, lines, row, place)
    if wanted < len(value):
        row, place = _to(value[wanted], node.style, lines, row, place)
    return row + 1, place + 1


def _offset(value: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        found = value.find("\n", start)
        if found < 0:
            break
        start = found + 1
    return min(start + column - 1, len(value))


def _to(character: str, style: str, lines: list[str], row: int, place: int) -> tuple[int, int]:
    """Over the white space that the value does not have."""
    if character.isspace():
        return row, place
    while row < len(lines):
        text = lines[row]
        while place < len(text) and text[place].isspace():
            place += 1
        if place < len(text) and not (style == '"' and place == len(text) - 1 and text[place] == "\\"):
            return row, place
        row, place = row + 1, 0
    return len(lines) - 1, 0


def _past(character: str, style: str, lines: list[str], row: int, place: int) -> tuple[int, int]:
    """Over one character of the value, as it is spelt in the source."""
    text = lines[row]
    if character.isspace() and not (place < len(text) and (text[place] == character or text[place] == "\\")):
        return (row + 1, 0) if place >= len(text) and row + 1 < len(lines) else (row, place)
    if style == '"' and text[place] == "\\":
        return row, place + _ESCAPES.get(text[place + 1 : place + 2], 2)
    return row, place + (2 if style == "'" and character == "'" else 1)
