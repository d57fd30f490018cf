"""The rules of a snapshot by their nearness to a question: candidates first, then those that one field keeps from it, then the rest.

A search that is bounded begins with what is near. Counterpart: `changes.py`, which takes names and values from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.compiler.candidates import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.compiler.index import Matcher
    from sidecar.compiler.rules import Condition
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.explain.scene import Scene

MOST: Final = 2000
"""Rules that are looked at, the nearest first."""


class Near(NamedTuple):
    """Conditions and matches with their weight (0 is a candidate), when exceptions end, and how many rules are too far to be looked at."""

    conditions: list[tuple[int, Condition]]
    matchers: list[tuple[int, Matcher]]
    ends: list[float]
    left: int = 0


class Holder(NamedTuple):
    """A rule, an exception or a quota."""

    match: Matcher
    condition: Condition | None
    order: tuple[str, ...]


def near(snapshot: Snapshot, scenes: Sequence[Scene]) -> Near:
    """All that has a say in enforcement, by its least weight over the scenes."""
    weighed = [(min(_weight(scene, each.match) for scene in scenes), each) for each in _holders(snapshot)]
    weighed.sort(key=lambda pair: (pair[0], pair[1].order))
    kept = weighed[:MOST]
    conditions = [(weight, each.condition) for weight, each in kept if each.condition is not None]
    ends = sorted({each.expires for layer in snapshot.layers for each in layer.exemptions.rules})
    return Near(conditions, [(weight, each.match) for weight, each in kept], ends, len(weighed) - len(kept))


def _holders(snapshot: Snapshot) -> Iterator[Holder]:
    for layer in snapshot.layers:
        for rule in (*layer.request.rules, *layer.response.rules):
            if not rule.audit:
                yield Holder(rule.match, rule.condition, rule.order)
        yield from (Holder(each.match, each.condition, each.order) for each in layer.exemptions.rules)
        yield from (Holder(each.match, each.condition, each.order) for each in layer.quotas.rules)


def _weight(scene: Scene, match: Matcher) -> int:
    """0 where every field admits the call, 1 where one does not, 2 where two do not, 3 where it is another operation's."""
    if not match.admits(scene.call.operation):
        return 3
    return 2 - match.covers(names_of(scene.call)) - match.speaks(scene.person.subjects)
