"""What a condition asks of a single field by comparing it with constants, so that the index can pass it by without running it.

Only top-level conjuncts count: where one of them is false the whole is false, whatever the others do, errors included (CEL's
`&&`). Counterpart: `sidecar.compiler.dimensions`, which knows the fields that are never absent. Knows nothing of rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.expr import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.expr.check import Checked

Word = str | bool


class Pin(NamedTuple):
    """The condition is false unless the value at `path` (dotted, as in `Program.reads`), or an element of it, is one of `values`.

    That holds where the path is there and its value is known: what it may be, its reader must know.
    """

    path: str
    values: frozenset[Word]


_SCALARS: Final = (str, bool)


def pins(root: tree.Node, checked: Checked) -> tuple[Pin, ...]:
    """The pins of a checked expression, in the order written."""
    return tuple(pin for term in _conjuncts(root) if (pin := _pin(term, checked)) is not None)


def _conjuncts(node: tree.Node) -> Iterator[tree.Node]:
    if isinstance(node, tree.Logic) and node.op == "&&":
        for term in node.terms:
            yield from _conjuncts(term)
    else:
        yield node


def _pin(node: tree.Node, checked: Checked) -> Pin | None:
    match node:
        case tree.Logic(op="||", terms=terms):
            return _either([_pin(term, checked) for term in terms])
        case tree.Call(function="_==_", args=(left, right)):
            return _made(left, (right,), checked) or _made(right, (left,), checked)
        case tree.Call(function="@in", args=(left, tree.Listing(items=items, optionals=optionals))) if items and not optionals:
            return _made(left, items, checked)
        case tree.Call(function="@in", args=(tree.Constant() as word, right)):
            return _made(right, (word,), checked)
        case tree.Call(function="!_", args=(inner,)):
            return _flag(inner, checked, value=False)
    return _flag(node, checked, value=True)


def _either(sides: list[Pin | None]) -> Pin | None:
    """One of several: a pin only where all of them are of one field."""
    found = [pin for pin in sides if pin is not None]
    if len(found) < len(sides) or len({pin.path for pin in found}) > 1:
        return None
    return Pin(found[0].path, frozenset().union(*(pin.values for pin in found)))


def _made(field: tree.Node, words: tuple[tree.Node, ...], checked: Checked) -> Pin | None:
    path = _path(field, checked)
    values = [word.value for word in words if isinstance(word, tree.Constant) and type(word.value) in _SCALARS]
    return Pin(path, frozenset(values)) if path and len(values) == len(words) else None


def _flag(node: tree.Node, checked: Checked, *, value: bool) -> Pin | None:
    path = _path(node, checked) if checked.types[node].kind == "bool" else ""
    return Pin(path, frozenset({value})) if path else None


def _path(node: tree.Node, checked: Checked) -> str:
    """`variable.name.name` where all of it is plain and declared; else nothing."""
    if isinstance(node, tree.Ident):
        ref = checked.refs.get(node)
        return ref if isinstance(ref, str) else ""
    if not isinstance(node, tree.Select) or node.mode != "plain":
        return ""
    owner = checked.types.get(node.operand)  # none in the name of a type
    above = _path(node.operand, checked) if owner is not None and owner.kind == "record" else ""
    return f"{above}.{node.field}" if above else ""
