"""Bytes to positioned trees of YAML, one per document. Its counterpart is `validate`, which gives them types.

libyaml scans; the tree is built here, from its events, so that nothing is guessed and nothing explodes: scalars keep their
text and know whether they were quoted, a key given twice is an error, anchors are expanded within a budget, tags, merge
keys and directives are not read. All that is wrong becomes a `Diagnostic` (never an exception), and after a syntax error
reading goes on with the next document of the file. Knows nothing of kinds and fields. `traps` has the hints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs do not re-export it

from sidecar.config import leaks, traps
from sidecar.config.diagnostics import Diagnostic, Position, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BYTES = 10 * 2**20
"""Largest file."""
MAX_DEPTH = 64
"""Deepest nesting of lists and mappings."""
MAX_ALIASED = 10_000
"""Most nodes that the aliases of one file may stand for, taken together."""

BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 and libyaml count as the end of a line
UNREADABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # text that is not read in the order it is shown (CVE-2021-42574)
DOCUMENT = re.compile(r"---(\s|$)")


class ScalarNode:
    """A text. `style` is "" (plain), `'`, `"`, `|` or `>`. Lines and columns count from 1, the end is exclusive."""

    __slots__ = ("column", "end_column", "end_line", "line", "style", "text")
    noun = "a single value"

    def __init__(self, text: str, style: str, line: int, column: int, end_line: int, end_column: int) -> None:  # noqa: PLR0917  (made once per scalar: keywords cost)
        self.text = text
        self.style = style
        self.line = line
        self.column = column
        self.end_line = end_line
        self.end_column = end_column

    @property
    def null(self) -> bool:
        """Nothing was written, or a plain `null`."""
        return not self.style and self.text in NULLS


class ListNode:
    """A sequence."""

    __slots__ = ("column", "items", "line", "size")
    noun = "a list"

    def __init__(self, line: int, column: int) -> None:
        self.items: list[Node] = []
        self.line = line
        self.column = column
        self.size = 1


class MapNode:
    """A mapping with text keys: name to (key, value), in the order written."""

    __slots__ = ("column", "entries", "line", "size")
    noun = "a mapping"

    def __init__(self, line: int, column: int) -> None:
        self.entries: dict[str, tuple[ScalarNode, Node]] = {}
        self.line = line
        self.column = column
        self.size = 1


Node = ScalarNode | ListNode | MapNode
BAD = "!"
"""The style of a scalar that could not be read; what is wrong was said already."""
NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True)
class Source:
    """One file: its name, its lines, the trees in it, and what was wrong with it."""

    name: str
    lines: list[str] = field(default_factory=list, repr=False)
    roots: list[Node] = field(default_factory=list, repr=False)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    lost: bool = False
    """A document could not be read at all, so what others refer to may be in it."""
    secrets: list[str] = field(default_factory=list, repr=False)
    """What `leaks` found, so that no diagnostic repeats it."""
    hashes: bool = False
    """There is ` #` somewhere: plain texts are looked at for one that cuts them short."""

    def line(self, number: int) -> str:
        """The text of a line, counted from 1; "" past the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def complain(self, code: str, message: str, line: int, column: int, *, hint: str = "", end_column: int = 0, severity: Severity = "error") -> None:
        """Add a diagnostic at a place."""
        place = self.inside(line, column)
        line = place.line
        self.diagnostics.append(Diagnostic(severity, code, self.masked(message), place, self.masked(hint), self.line(line), end_column))

    def inside(self, line: int, column: int) -> Position:
        """The place, or the end of the file where libyaml means what would come after it."""
        if line > len(self.lines) > 0:
            line, column = len(self.lines), len(self.lines[-1]) + 1
        return Position(self.name, line, column)

    def masked(self, text: str) -> str:
        """The text without the secrets of the file. Its lines are masked already."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text

    def complain_at(self, node: Node, code: str, message: str, *, hint: str = "", severity: Severity = "error") -> None:
        """Add a diagnostic under a node, unless the node was complained of already."""
        if isinstance(node, ScalarNode) and node.style == BAD:
            return
        end = node.end_column if isinstance(node, ScalarNode) and node.end_line == node.line else 0
        self.complain(code, message, node.line, node.column, hint=hint, end_column=end, severity=severity)


def read(name: str, data: bytes) -> Source:
    """The trees of one file. Never raises on what is in it."""
    source = Source(name)
    text = _decode(source, data)
    if text is None:
        source.lost = True
        return source
    source.lines = BREAK.split(text)
    source.hashes = " #" in text
    leaks.scan(source, text)  # first of all: what is told afterwards shows lines
    if _characters_are_sound(source, text):
        _parse(source, text)
    else:
        source.lost = True
    return source


# ---------------------------------------------------------------- bytes to text


def _decode(source: Source, data: bytes) -> str | None:
    if len(data) > MAX_BYTES:
        source.complain("too-large", f"the file has more than {MAX_BYTES} bytes", 0, 0, hint="split it into several files")
        return None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        source.complain("encoding", "the file is UTF-16", 0, 0, hint="save it as UTF-8")
        return None
    body = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        good = body[: error.start].decode("utf-8")
        source.lines = BREAK.split(good)
        leaks.scan(source, good)
        byte = body[error.start]
        source.complain("encoding", f"byte 0x{byte:02x} is not UTF-8", len(source.lines), len(source.lines[-1]) + 1, hint="save the file as UTF-8")
        return None


def _characters_are_sound(source: Source, text: str) -> bool:
    if text.isascii() and text.isprintable():
        return True
    for number, line in enumerate(source.lines, 1):
        if (line.isascii() and line.isprintable()) or not (found := UNREADABLE.search(line) or DIRECTION.search(line)):
            continue
        character = f"U+{ord(found[0]):04X}"
        hint = "write it as `\\u….` in double quotes, where it is meant" if DIRECTION.match(found[0]) else "take it out"
        source.complain("character", f"character {character} is not allowed in a document", number, found.start() + 1, hint=hint)
        return False
    return True


# ---------------------------------------------------------------- text to trees


def _parse(source: Source, text: str) -> None:
    """Trees of all documents; after one that cannot be read, go on at the next `---`."""
    skipped = 0
    while True:
        try:
            source.roots.extend(_Builder(source).build(CParser(text)))
        except yaml.MarkedYAMLError as error:
            broken_at = traps.syntax(source, error)
        except _Refused as refusal:
            broken_at = refusal.line
        else:
            return
        source.lost = True
        skipped = next((index for index in range(max(broken_at, skipped + 1), len(source.lines)) if DOCUMENT.match(source.lines[index])), 0)
        if not skipped:
            return
        text = "\n" * skipped + "\n".join(source.lines[skipped:])


class _Refused(Exception):
    """What is wrong is among the diagnostics; `line` is where."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class _Builder:
    """Events of one file to nodes, with a stack of its own: depth costs no Python frames."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.anchors: dict[str, Node | None] = {}
        self.aliased = 0

    def build(self, parser: CParser) -> Iterator[Node]:
        """Yield a root for each document that says anything. Raises _Refused, and what libyaml raises."""
        next_event: Callable[[], Any] = parser.get_event
        while not isinstance(event := next_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors.clear()
                if event.version or event.tags:
                    self.refuse(event, "directive", "`%` directives are not read", "take the line out")
                root = self.node(next_event, next_event())
                if not (isinstance(root, ScalarNode) and root.null):
                    yield root

    def node(self, next_event: Callable[[], Any], event: Any) -> Node:
        """The tree that begins with `event`."""
        if type(event) is yaml.ScalarEvent:
            return self.scalar(event)
        if type(event) is yaml.AliasEvent:
            return self.alias(event)
        stack: list[tuple[ListNode | MapNode, str]] = []
        top, anchor = self.collection(event, 0)
        key: ScalarNode | None = None
        keys: list[ScalarNode | None] = []
        while True:
            event = next_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                child: Node = self.scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if type(top) is MapNode and key is None:
                    self.refuse(event, "key", "a key must be text", "write the key in quotes")
                stack.append((top, anchor))
                keys.append(key)
                top, anchor = self.collection(event, len(stack))
                key = None
                continue
            elif kind is yaml.AliasEvent:
                child = self.alias(event)
            else:  # the end of `top`
                child = top
                if anchor:
                    self.anchors[anchor] = child
                if not stack:
                    return child
                top, anchor = stack.pop()
                key = keys.pop()
            if type(top) is ListNode:
                top.items.append(child)
                top.size += 1 if type(child) is ScalarNode else child.size  # type: ignore[union-attr]
            elif key is None:
                key = self.key(child)
            else:
                self.enter(top, key, child)  # type: ignore[arg-type]
                key = None

    def scalar(self, event: Any) -> ScalarNode:
        start, end = event.start_mark, event.end_mark
        node = ScalarNode(event.value, event.style or "", start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        if event.tag is not None:
            self.tag(event, node)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def tag(self, event: Any, node: Node) -> None:
        """Told once, here: the node stays, unreadable, so that the rest of the document is checked too."""
        self.source.complain_at(node, "tag", f"`{traps.spelt(event.tag)}` is a YAML tag, and tags are not read", hint=traps.quoted(self.source.line(node.line)))
        if isinstance(node, ScalarNode):
            node.text, node.style = "", BAD

    def collection(self, event: Any, depth: int) -> tuple[ListNode | MapNode, str]:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if depth >= MAX_DEPTH:
            self.refuse(event, "depth", f"nested deeper than {MAX_DEPTH}", "")
        node = (MapNode if type(event) is yaml.MappingStartEvent else ListNode)(line, column)
        if event.tag is not None:
            self.tag(event, node)
        anchor = event.anchor or ""
        if anchor:
            self.anchors[anchor] = None  # known, and not ready: an alias to it from inside would never end
        return node, anchor

    def alias(self, event: Any) -> Node:
        name = event.anchor
        node = self.anchors.get(name)
        if node is None:
            reason = "and stands inside its own anchor" if name in self.anchors else f"and nothing is anchored as `&{name}`"
            self.source.complain("alias", f"`*{name}` is an alias, {reason}", event.start_mark.line + 1, event.start_mark.column + 1, hint=traps.STARS)
            return ScalarNode("", BAD, event.start_mark.line + 1, event.start_mark.column + 1, event.end_mark.line + 1, event.end_mark.column + 1)
        self.aliased += 1 if isinstance(node, ScalarNode) else node.size
        if self.aliased > MAX_ALIASED:
            self.refuse(event, "alias", f"aliases stand for more than {MAX_ALIASED} values", "write the values out")
        return node

    def key(self, node: Node) -> ScalarNode:
        if not isinstance(node, ScalarNode):
            self.source.complain_at(node, "key", "a key must be text", hint="write the key in quotes")
            raise _Refused(node.line)
        if node.text == "<<" and not node.style:
            self.source.complain_at(node, "merge-key", "merge keys (`<<`) are not read", hint="write the fields out")
        return node

    def enter(self, top: MapNode, key: ScalarNode, value: Node) -> None:
        top.size += 1 if type(value) is ScalarNode else value.size  # type: ignore[union-attr]
        if key.text in top.entries:
            first = top.entries[key.text][0]
            self.source.complain_at(
                key, "duplicate-key", f"`{key.text}` is given twice; the first is on line {first.line}, column {first.column}", hint="keep one of them"
            )
        elif key.text != "<<" or key.style:
            top.entries[key.text] = (key, value)

    def refuse(self, event: Any, code: str, message: str, hint: str) -> NoReturn:
        line = event.start_mark.line + 1
        self.source.complain(code, message, line, event.start_mark.column + 1, hint=hint)
        raise _Refused(line)
