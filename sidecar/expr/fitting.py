"""Which overloads the static types of a call leave, and the words for when they leave none. Used by the checker alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.expr.types import NUMERIC, Type, assignable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.expr.overload import Overload


def spread(overload: Overload, count: int) -> tuple[Type, ...]:
    """The types of `count` parameters, the last repeated."""
    missing = count - len(overload.params)
    return overload.params + overload.params[-1:] * missing if missing else overload.params


def sized(overload: Overload, count: int) -> bool:
    """Whether it takes this many arguments, the receiver among them."""
    return len(overload.params) == count or (overload.variadic and count >= len(overload.params))


def fits(overload: Overload, types: tuple[Type, ...]) -> dict[str, Type] | None:
    """What its type parameters stand for with arguments of these types; None where it does not take them."""
    found: dict[str, Type] = {}
    for given, wanted in zip(types, spread(overload, len(types)), strict=True):
        if not assignable(given, wanted, found):
            return None
    return found


def settles(overload: Overload, types: tuple[Type, ...]) -> bool:
    """Whether the types alone say that it takes the arguments, so that no value has to be looked at."""
    return all(t.kind != "dyn" or p.kind in ("param", "dyn") for t, p in zip(types, spread(overload, len(types)), strict=True))


def signatures(overloads: Sequence[Overload]) -> str:
    """A hint that shows them."""
    shown = list(dict.fromkeys(map(str, overloads)))
    return "it is " + ", ".join(f"`{s}`" for s in shown[:4]) + (" …" if len(shown) > 4 else "")


def counts(overloads: Sequence[Overload]) -> str:
    """How many arguments they take, in words."""
    wanted = sorted({len(o.params) - o.member for o in overloads})
    takes = " or ".join(map(str, wanted)) + (" or more" if any(o.variadic for o in overloads) else "")
    return f"{takes} argument{'' if takes == '1' else 's'}"


def mismatched(name: str, types: Sequence[Type], overloads: Sequence[Overload]) -> tuple[str, str]:
    """The message and the hint for arguments that no overload takes."""
    shown = [f"`{t}`" for t in types]
    if name in ("_==_", "_!=_"):
        return f"`{name.strip('_')}` compares {shown[0]} with {shown[1]}, which are never equal", conversion(types)
    if name == "@in" and types[1].kind in ("list", "map"):
        return f"{shown[0]} is never in {shown[1]}", conversion((types[0], types[1].params[0]))
    if name[0] in "_!-@":
        return f"`{name.strip('_@')}` is not defined for {' and '.join(shown)}", conversion(types)
    given = f"{shown[0]} with {', '.join(shown[1:])}" if overloads[0].member and len(shown) > 1 else ", ".join(shown)
    return f"`{name}` is not defined for {given}", signatures(overloads)


def conversion(types: Iterable[Type]) -> str:
    """A hint how these types come together, or an empty one."""
    kinds = {t.kind for t in types}
    if len(kinds) == 2 and len(kinds & NUMERIC) == 2 and "double" in kinds:
        return "convert one side: `double(…)`"
    if kinds == {"string", "timestamp"}:
        return "write `timestamp('…')`"
    if kinds == {"string", "duration"}:
        return "write `duration('15m')`"
    if "optional" in kinds:
        return "it may be empty: give a default with `.orValue(…)`"
    if "null" in kinds:
        return "test for presence with `has(…)`"
    return ""
