"""What each part of an expression gave: a tree of sub-expressions with their results, for `explain` and `eval`.

The expression is built as `program` builds it, with every closure watched, so it runs exactly as ever: what short-circuit
evaluation never reached is `UNREAD`. Of a macro the parts hold one turn: the one that decided, else the last; `turn` says which.
A literal is no part, and a chain of names is one. `shown` has the tree as text.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr import tree
from sidecar.expr.closures import VARYING, Builder, Code
from sidecar.expr.lexer import tokens
from sidecar.expr.program import Program, checked_tree
from sidecar.expr.types import DYN, Type
from sidecar.expr.values import FAILURES, UNKNOWN, Exhausted, Fault, TypeValue, UnknownReached, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.expr.access import Run
    from sidecar.expr.check import Checked
    from sidecar.expr.declarations import Declarations


class Unread:
    """The type of `UNREAD`, which says that evaluation never came here."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNREAD"


UNREAD: Final = Unread()


@dataclass(frozen=True, slots=True)
class Trace:
    """One sub-expression: its text (`source[start:end]`), its result (a plain value, a Fault, UNKNOWN or UNREAD) and its parts.

    `turn` is set on a macro that walked: its parts show that turn, counted from 1.
    """

    text: str
    start: int
    end: int
    result: Any
    children: tuple[Trace, ...] = ()
    turn: int = 0


def trace(source: str, declarations: Declarations, bindings: Mapping[str, Any], *, result: Type = DYN) -> Trace:
    """Compile and run, and tell what each part gave. Raises ExprError, as `compile` does."""
    root, checked = checked_tree(source, declarations, result)
    watcher = _Watcher(checked)
    program = Program(source, root, checked, watcher.build)
    watcher.start()
    value = program(bindings)
    return _Teller(source, checked, watcher).told(root, value)


