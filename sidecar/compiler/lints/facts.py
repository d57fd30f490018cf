"""What a condition says of each value when it is true, or when it is false; and whether that can be.

Values are told apart by the shape of their expression, which within one decision has one value. Each has the constants it must or
must not be, and bounds. `narrowed` is sound: None means that no call makes it so; anything else means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sidecar.expr import tree

if TYPE_CHECKING:
    from collections.abc import Mapping

Key = tuple[Any, ...]
Constant = tuple[str, Any]
"""A constant with its kind: 1 and 1.0 are one number, `true` is none."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Of one value. `only`: one of these; `never`: none of these; `low` and `high`: bounds as (number, open)."""

    only: frozenset[Constant] | None = None
    never: frozenset[Constant] = frozenset()
    low: tuple[float, bool] | None = None
    high: tuple[float, bool] | None = None
    prefixes: tuple[str, ...] = ()

    def possible(self) -> bool:
        """Whether any value is left."""
        if self.low and self.high and (self.low[0] > self.high[0] or (self.low[0] == self.high[0] and (self.low[1] or self.high[1]))):
            return False
        if any(not (one.startswith(other) or other.startswith(one)) for one in self.prefixes for other in self.prefixes):
            return False
        return self.only is None or any(self.admits(each) for each in self.only)

    def admits(self, constant: Constant) -> bool:
        """Whether it may be this constant."""
        kind, value = constant
        if constant in self.never or (self.prefixes and not (kind == "text" and value.startswith(self.prefixes))):
            return False
        if not (self.low or self.high):
            return True
        return kind == "number" and self._within(value)

    def _within(self, value: float) -> bool:
        above = not self.low or value > self.low[0] or (value == self.low[0] and not self.low[1])
        return above and (not self.high or value < self.high[0] or (value == self.high[0] and not self.high[1]))


def narrowed(node: tree.Node, want: bool, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    """What is known once `node` is `want`, beside what was known; None where that can't be."""
    match node:
        case tree.Constant(value=bool(value)):
            return facts if value is want else None
        case tree.Call(function="!_", args=(inner,)):
            return narrowed(inner, not want, facts)
        case tree.Logic(op=op, terms=terms):
            return _every(terms, want, facts) if (op == "&&") is want else _some(terms, want, facts)
        case tree.Choice(test=test, yes=yes, no=no):
            return _branches(test, yes, no, want=want, facts=facts)
    return _atom(node, want, facts)


def _every(terms: tuple[tree.Node, ...], want: bool, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    found: Mapping[Key, Fact] | None = facts
    for term in sorted(terms, key=lambda term: isinstance(term, tree.Logic | tree.Choice)):  # what is plain first: it narrows the others
        found = narrowed(term, want, found) if found is not None else None
    return found


def _some(terms: tuple[tree.Node, ...], want: bool, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    ways = [found for term in terms if (found := narrowed(term, want, facts)) is not None]
    return None if not ways else ways[0] if len(ways) == 1 else facts


def _branches(test: tree.Node, yes: tree.Node, no: tree.Node, *, want: bool, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    for side, branch in ((True, yes), (False, no)):
        known = narrowed(test, side, facts)
        if known is not None and narrowed(branch, want, known) is not None:
            return facts
    return None


# ---------------------------------------------------------------- one comparison

_MIRROR = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_"}
_OPPOSITE = {"_<_": "_>=_", "_<=_": "_>_", "_>_": "_<=_", "_>=_": "_<_"}


def _atom(node: tree.Node, want: bool, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    match node:
        case tree.Call(function="_==_" | "_!=_" as sign, target=None, args=(left, right)):
            value, constant = (right, constant_of(left)) if constant_of(right) is None else (left, constant_of(right))
            if constant is not None:
                return _told(key_of(value), frozenset({constant}), (sign == "_==_") is want, facts)
        case tree.Call(function="@in", target=None, args=(value, tree.Listing(items=items, optionals=optionals))):
            known = [constant_of(item) for item in items]
            if not optionals and known and None not in known:
                return _told(key_of(value), frozenset(each for each in known if each is not None), want, facts)
        case tree.Call(function="_<_" | "_<=_" | "_>_" | "_>=_" as sign, target=None, args=(left, right)):
            value, number, way = (right, _number(left), _MIRROR[sign]) if _number(right) is None else (left, _number(right), str(sign))
            if number is not None:
                return _bounded(key_of(value), way if want else _OPPOSITE[way], number, facts)
        case tree.Call(function="startsWith", target=tree.Node() as value, args=(tree.Constant(value=str(prefix)),)) if want:
            fact = facts.get(key_of(value), Fact())
            return _with(key_of(value), replace(fact, prefixes=(*fact.prefixes, prefix)), facts)
    return _told(key_of(node), frozenset({("bool", True)}), want, facts)


def _told(key: Key, constants: frozenset[Constant], same: bool, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    fact = facts.get(key, Fact())
    if same:
        return _with(key, replace(fact, only=constants if fact.only is None else fact.only & constants), facts)
    return _with(key, replace(fact, never=fact.never | constants), facts)


def _bounded(key: Key, sign: str, number: float, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    fact, bound = facts.get(key, Fact()), (number, sign in {"_<_", "_>_"})
    if sign in {"_>_", "_>=_"}:
        return _with(key, replace(fact, low=bound if fact.low is None else max(fact.low, bound)), facts)
    tighter = bound if fact.high is None else min(fact.high, bound, key=lambda each: (each[0], not each[1]))
    return _with(key, replace(fact, high=tighter), facts)


def _with(key: Key, fact: Fact, facts: Mapping[Key, Fact]) -> Mapping[Key, Fact] | None:
    return {**facts, key: fact} if fact.possible() else None


# ---------------------------------------------------------------- shapes


def constant_of(node: tree.Node) -> Constant | None:
    """A literal, with its kind. `-1` is one too."""
    if isinstance(node, tree.Call) and node.function == "-_" and node.target is None:
        number = _number(node.args[0])
        return None if number is None else ("number", -number)
    if not isinstance(node, tree.Constant):
        return None
    value = node.value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        return ("number", value)
    return ("text", value) if isinstance(value, str) else ("other", repr(value))


def _number(node: tree.Node) -> float | None:
    found = constant_of(node)
    return found[1] if found is not None and found[0] == "number" else None


def key_of(node: tree.Node) -> Key:
    """The shape of an expression: equal for two that always have the same value."""
    match node:
        case tree.Constant(value=value):
            return ("constant", type(value).__name__, repr(value))
        case tree.Ident(name=name):
            return ("name", name)
        case tree.Select(operand=operand, field=name, mode=mode):
            return ("select", mode, key_of(operand), name)
        case tree.Index(operand=operand, index=index, optional=optional):
            return ("index", optional, key_of(operand), key_of(index))
        case tree.Call(function=function, target=target, args=args):
            return ("call", function, None if target is None else key_of(target), *map(key_of, args))
        case tree.Logic(op=op, terms=terms):
            return ("logic", op, *map(key_of, terms))
        case tree.Choice(test=test, yes=yes, no=no):
            return ("choice", key_of(test), key_of(yes), key_of(no))
        case tree.Listing(items=items, optionals=optionals):
            return ("list", tuple(sorted(optionals)), *map(key_of, items))
    return ("only", id(node))
