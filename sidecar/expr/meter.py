"""How much an evaluation may look at and build in all: the size budget beside the budget of iterations.

One call of a function is linear in what it is given. What is not bounded by that is a call inside a macro, again for every
element, and a text that is doubled by `cel.bind`. A program that can do such a thing is *metered*: its calls pay from the frame
for what is large. One unit is an element or `CHARACTERS` of text; small values are free, so that an ordinary loop costs no more.

It knows no functions and no syntax; `closures` decides what is metered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.values import Exhausted, equals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.expr.access import Run

WORK: Final = -2
"""The frame's key of the units that are left."""
UNITS: Final = 2**18
"""What one evaluation has: 64 million characters, twice the largest body; or 262,144 elements, about a quarter of a second."""
CHARACTERS: Final = 256
_HOLDERS: Final = frozenset({list, tuple, dict})
_TEXT: Final = 1024
_ITEMS: Final = 128
"""The lengths up to which a value costs nothing."""


def spend(frame: Any, units: int) -> None:
    """Take units from the budget. Raises Exhausted when it is spent."""
    left = frame[WORK] - units
    if left < 0:
        raise Exhausted("the texts and lists are too large for what is done with them")
    frame[WORK] = left


def weigh(frame: Any, value: Any) -> None:
    """Pay for a value that is looked at from end to end. Raises Exhausted."""
    cls = type(value)
    if cls is str or cls is bytes:
        if len(value) > _TEXT:
            spend(frame, len(value) // CHARACTERS)
    elif cls in _HOLDERS and len(value) > _ITEMS:
        spend(frame, len(value))


class Meter:
    """The fuel of a comparison, paid for by the evaluation."""

    __slots__ = ("frame",)

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def burn(self, size: int) -> None:
        """As `values.Fuel`."""
        spend(self.frame, size)


def weighed(run: Run) -> Run:
    """The same, paid for."""

    def paying(frame: Any) -> Any:
        value = run(frame)
        weigh(frame, value)
        return value

    return paying


def contains(text: Run, part: str) -> Run:
    """`text.contains(part)`, paid for."""

    def run(frame: Any) -> bool:
        value = text(frame)
        if len(value) > _TEXT:
            weigh(frame, value)
        return bool(value.find(part) >= 0)

    return run


def equality(left: Run, right: Run, *, negated: bool) -> Run:
    """CEL equality of any two values, paid for."""

    def run(frame: Any) -> bool:
        a, b = left(frame), right(frame)
        if type(a) is str and type(b) is str:
            if len(a) > _TEXT:
                weigh(frame, a)
            return (a == b) is not negated
        return equals(a, b, Meter(frame)) is not negated

    return run


def call(apply: Callable[..., Any], runs: Sequence[Run], *, builds: bool) -> Run:
    """A call that pays for its arguments, and for its result where that may be large."""
    if len(runs) == 2 and not builds:
        return _test(apply, *runs)

    def run(frame: Any) -> Any:
        values = [run(frame) for run in runs]
        for value in values:
            weigh(frame, value)
        found = apply(*values)
        weigh(frame, found)
        return found

    return run


def _test(apply: Callable[..., Any], first: Run, second: Run) -> Run:
    def run(frame: Any) -> Any:
        a, b = first(frame), second(frame)
        if type(a) is not str or len(a) > _TEXT:
            weigh(frame, a)
        if type(b) is not str or len(b) > _TEXT:
            weigh(frame, b)
        return apply(a, b)

    return run


def fuelled(apply: Callable[..., Any], runs: Sequence[Run]) -> Run:
    """A call that pays while it looks into its arguments."""

    def run(frame: Any) -> Any:
        values = [run(frame) for run in runs]
        return apply(*values, fuel=Meter(frame))

    return run


def built(make: Run, size: int) -> Run:
    """A literal of `size` elements, each time it is made."""
    if size <= _ITEMS:
        return make

    def run(frame: Any) -> Any:
        spend(frame, size)
        return make(frame)

    return run
