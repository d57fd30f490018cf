"""One way to call a function: its signature and what it does. The table of all of them is `functions`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidecar.expr.values import EvalError

if TYPE_CHECKING:
    from sidecar.expr.types import Type

Apply = Callable[..., Any]
Prepare = Callable[[Any], Callable[..., Any]]

_LARGE = frozenset({"string", "bytes", "list", "map", "dyn", "param"})
_HEAVY = 10
_BUILT = frozenset({"string", "bytes", "list"})


@dataclass(frozen=True, slots=True)
class Overload:
    """A signature with its implementation.

    `params` begin with the receiver where `member`. `apply` takes values of these kinds and raises `values.FAILURES` only.
    `prepare` makes, from a literal last argument, a function of the other arguments (a pattern is compiled once, at load);
    it raises ValueError for a literal that makes no sense. Where `literal`, nothing but a literal is taken.
    `variadic`: the last parameter may be repeated. `cost` is relative to one comparison. `glance`: it takes the same time
    however large its arguments are. `fuelled`: `apply` takes `fuel`, which pays for the elements it looks at.
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
    glance: bool = False
    fuelled: bool = False

    @property
    def walks(self) -> bool:
        """Whether its time grows with its arguments or its result."""
        return not self.glance and (self.builds or any(p.kind in _LARGE for p in self.params))

    @property
    def builds(self) -> bool:
        """Whether its result may be large and new."""
        return not self.glance and self.result.kind in _BUILT

    @property
    def heavy(self) -> bool:
        """Whether a few calls in a row are too many to leave uncounted."""
        return self.builds or (self.walks and self.cost >= _HEAVY)

    def __str__(self) -> str:
        if self.name[0] in "_!-@":
            return " ".join(("", self.name.strip("_@"), "")).join(map(str, self.params)) if len(self.params) > 1 else f"{self.name[0]}{self.params[0]}"
        shown = [str(p) for p in self.params]
        receiver = f"{shown.pop(0)}." if self.member else ""
        return f"{receiver}{self.name}({', '.join(shown)}{', …' if self.variadic else ''})"


def function(name: str, *params: Type, result: Type, apply: Apply, cost: int = 1, glance: bool = False, fuelled: bool = False) -> Overload:
    """`name(params)`."""
    return Overload(name, params, result, apply, cost=cost, glance=glance, fuelled=fuelled)


def method(name: str, *params: Type, result: Type, apply: Apply, cost: int = 1, glance: bool = False, fuelled: bool = False) -> Overload:
    """`params[0].name(params[1:])`."""
    return Overload(name, params, result, apply, member=True, cost=cost, glance=glance, fuelled=fuelled)


def reading(name: str, text: Type, *, result: Type, apply: Apply, cost: int = 1) -> Overload:
    """`name(text)`, which reads a text: a literal that cannot be read is an error at load."""

    def prepare(value: Any) -> Callable[..., Any]:
        try:
            found = apply(value)
        except EvalError as error:
            raise ValueError(str(error).replace("the `string`", f"`{value}`")) from None
        return lambda: found

    return Overload(name, (text,), result, apply, prepare=prepare, cost=cost)


def declared(name: str, *params: Type, result: Type, member: bool = False) -> Overload:
    """A signature without an implementation: the checker knows it, calling it is an error."""

    def apply(*_: Any) -> Any:
        raise EvalError(f"`{name}` is declared and has no implementation")

    return Overload(name, params, result, apply, member=member)
