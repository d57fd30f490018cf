"""A static estimate of what an evaluation costs, in comparisons (one is about 0.1 µs). Ranges of unknown size count as `RANGE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.expr import tree

if TYPE_CHECKING:
    from sidecar.expr.check import Checked

RANGE: Final = 100
CEILING: Final = 10**9


def estimate(node: tree.Node, checked: Checked) -> int:
    """Steps, never more than `CEILING`."""
    return min(_estimate(node, checked), CEILING)


def _estimate(node: tree.Node, checked: Checked) -> int:
    match node:
        case tree.Constant() | tree.Ident():
            return 0
        case tree.Select(operand=operand):
            return 1 + estimate(operand, checked) if not isinstance(operand, tree.Ident) else 1
        case tree.Index(operand=operand, index=index):
            return 1 + estimate(operand, checked) + estimate(index, checked)
        case tree.Call():
            resolution = checked.calls[node]
            return max(o.cost for o in resolution.overloads) + sum(estimate(a, checked) for a in resolution.args)
        case tree.Logic(terms=terms):
            return sum(estimate(t, checked) for t in terms)
        case tree.Choice(test=test, yes=yes, no=no):
            return estimate(test, checked) + max(estimate(yes, checked), estimate(no, checked))
        case tree.Listing(items=items):
            return 1 + sum(estimate(i, checked) for i in items)
        case tree.Mapped(entries=entries):
            return 1 + sum(estimate(n, checked) for entry in entries for n in entry)
        case tree.Bind(value=value, body=body):
            return 1 + estimate(value, checked) + estimate(body, checked)
        case tree.Fold(over=over, test=test, body=body):
            times = len(over.items) if isinstance(over, tree.Listing) else RANGE
            return estimate(over, checked) + times * (1 + sum(estimate(n, checked) for n in (test, body) if n is not None))
    raise TypeError(type(node).__name__)  # pragma: no cover - the cases above are all there are
