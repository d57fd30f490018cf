"""A condition with one thing changed: the mutants of an expression. Each is checked by the compiler like any other text.

Left out are changes that cannot be told apart: the default in `orValue(0)`, the only element of a list, one that stands there twice.
Counterpart: `mutants.py`, which changes documents and knows where the expression stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.expr import tree
from sidecar.expr.parser import parse
from sidecar.expr.spell import spell, within

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIFTED: Final = {"_<_": "<=", "_<=_": "<", "_>_": ">=", "_>=_": ">", "_==_": "!=", "_!=_": "=="}
"""Comparisons and what each becomes."""


class Weaker(NamedTuple):
    """The changed source, the place of the change in the old one (offset), and what was changed in words."""

    source: str
    offset: int
    what: str


def weaker(source: str, *, condition: bool = True) -> list[Weaker]:
    """Every change of an expression, each source once. `condition` False leaves out what makes sense for a whole condition alone."""
    root = parse(source)
    found = {spell(root, source, {}): Weaker(source, 0, "")}
    for each in _all(root, source, condition=condition):
        found.setdefault(each.source, each)
    return [each for each in found.values() if each.what]


def _all(root: tree.Node, source: str, *, condition: bool) -> Iterator[Weaker]:
    if condition:
        yield Weaker("true", root.start, "made always true")
        yield Weaker("false", root.start, "made always false")
        yield _changed(root, root, source, f"!({spell(root, source, {})})", "negated")
    for node in _below(root):
        for text, what in _changes(node, source):
            yield _changed(root, node, source, text, what)


def _changed(root: tree.Node, node: tree.Node, source: str, text: str, what: str) -> Weaker:
    return Weaker(text if node is root else spell(root, source, {node: text}), node.start, what)


def _below(node: tree.Node) -> Iterator[tree.Node]:
    """Every node whose change can be seen; not the default of an `orValue`, which is the missing-field case of coverage."""
    yield node
    for child in within(node):
        if not (isinstance(node, tree.Call) and node.function == "orValue" and child is not node.target and isinstance(child, tree.Constant)):
            yield from _below(child)


def _changes(node: tree.Node, source: str) -> Iterator[tuple[str, str]]:
    match node:
        case tree.Logic(op=op, terms=terms):
            for term in terms:
                kept = [spell(other, source, {}) if len(terms) == 2 else f"({spell(other, source, {})})" for other in terms if other is not term]
                yield f" {op} ".join(kept), f"without `{spell(term, source, {})}`"
        case tree.Choice(yes=yes, no=no):
            yield spell(yes, source, {}), f"always `{spell(yes, source, {})}`"
            yield spell(no, source, {}), f"always `{spell(no, source, {})}`"
        case tree.Constant(value=value) if type(value) in (int, float):
            for other in (value + 1, value - 1):
                yield str(other), f"`{source[node.start : node.end]}` made `{other}`"
        case tree.Call(function=function, args=(left, right)) if function in SHIFTED:
            other = SHIFTED[function]
            yield f"{_operand(left, source)} {other} {_operand(right, source)}", f"`{function.strip('_')}` made `{other}` before `{spell(right, source, {})}`"
        case tree.Call(function="!_", args=args):
            yield spell(args[0], source, {}), f"without the `!` of `{spell(node, source, {})}`"
        case tree.Listing(items=items, optionals=optionals) if len(items) > 1 and not optionals:
            texts = [spell(item, source, {}) for item in items]
            for place, text in enumerate(texts):
                if texts.count(text) == 1:
                    yield f"[{', '.join(texts[:place] + texts[place + 1 :])}]", f"without `{text}`"


def _operand(node: tree.Node, source: str) -> str:
    text = spell(node, source, {})
    return text if isinstance(node, tree.Constant | tree.Ident | tree.Select | tree.Index | tree.Listing) else f"({text})"