class _Watcher(Builder):
    """Builds closures that write down what they give."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked)
        self.seen: dict[tree.Node, Any] = {}
        self.folded: dict[tree.Node, Any] = {}
        """Results that came out at load, with those of the parts."""
        self.turns: dict[tree.Node, int] = {}
        self._turned: dict[tree.Node, tree.Node] = {}
        """The part with which each turn of a macro begins, and the macro."""
        self._failed: dict[tree.Node, tuple[dict[tree.Node, Any], int, bool]] = {}

    def start(self) -> None:
        """Forget what was written down while folding."""
        self.seen.clear()
        self._failed.clear()

    def build(self, node: tree.Node) -> Code:
        code = super().build(node)
        if code.constant is not VARYING:
            self.folded[node] = code.constant
            self.folded.update({part: self.seen[part] for part in _below(node) if part in self.seen})
        if isinstance(node, tree.Constant):
            return code
        return Code(self.watched(node, code.run), code.constant)

    def fold(self, node: tree.Fold) -> Run:
        first = node.test or node.body
        if first is not None:
            self._turned[first] = node
        return super().fold(node)

    def watched(self, node: tree.Node, run: Run) -> Run:
        seen = self.seen
        macro = self._turned.get(node)

        def watch(frame: Any) -> Any:
            if macro is not None:
                self.turn(macro)
            if type(node) is tree.Fold:
                self.enter(node)
            try:
                value = run(frame)
            except (*FAILURES, Exhausted) as error:
                seen[node] = _result(error)
                self.failed(node, macro, error)
                raise
            seen[node] = value
            return value

        return watch

    def enter(self, macro: tree.Fold) -> None:
        """A macro begins: nothing is left of the last time it ran."""
        self.turns.pop(macro, None)
        self._failed.pop(macro, None)
        self.forget(macro)

    def turn(self, macro: tree.Node) -> None:
        """A turn begins: nothing is left of the one before."""
        self.turns[macro] = self.turns.get(macro, 0) + 1
        self.forget(macro)

    def forget(self, macro: tree.Node) -> None:
        for part in _turning(macro):
            self.seen.pop(part, None)

    def failed(self, node: tree.Node, macro: tree.Node | None, error: Exception) -> None:
        """Of the turns that fail the first decides, or the first that is not known (`folds.worse`): keep it, others may follow."""
        if node in self._failed:
            self.forget(node)
            held, self.turns[node], _ = self._failed.pop(node)
            self.seen.update(held)
        if macro is not None:
            unknown = isinstance(error, UnknownReached)
            kept = self._failed.get(macro)
            if kept is None or (unknown and not kept[2]):
                now = {part: self.seen[part] for part in _turning(macro) if part in self.seen}
                self._failed[macro] = (now, self.turns[macro], unknown)


class _Teller:
    """Makes the tree of what was written down."""

    def __init__(self, source: str, checked: Checked, watcher: _Watcher) -> None:
        self.source = source
        self.checked = checked
        self.watcher = watcher
        self.tokens = tokens(source)
        self.starts = [token.start for token in self.tokens]

    def told(self, node: tree.Node, value: Any) -> Trace:
        start, end = self.whole(node)
        parts = tuple(self.told(part, self.result(part, node, value)) for part in _parts(node) if not self.literal(part))
        turn = self.watcher.turns.get(node, 0) if value is not UNREAD else 0
        return Trace(self.source[start:end], start, end, value, parts, turn)

    def result(self, node: tree.Node, above: tree.Node, value: Any) -> Any:
        """What a part gave, where its whole gave `value`."""
        if value is UNREAD:
            return UNREAD
        seen, folded = self.watcher.seen, self.watcher.folded
        if node in seen:
            return seen[node]
        # what is constant may be used without being run; but `&&`, `||` and `? :` run all they come to
        chosen = isinstance(above, tree.Logic | tree.Choice) and above not in folded
        return UNREAD if chosen else folded.get(node, UNREAD)

    def literal(self, node: tree.Node) -> bool:
        """Whether it says its value itself: literals, lists and maps of them, names of types; and namespaces, which have none."""
        if isinstance(node, tree.Listing | tree.Mapped):
            return all(self.literal(part) for part in _parts(node))
        return isinstance(node, tree.Constant) or type(self.checked.refs.get(node)) is TypeValue or node not in self.checked.types

    def whole(self, node: tree.Node) -> tuple[int, int]:
        """Where the node stands, with the parentheses that its outermost parts have around them."""
        first, after = bisect_left(self.starts, node.start), bisect_left(self.starts, node.end)
        depth = closing = 0
        for token in self.tokens[first:after]:
            depth += (token.kind == "(") - (token.kind == ")")
            closing = max(closing, -depth)
        opening = depth + closing
        return self.tokens[first - closing].start, self.tokens[after + opening - 1].end


def _result(error: Exception) -> Any:
    return UNKNOWN if isinstance(error, UnknownReached) else Fault(told(error))


def _parts(node: tree.Node) -> Iterator[tree.Node]:
    """The sub-expressions that evaluation looks at, in their order. A chain of names is read as one, and so is one under `has`."""
    read = node.operand if isinstance(node, tree.Select | tree.Index) else None
    return (part for part in tree.children(node) if part is not read or not _is_chain(part))


def _is_chain(node: tree.Node) -> bool:
    while isinstance(node, tree.Select) and node.mode == "plain":
        node = node.operand
    return isinstance(node, tree.Ident)


def _own(macro: tree.Fold) -> tuple[tree.Node, ...]:
    return tuple(part for part in (macro.test, macro.body) if part is not None)


def _below(node: tree.Node) -> Iterator[tree.Node]:
    for part in _parts(node):
        yield part
        yield from _below(part)


def _turning(macro: tree.Node) -> Iterator[tree.Node]:
    """All parts of a macro that run once a turn."""
    for part in _own(macro) if isinstance(macro, tree.Fold) else ():
        yield part
        yield from _below(part)
