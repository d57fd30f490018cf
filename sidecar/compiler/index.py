"""Finds the rules that may apply to a call without looking at the others.

Rules are filed under (operation, literal end of a target pattern, literal end of a subject pattern); a call looks up its
own names. What it finds is confirmed against the whole patterns, so the index can only be too generous, never too strict.
Its counterpart is the linear scan of `tests/properties`, which must agree. Knows nothing of conditions and effects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from sidecar.compiler.patterns import Pattern, hits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

EXCLUDED = frozenset({"tool_call", "batch", "file"})
"""What `*` and an empty `operation` never include (DOCUMENTS.md «What a call is called»)."""
ANY = "*"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Matcher:
    """A compiled `match`: AND over fields, OR in each. No targets or subjects means any; `operations` may hold `*`."""

    operations: frozenset[str]
    targets: tuple[Pattern, ...] = ()
    subjects: tuple[Pattern, ...] = ()

    def admits(self, operation: str) -> bool:
        """Whether the operation is meant."""
        return operation in self.operations or (ANY in self.operations and operation not in EXCLUDED)

    def covers(self, names: Iterable[str]) -> bool:
        """Whether any of these names is meant."""
        return not self.targets or hits(self.targets, names)

    def speaks(self, subjects: Iterable[str]) -> bool:
        """Whether any of these subjects is meant."""
        return not self.subjects or hits(self.subjects, subjects)


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


class Index(Generic[R]):
    """An immutable index over rules."""

    __slots__ = ("_shelves", "rules")

    def __init__(self, rules: Sequence[R]) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.order))
        self._shelves: dict[str, Shelf[Shelf[list[R]]]] = {}
        for rule in self.rules:
            self._file(rule)

    def _file(self, rule: R) -> None:
        for operation in rule.match.operations:
            targets = self._shelves.setdefault(operation, Shelf(_subjects))
            for target in rule.match.targets or (None,):
                subjects: Shelf[list[R]] = targets.file(target)
                for subject in rule.match.subjects or (None,):
                    subjects.file(subject).append(rule)

    def find(self, operation: str, names: Sequence[str], subjects: Iterable[str]) -> list[R]:
        """The rules whose match admits the operation, one of the names and one of the subjects, in their stable order."""
        found: dict[int, R] = {}
        spoken = tuple(subjects)
        for key in (operation,) if operation in EXCLUDED else (operation, ANY):
            shelf = self._shelves.get(key)
            if shelf is None:
                continue
            for by_target in shelf.find(names):
                for rules in by_target.find(spoken):
                    found.update((id(rule), rule) for rule in rules)
        sure = [rule for rule in found.values() if rule.match.covers(names) and rule.match.speaks(spoken)]
        sure.sort(key=lambda rule: rule.order)
        return sure


def _subjects() -> Shelf[list[R]]:
    return Shelf(list)
