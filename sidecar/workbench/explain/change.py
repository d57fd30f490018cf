"""One change to a question: what it changes, from what to what, in words, and the question that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.workbench.explain.asked import Asked

KINDS: Final = (
    "parameter", "argument", "size", "model", "tool", "stream", "time", "operation",
    "quota", "group", "team", "claim", "caller", "source", "reply",
)  # fmt: skip
"""What may change, in the order in which changes are told: first what the caller can do, then what others must."""
CALLERS: Final = frozenset(KINDS[:8])
ADMINS: Final = frozenset({"group", "team", "claim", "caller", "source"})
ABSENT: Final = object()
"""Stands for what is not there."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One change. `slot` is what it changes: two changes of one slot make no pair. `far` orders changes of one kind, the nearest first."""

    kind: str
    slot: str
    was: Any
    to: Any
    text: str
    apply: Callable[[Asked], Asked | None]
    near: int = 0
    """How near the rule is that it comes from: 0 is a candidate."""
    far: float = 0.0

    @property
    def order(self) -> tuple[Any, ...]:
        """What is tried first."""
        return (self.near, KINDS.index(self.kind), self.far, self.slot, self.text)

    @property
    def rank(self) -> tuple[Any, ...]:
        """What is told first."""
        return (KINDS.index(self.kind), self.near, self.far, self.slot, self.text)

    @property
    def direction(self) -> tuple[str, str]:
        """What tells it from others like it. Numbers go up or down, time goes on or back, all else is itself."""
        if self.kind == "time" or (number(self.was) and number(self.to)):
            return self.slot, "up" if self.to > self.was else "down"
        return self.slot, "put" if self.was is ABSENT and number(self.to) else self.text

    def told(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {"from": self.was, "to": self.to}
        by = "caller" if self.kind in CALLERS else "admin" if self.kind in ADMINS else "nobody"
        return {"kind": self.kind, "what": self.slot, **{name: value for name, value in values.items() if value is not ABSENT}, "text": self.text, "by": by}


def called(asked: Asked, **fields: Any) -> Asked:
    """Another call by the same caller."""
    return replace(asked, what=replace(asked.what, **fields))


def spoken(asked: Asked, **fields: Any) -> Asked:
    """The same call by another caller."""
    return replace(asked, who=replace(asked.who, **fields))


def number(value: Any) -> bool:
    """Whether it is a number, which `true` is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """Whether nothing would change. `true` is not 1."""
    return one is other or (isinstance(one, bool) is isinstance(other, bool) and one == other)


def distance(was: Any, to: Any, off: int = 0) -> float:
    """How far a number goes; what is taken out is farthest. `off` tells what is put anew: whether a condition names it."""
    return float("inf") if to is ABSENT else abs(float(to) - float(was)) if number(was) and number(to) else float(off)


def instead(name: str, was: Any, to: Any) -> str:
    """In words: one value for another, or none."""
    if to is ABSENT:
        return f"without {name}"
    return f"{name} {shown(to)}" + (f" instead of {shown(was)}" if was is not ABSENT else "")


def renamed(words: str, was: str, to: str) -> str:
    """In words: one name for another."""
    return f"{words} `{to}`" + (f" instead of `{was}`" if was else "")
