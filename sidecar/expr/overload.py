"""One way to call a function: its signature and what it does. The table of all of them is `functions`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.expr.types import Type

Apply = Callable[..., Any]
Prepare = Callable[[Any], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Overload:
    """A signature with its implementation.

    `params` begin with the receiver where `member`. `apply` takes values of these kinds and raises `values.FAILURES` only.
    `prepare` makes, from a literal last argument, a function of the other arguments (a pattern is compiled once, at load);
    it raises ValueError for a literal that makes no sense. Where `literal`, nothing but a literal is taken.
    `variadic`: the last parameter may be repeated. `cost` is relative to one comparison.
    """

    name: str
    params: tuple[Type, ...]
    result: Type
    apply: Apply
    member: bool = False
    prepare: Prepare | None = None
    literal: bool = False
    variadic: bool = False
    cost: int = 1

    def __str__(self) -> str:
        if self.name[0] in "_!-@":
            return " ".join(("", self.name.strip("_@"), "")).join(map(str, self.params)) if len(self.params) > 1 else f"{self.name[0]}{self.params[0]}"
        shown = [str(p) for p in self.params]
        receiver = f"{shown.pop(0)}." if self.member else ""
        return f"{receiver}{self.name}({', '.join(shown)}{', …' if self.variadic else ''})"


def function(name: str, *params: Type, result: Type, apply: Apply, cost: int = 1) -> Overload:
    """`name(params)`."""
    return Overload(name, params, result, apply, cost=cost)


def method(name: str, *params: Type, result: Type, apply: Apply, cost: int = 1) -> Overload:
    """`params[0].name(params[1:])`."""
    return Overload(name, params, result, apply, member=True, cost=cost)
