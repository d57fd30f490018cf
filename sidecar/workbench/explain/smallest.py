"""The smallest change that would be allowed: searched, never guessed. Single changes first, then pairs, each decided by the real evaluator.

The search is bounded by a count of decisions, and its order depends on nothing but the snapshot and the question, so that the same
question has the same answer everywhere. Counterpart: `changes.py`, which says what may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.errors import CallError
from sidecar.workbench.explain.changes import changes
from sidecar.workbench.explain.relevance import near
from sidecar.workbench.explain.scene import scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision
    from sidecar.workbench.explain.asked import Asked
    from sidecar.workbench.explain.change import Change

BOUND: Final = 20_000
"""Decisions that a search may take."""
MOST: Final = 50
"""Ways that are told, and pairs after which no more are looked for."""


class Way(NamedTuple):
    """Changes that together are allowed, and by which rules."""

    changes: tuple[Change, ...]
    by: tuple[str, ...]


class Search:
    """One search, with its count of decisions."""

    def __init__(self, snapshot: Snapshot, asked: Asked, bound: int, sound: Callable[[Asked], bool]) -> None:
        self._snapshot = snapshot
        self._sound = sound
        self._asked = asked
        self._bound = bound
        self.tried = 0
        self.complete = True
        """Whether nothing was left out for want of decisions."""

    def ways(self, tuples: Iterator[tuple[Change, ...]], most: int | None = None) -> list[Way]:
        """Those that are allowed, up to the bound."""
        found: list[Way] = []
        for each in tuples:
            if self.tried >= self._bound or (most is not None and len(found) >= most):
                self.complete = False
                break
            decision = self._decided(each)
            if decision is not None and allowed(decision):
                found.append(Way(each, decision.by))
        return found

    def _decided(self, each: tuple[Change, ...]) -> Decision | None:
        asked: Asked | None = self._asked
        for change in each:
            asked = change.apply(asked) if asked is not None else None
        if asked is None:
            return None
        self.tried += 1
        try:
            decision = asked.decide(self._snapshot)
            return decision if not allowed(decision) or self._sound(asked) else None
        except CallError:
            return None


def allowed(decision: Decision) -> bool:
    """A true yes: not one that Settings `mode: audit` let pass."""
    return decision.effect == "allow" and not decision.audited


def anything(_asked: Asked) -> bool:
    """Every question is known whole."""
    return True


def smallest(snapshot: Snapshot, asked: Asked, *, bound: int = BOUND, sound: Callable[[Asked], bool] = anything) -> dict[str, Any]:
    """The ways as plain JSON values, the caller's own first. `size` is the number of changes that each takes, 0 where none was found.

    `left` counts the rules that were too far to be looked at.

    `sound` says whether all is known that a changed question's decision could read; a yes to another one is none.
    """
    around = near(snapshot, list(scenes(snapshot, asked)))
    tried = changes(snapshot, asked, around)
    search = Search(snapshot, asked, bound, sound)
    found = search.ways((change,) for change in tried)
    if not found and search.complete:
        found = search.ways(pairs(tried), MOST)
    kept = sorted(nearest(found), key=lambda way: [change.rank for change in way.changes])
    return {
        "size": len(found[0].changes) if found else 0,
        "ways": [{"changes": [change.told() for change in way.changes], "by": list(way.by)} for way in kept[:MOST]],
        "more": max(len(kept) - MOST, 0),
        "changes": len(tried),
        "decisions": search.tried,
        "bound": bound,
        "complete": search.complete,
        "left": around.left,
    }


def pairs(tried: Sequence[Change]) -> Iterator[tuple[Change, Change]]:
    """Pairs of changes of different things: those of two near rules before those of a near and a far one."""
    for total in range(1, 2 * len(tried) - 2):
        for first in range(max(0, total - len(tried) + 1), (total + 1) // 2):
            one, other = tried[first], tried[total - first]
            if one.slot != other.slot:
                yield one, other


def nearest(found: Sequence[Way]) -> list[Way]:
    """Without those that change the same things the same way, only farther: 3999 says nothing that 4000 does not."""
    best: dict[tuple[Any, ...], Way] = {}
    for way in sorted(found, key=lambda way: ([change.far for change in way.changes], [change.rank for change in way.changes])):
        best.setdefault(tuple(sorted(change.direction for change in way.changes)), way)
    return list(best.values())
