"""A tree and its comments to text. Counterpart: `tree`.

Lines are written in the order of the source and comments wait in a queue: before a value is written, all comments that
stand before it are. So none is lost and none overtakes another, whatever the values are made into.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sidecar.workbench.fmt import spell
from sidecar.workbench.fmt.tree import BLOCKS, Comment, Map, Node, Scalar, Seq

if TYPE_CHECKING:
    from sidecar.workbench.fmt.tree import Parsed, Root

WIDTH = 160
"""Columns that a line in brackets may have."""
STEP = 2
"""Spaces per level."""


def printed(parsed: Parsed) -> str:
    """The whole file."""
    printer = _Printer(parsed)
    for index, root in enumerate(parsed.roots):
        printer.document(root, first=index == 0)
    printer.rest()
    return "".join(f"{line}\n" for line in printer.lines)


class _Printer:
    """`lines` so far. `takes`: the last one may get a comment at its end. `opens`: what it begins goes on below it, so no blank line follows."""

    def __init__(self, parsed: Parsed) -> None:
        self.text = parsed.text
        self.waiting: deque[Comment] = deque(parsed.comments)
        self.lines: list[str] = []
        self.takes = False
        self.opens = True
        first = parsed.comments[0] if parsed.comments and parsed.roots and parsed.comments[0].start < _start(parsed.roots[0].node) else None
        self.editors = first.text if first is not None and speaks_to_editors(first) else ""

    def document(self, root: Root, *, first: bool) -> None:
        node = root.node
        if not first:
            self.comments(root.start, 0)
            self.line("---", opens=True)
            self.for_editors(_start(node))
        if isinstance(node, Map) and node.entries:
            if node.anchor:
                self.line(f"&{node.anchor}", opens=True)
            self.map(node, 0)
        elif isinstance(node, Seq) and node.items and not node.flow:
            self.seq(node, 0)
        else:
            self.comments(_start(node), 0)
            self.value("", "", node, 0)

    def for_editors(self, start: int) -> None:
        """What the first line of the file says to editors, said again: they read it in each document for itself."""
        if self.editors and not any(speaks_to_editors(comment) for comment in self.before(start)):
            self.lines.append(self.editors)
            self.takes = False

    def rest(self) -> None:
        """The comments at the end."""
        self.comments(len(self.text), 0)

    # ------------------------------------------------------------ collections

    def map(self, node: Map, indent: int, lead: str = "") -> None:
        """The entries; `lead` is what the first one's line begins with (the dashes of lists)."""
        for key, value in node.entries:
            self.entry(lead, f"{spell.key(key)}:", key.start, value, indent)
            lead = ""
        self.close(node, indent)

    def seq(self, node: Seq, indent: int, lead: str = "") -> None:
        for item in node.items:
            self.entry(lead, "-", _start(item), item, indent)
            lead = ""
        self.close(node, indent)

    def entry(self, lead: str, head: str, start: int, value: Node, indent: int) -> None:
        """`head` is a key or a dash. What stands between it and a value on its line goes above it."""
        if not lead:
            self.comments(start, indent)
            self.blank(start)
        self.value(lead or " " * indent, head, value, indent)

    def value(self, pad: str, head: str, node: Node, indent: int) -> None:
        text = self.inline(node, WIDTH - len(pad) - len(head) - 1)
        if text is not None:
            self.comments(_start(node), len(pad) - len(pad.lstrip()), above=True)
            self.line(f"{pad}{head} {text}".rstrip(" ") if head else _unlike_a_mark(text))
        elif isinstance(node, Scalar):
            self.block(f"{pad}{head} " if head else "", node, indent)
        elif head == "-" and not node.anchor:
            self.nested(node, indent + STEP, f"{pad}- ")
        else:
            self.line(f"{pad}{head}" + (f" &{node.anchor}" if node.anchor else ""), opens=True)
            self.nested(node, indent + STEP, "")

    def nested(self, node: Map | Seq, indent: int, lead: str) -> None:
        if isinstance(node, Map):
            self.map(node, indent, lead)
        else:
            self.seq(node, indent, lead)

    def close(self, node: Map | Seq, indent: int) -> None:
        """Comments after the last entry that belong to it: within the brackets, or as far in as its entries were."""
        while self.waiting and self.waiting[0].start < node.end:
            comment = self.waiting[0]
            if not node.flow and comment.own and comment.column < node.column:
                return
            self.comment(self.waiting.popleft(), indent)

    # ------------------------------------------------------------ values

    def inline(self, node: Node, room: int) -> str | None:
        """The value on the line of its key; None where it needs lines of its own."""
        if isinstance(node, Scalar):
            return self.scalar(node, room)
        if (node.items if isinstance(node, Seq) else node.entries) and (not node.flow or self.commented(node)):
            return None
        text = _flow(node)
        return text if len(text) <= room or len(text) == 2 else None

    def scalar(self, node: Scalar, room: int) -> str | None:
        if node.style in BLOCKS:
            return None
        text = spell.spelt(node, flow=False)
        spread = "\n" in self.text[node.start : node.end] and not node.anchor
        if spread and (len(text) > room or "\n" in node.text) and spell.broken(node.text, WIDTH):
            return None
        return text

    def commented(self, node: Map | Seq) -> bool:
        """Whether a comment stands within it. All before it are written already, or go above it."""
        return any(node.start < comment.start < node.end for comment in self.before(node.end))

    def before(self, place: int) -> list[Comment]:
        found = []
        for comment in self.waiting:
            if comment.start >= place:
                break
            found.append(comment)
        return found

    def block(self, lead: str, node: Scalar, indent: int) -> None:
        """A block of text below its header. A comment beside the header stays there."""
        header, lines = spell.block(node) if node.style in BLOCKS else spell.broken(node.text, WIDTH - indent - STEP) or ("", [])
        self.comments(node.start, len(lead) - len(lead.lstrip()), above=True)
        self.line(lead + (f"&{node.anchor} " if node.anchor else "") + header)
        self.comments(self.text.find("\n", node.start) if node.style in BLOCKS else 0, indent)
        self.lines += [" " * (indent + STEP) + line if line else "" for line in lines]
        self.takes, self.opens = False, header.endswith("+")

    # ------------------------------------------------------------ lines

    def line(self, text: str, *, opens: bool = False) -> None:
        self.lines.append(text)
        self.takes, self.opens = True, opens

    def comments(self, place: int, indent: int, *, above: bool = False) -> None:
        """Write those that stand before `place`. `above`: the line they stand on is still to come."""
        while self.waiting and self.waiting[0].start < place:
            self.comment(self.waiting.popleft(), indent, above=above)

    def comment(self, comment: Comment, indent: int, *, above: bool = False) -> None:
        if not comment.own and not above and self.takes:
            self.lines[-1] += f" {comment.text}"
        else:
            self.blank(comment.start)
            self.lines.append(" " * indent + comment.text)
            self.opens = False
        self.takes = False

    def blank(self, place: int) -> None:
        """One blank line where there was one, or more."""
        start = self.text.rfind("\n", 0, place)
        before = self.text[self.text.rfind("\n", 0, max(start, 0)) + 1 : max(start, 0)]
        if start > 0 and not before.strip() and not self.opens and self.lines and self.lines[-1]:
            self.lines.append("")


def speaks_to_editors(comment: Comment) -> bool:
    """Whether it tells a YAML language server where the schema is."""
    return comment.text.startswith("# yaml-language-server: $schema=")


def _start(node: Node) -> int:
    """The first character that is written of a node: of a block, that of its first entry."""
    if isinstance(node, Seq) and not node.flow and node.items:
        return _start(node.items[0])
    if isinstance(node, Map) and not node.flow and node.entries:
        return node.entries[0][0].start
    return node.start


def _unlike_a_mark(text: str) -> str:
    """A lone text at the start of a line, where `---` and `...` begin and end documents."""
    return f" {text}" if text.startswith(("---", "...")) else text


def _flow(node: Node) -> str:
    if isinstance(node, Scalar):
        return spell.spelt(node, flow=True)
    lead = f"&{node.anchor} " if node.anchor else ""
    if isinstance(node, Seq):
        return f"{lead}[{', '.join(map(_flow, node.items))}]"
    return lead + "{" + ", ".join(f"{spell.key(key)}: {_flow(value)}" for key, value in node.entries) + "}"
