"""Two answers to one call, compared: what changed and by which rules. Shared by `diff`, `replay` and the shadow of a candidate.

Knows nothing of where the answers came from. What cannot be decided from what was kept is a kind of its own, never `same`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from sidecar.decision import NONE
from sidecar.evaluate import why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.decision import Decision

Kind = Literal["same", "newly_denied", "newly_allowed", "rules", "obligations", "undecidable"]
KINDS: Final[tuple[Kind, ...]] = ("newly_denied", "newly_allowed", "rules", "obligations", "undecidable", "same")
"""Every kind, the gravest first: the order of reports."""
DEFAULT: Final = "(default)"
"""What is named where no rule decided."""
EXAMPLES: Final = 5
"""Ids kept per group of changes."""


class Outcome(NamedTuple):
    """One answer. `by` are the determining rules; `undecided` says what was not kept, where that could have changed the effect."""

    effect: str
    by: tuple[str, ...] = ()
    obligations: Mapping[str, Any] = {}
    undecided: str = ""


class Change(NamedTuple):
    """What is between two answers. `rules` made the difference; of `undecidable` they are what was not kept."""

    kind: Kind
    rules: tuple[str, ...] = ()


SAME: Final = Change("same")


def outcome(decision: Decision) -> Outcome:
    """A decision as an answer. One that Settings `mode: audit` let pass is the no that it would be."""
    owed = {} if decision.obligations is NONE else why.obligations_of(decision.obligations)
    if decision.audited:
        return Outcome("deny", tuple(dict.fromkeys(reason.rule for reason in decision.would)), owed)
    return Outcome(decision.effect, decision.by, owed)


def compare(old: Outcome, new: Outcome) -> Change:
    """What the second says otherwise than the first."""
    undecided = tuple(dict.fromkeys(each.undecided for each in (old, new) if each.undecided))
    if undecided:
        return Change("undecidable", undecided)
    if old.effect != new.effect:
        kind: Kind = "newly_denied" if new.effect == "deny" else "newly_allowed"
        decisive = new.by if new.effect == "deny" else old.by
        return Change(kind, decisive or (DEFAULT,))
    if set(old.by) != set(new.by):
        return Change("rules", tuple(sorted(set(old.by) ^ set(new.by))))
    if new.effect == "allow" and old.obligations != new.obligations:
        return Change(
            "obligations", tuple(sorted(name for name in {*old.obligations, *new.obligations} if old.obligations.get(name) != new.obligations.get(name)))
        )
    return SAME


@dataclass(slots=True)
class Group:
    """Changes of one kind by the same rules."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    """Ids of decisions."""


@dataclass(slots=True)
class Tally:
    """Counts changes, grouped by kind and rules."""

    groups: dict[Change, Group] = field(default_factory=dict)

    def add(self, change: Change, id: str) -> None:
        """Count one; the first few ids of a group are kept."""
        group = self.groups.get(change)
        if group is None:
            group = self.groups[change] = Group()
        group.count += 1
        if len(group.examples) < EXAMPLES and change.kind != "same":
            group.examples.append(id)

    def count(self, kind: Kind) -> int:
        """How many of this kind."""
        return sum(group.count for change, group in self.groups.items() if change.kind == kind)

    def report(self) -> dict[str, Any]:
        """Plain JSON values: a count for every kind, and the groups, gravest and largest first."""
        ranked = sorted(self.groups.items(), key=lambda item: (KINDS.index(item[0].kind), -item[1].count, item[0].rules))
        groups = [{"kind": c.kind, "rules": list(c.rules), "count": g.count, "examples": g.examples} for c, g in ranked if c.kind != "same"]
        return {"counts": {kind: self.count(kind) for kind in KINDS}, "groups": groups}
