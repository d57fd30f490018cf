"""Finds the rules that may apply to a call without looking at the others.

Rules are filed under (operation, literal end of a target pattern, literal end of a subject pattern, value of a guard); a call
looks up its own names and facts. What it finds is confirmed against the whole patterns and all guards, so the index can only be
too generous, never too strict. Its counterpart is the linear scan of `tests/properties`, which must agree. Of conditions it knows
the guards that `dimensions.py` lifted out of them, and nothing of effects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from sidecar.compiler.patterns import Pattern, hits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sidecar.compiler.dimensions import Facts
    from sidecar.expr import Pin
    from sidecar.expr.pins import Word

EXCLUDED = frozenset({"tool_call", "batch", "file"})
"""What `*` and an empty `operation` never include (DOCUMENTS.md «What a call is called»)."""
ANY = "*"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Matcher:
    """A compiled `match`: AND over fields, OR in each. No targets or subjects means any; `operations` may hold `*`.

    `guards` are what the rule's condition asks beside that, of fields that can be looked up: where one fails, so does the condition.
    """

    operations: frozenset[str]
    targets: tuple[Pattern, ...] = ()
    subjects: tuple[Pattern, ...] = ()
    guards: tuple[Pin, ...] = ()

    def admits(self, operation: str) -> bool:
        """Whether the operation is meant."""
        return operation in self.operations or (ANY in self.operations and operation not in EXCLUDED)

    def covers(self, names: Iterable[str]) -> bool:
        """Whether any of these names is meant."""
        return not self.targets or hits(self.targets, names)

    def speaks(self, subjects: Iterable[str]) -> bool:
        """Whether any of these subjects is meant."""
        return not self.subjects or hits(self.subjects, subjects)

    def may_hold(self, facts: Facts) -> bool:
        """Whether no guard is known to fail."""
        return not any(pin.values.isdisjoint(facts[pin.path]) for pin in self.guards if pin.path in facts)


class Matched(Protocol):
    """What an index holds: anything with a `match`, in a stable order."""

    @property
    def match(self) -> Matcher: ...
    @property
    def order(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Matched)


@dataclass(slots=True)
class Shelf(Generic[T]):
    """Values filed under patterns, found by names."""

    make: Callable[[], T]
    exact: dict[str, T] = field(default_factory=dict)
    heads: dict[str, T] = field(default_factory=dict)
    tails: dict[str, T] = field(default_factory=dict)
    open: T | None = None
    spans: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    """Lengths that occur in `heads` and `tails`."""

    def file(self, pattern: Pattern | None) -> T:
        """The value under this pattern, made when new; None is the pattern that matches all."""
        if pattern is not None and pattern.exact:
            return self.exact.setdefault(pattern.prefix, self.make())
        heads, tails = self.spans
        if pattern is not None and pattern.prefix:
            self.spans = (heads | {len(pattern.prefix)}, tails)
            return self.heads.setdefault(pattern.prefix, self.make())
        if pattern is not None and pattern.suffix:
            self.spans = (heads, tails | {len(pattern.suffix)})
            return self.tails.setdefault(pattern.suffix, self.make())
        if self.open is None:
            self.open = self.make()
        return self.open

    def find(self, names: Iterable[str]) -> Iterator[T]:
        """Every value filed under a pattern that may match one of the names; one may come twice."""
        if self.open is not None:
            yield self.open
        heads, tails = self.spans
        for name in names:
            if (value := self.exact.get(name)) is not None:
                yield value
            for size in heads:
                if (value := self.heads.get(name[:size])) is not None:
                    yield value
            for size in tails:
                if (value := self.tails.get(name[-size:])) is not None:
                    yield value


@dataclass(slots=True)
class Drawer(Generic[R]):
    """The rules under one pair of patterns: those without a guard, and the others by the values of one of theirs."""

    plain: list[R] = field(default_factory=list)
    guarded: dict[str, dict[Word, list[R]]] = field(default_factory=dict)

    def file(self, rule: R, guard: Pin | None) -> None:
        """Put a rule where it is found."""
        if guard is None:
            self.plain.append(rule)
            return
        values = self.guarded.setdefault(guard.path, {})
        for value in guard.values:
            values.setdefault(value, []).append(rule)

    def find(self, facts: Facts) -> Iterator[list[R]]:
        """The rules whose guard may hold. What no fact tells may be anything."""
        yield self.plain
        for path, values in self.guarded.items():
            known = facts.get(path)
            if known is None:
                yield from values.values()
            else:
                yield from [values[value] for value in known if value in values]


NOTHING: Facts = {}
"""Nothing is known of the call but its names: every guard may hold."""


class Index(Generic[R]):
    """An immutable index over rules. `dimensions` are the fields that any guard is about."""

    __slots__ = ("_shelves", "dimensions", "rules")

    def __init__(self, rules: Sequence[R]) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.order))
        self._shelves: dict[str, Shelf[Shelf[Drawer[R]]]] = {}
        crowds = Counter((pin.path, value) for rule in self.rules for pin in rule.match.guards for value in pin.values)
        self.dimensions = frozenset(path for path, _ in crowds)
        for rule in self.rules:
            self._file(rule.match, rule, _rarest(rule.match.guards, crowds))

    def _file(self, match: Matcher, rule: R, guard: Pin | None) -> None:
        for operation in match.operations:
            targets = self._shelves.setdefault(operation, Shelf(_subjects))
            for target in match.targets or (None,):
                subjects: Shelf[Drawer[R]] = targets.file(target)
                for subject in match.subjects or (None,):
                    subjects.file(subject).file(rule, guard)

    def find(self, operation: str, names: Sequence[str], subjects: Iterable[str], facts: Facts = NOTHING) -> list[R]:
        """The rules whose match admits the operation, one of the names and one of the subjects, and whose guards may hold, in their stable order."""
        found: dict[int, R] = {}
        spoken = tuple(subjects)
        for key in (operation,) if operation in EXCLUDED else (operation, ANY):
            shelf = self._shelves.get(key)
            if shelf is None:
                continue
            for by_target in shelf.find(names):
                for drawer in by_target.find(spoken):
                    for rules in drawer.find(facts):
                        found.update((id(rule), rule) for rule in rules)
        sure = [rule for rule in found.values() if rule.match.covers(names) and rule.match.speaks(spoken) and rule.match.may_hold(facts)]
        sure.sort(key=lambda rule: rule.order)
        return sure


def _subjects() -> Shelf[Drawer[R]]:
    return Shelf(Drawer)


def _rarest(guards: Sequence[Pin], crowds: Mapping[tuple[str, Word], int]) -> Pin | None:
    """The guard whose values the fewest rules ask for: one that all rules share would file them all in one place."""
    return min(guards, key=lambda pin: (sum([crowds[pin.path, value] for value in pin.values]), pin.path), default=None)
