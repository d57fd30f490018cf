"""Closures for `==`, `!=`, order and `in`, by static types: Python's own operator where it says the same as CEL."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.types import NUMERIC, ORDERED, Type
from sidecar.expr.values import NUMBERS, contains, equals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.expr.access import Run


_WHOLE: Final = frozenset({"int", "uint"})
_EXACT: Final = 2**53
"""Below this every int is a double, so that CEL, which rounds an int beside a double, and Python, which does not, agree."""
OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def is_exact(constant: Any) -> bool:
    """Whether it is a number that Python and CEL compare alike with every other."""
    return type(constant) in NUMBERS and abs(constant) < _EXACT


def same_order(left: Type, right: Type, constant: Any = None) -> bool:
    """Whether Python's operators do on these types what CEL's do; `constant` is the value of the right side, where it is known."""
    if left.kind == right.kind or {left.kind, right.kind} <= _WHOLE:
        return left.kind in ORDERED
    return {left.kind, right.kind} <= NUMERIC and is_exact(constant)


def comparison(sign: str, left: Run, right: Run) -> Run:
    """`left sign right` by Python's operator; for types of which `same_order` holds."""
    make: dict[str, Callable[[Run, Run], Run]] = {
        "<": lambda a, b: lambda f: a(f) < b(f),
        "<=": lambda a, b: lambda f: a(f) <= b(f),
        ">": lambda a, b: lambda f: a(f) > b(f),
        ">=": lambda a, b: lambda f: a(f) >= b(f),
        "==": lambda a, b: lambda f: a(f) == b(f),
        "!=": lambda a, b: lambda f: a(f) != b(f),
    }
    return make[sign](left, right)


def with_constant(sign: str, left: Run, value: Any) -> Run:
    """`left sign value` by Python's operator."""
    make: dict[str, Callable[[Run, Any], Run]] = {
        "<": lambda a, c: lambda f: a(f) < c,
        "<=": lambda a, c: lambda f: a(f) <= c,
        ">": lambda a, c: lambda f: a(f) > c,
        ">=": lambda a, c: lambda f: a(f) >= c,
        "==": lambda a, c: lambda f: a(f) == c,
        "!=": lambda a, c: lambda f: a(f) != c,
    }
    return make[sign](left, value)


def number_with_constant(sign: str, left: Run, value: Any, otherwise: Callable[[Any, Any], Any]) -> Run:
    """`left sign value` for a number `value`, where it shows only now what `left` is; `otherwise` has the answer for what is no number."""
    compare = OPERATORS[sign]

    def run(frame: Any) -> Any:
        found = left(frame)
        return compare(found, value) if type(found) in NUMBERS else otherwise(found, value)

    return run


def equality(left: Run, right: Run, *, negated: bool) -> Run:
    """CEL equality of any two values."""
    if negated:
        return lambda f: not equals(left(f), right(f))
    return lambda f: equals(left(f), right(f))


def among(left: Run, words: frozenset[str]) -> Run:
    """`left in [words]`, whatever `left` is: a value that cannot be hashed is no text."""

    def run(frame: Any) -> bool:
        value = left(frame)
        return type(value) is str and value in words

    return run


def word_in_list(left: Run, items: Run) -> Run:
    """`left in items` for texts; `UNKNOWN` among the items raises when it is compared."""

    def run(frame: Any) -> bool:
        values = items(frame)
        if type(values) is list or type(values) is tuple:
            return left(frame) in values
        return contains(values, left(frame))

    return run
