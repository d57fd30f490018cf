"""From an asked name to the closed set of members that may serve it. Pure over Upstream and Route documents.

Exactly one way is taken: the most specific Route that matches the name, else every Upstream of the caller's dialect that declares the
model or alias, in the order of their names. Counterpart: `route/`, which chooses among the members and may not leave them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.call import Call, Member
from sidecar.compiler.patterns import Pattern, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sidecar.config.documents import Model, Price, Route, Upstream

PER = {"1M": 1_000_000, "1K": 1_000}


@dataclass(frozen=True, slots=True)
class Served:
    """One upstream with what it serves, ready to be looked up by case-folded name."""

    name: str
    spec: Upstream
    labels: Mapping[str, str]
    exact: Mapping[str, Model]
    """Models by their name and their aliases."""
    globs: tuple[tuple[Pattern, Model], ...]

    def find(self, asked: str) -> Member | None:
        """The member that serves this name, or None. A glob serves the asked name itself."""
        model = self.exact.get(asked)
        if model is not None:
            return self.member(model, model.name)
        for pattern, glob in self.globs:
            if pattern.test(asked):
                return self.member(glob, asked)
        return None

    def member(self, model: Model, name: str, weight: int = 1) -> Member:
        """A member with this model's prices, in dollars per token."""
        return Member(self.name, name, self.labels, _price(model.price, "input"), _price(model.price, "output"), weight)

    def every(self) -> Iterator[Member]:
        """All members that can be named; for a glob one without a model."""
        for model in dict.fromkeys(self.spec.models):
            yield self.member(model, "" if "*" in model.name else model.name)


def _price(price: Price | None, side: str) -> float | None:
    if price is None:
        return None
    return float(price.input if side == "input" else price.output) / PER[price.per]


@dataclass(frozen=True, slots=True)
class Path:
    """A Route: its patterns, most specific first."""

    name: str
    spec: Route
    family: str
    patterns: tuple[Pattern, ...]

    def rank(self, asked: str) -> tuple[bool, int, str] | None:
        """How well it matches: exact before globs, longer literals before shorter, then by name. None: not at all."""
        ranks = [(not p.exact, -len(p.text.replace("*", "")), self.name) for p in self.patterns if p.test(asked)]
        return min(ranks, default=None)


class Table:
    """All upstreams and routes of a snapshot."""

    __slots__ = ("paths", "served", "upstreams")

    def __init__(self, served: Iterable[Served], paths: Iterable[Path]) -> None:
        self.served = {each.name: each for each in sorted(served, key=lambda each: each.name)}
        self.upstreams = {name: each.spec for name, each in self.served.items()}
        self.paths = tuple(sorted(paths, key=lambda each: each.name))

    def path(self, family: str, asked: str) -> Path | None:
        """The Route of this name."""
        ranked = [(rank, path) for path in self.paths if path.family == family and (rank := path.rank(asked)) is not None]
        return min(ranked, key=lambda pair: pair[0])[1] if ranked else None

    def members(self, family: str, asked: str) -> tuple[Member, ...]:
        """The closed set. Without a name (a stored reply, say): everything of the family, to be narrowed by its owner."""
        if not asked:
            return tuple(member for each in self._of(family) for member in each.every())
        path = self.path(family, asked)
        if path is not None:
            return tuple(self._along(path, asked))
        return tuple(member for each in self._of(family) if (member := each.find(asked)) is not None)

    def _of(self, family: str) -> Iterator[Served]:
        return (each for each in self.served.values() if each.spec.dialect == family)

    def _along(self, path: Path, asked: str) -> Iterator[Member]:
        """The destinations that serve it, each once; `weight` is the route's."""
        seen = set()
        for target in path.spec.to:
            each = self.served[target.upstream]
            found = each.find((target.model or asked).casefold())
            if found is not None and found.name not in seen:
                seen.add(found.name)
                yield Member(found.upstream, found.model, found.labels, found.price_input, found.price_output, target.weight)

    def names(self, family: str) -> tuple[str, ...]:
        """Every name that can be listed: models, aliases and exact names of routes. What a glob admits can't be."""
        found = {name for each in self._of(family) for model in each.spec.models if "*" not in model.name for name in (model.name, *model.aliases)}
        found |= {pattern.text for path in self.paths if path.family == family for pattern in path.patterns if pattern.exact}
        return tuple(sorted(found))

    def output_bound(self, member: Member) -> int:
        """The largest output in tokens that the Upstream declares for it; 0 where it is not known."""
        each = self.served[member.upstream]
        name = member.model.casefold()
        model = each.exact.get(name) or next((glob for pattern, glob in each.globs if pattern.test(name)), None)
        return model.max_output if model is not None else 0


def serve(name: str, spec: Upstream, labels: Mapping[str, str]) -> Served:
    """Make an upstream ready. Raises ValueError on a pattern that is none."""
    exact: dict[str, Model] = {}
    globs: list[tuple[Pattern, Model]] = []
    for model in sorted(spec.models, key=lambda model: model.name):
        if "*" in model.name:
            globs.append((compile_pattern(model.name, fold=True), model))
        for known in () if "*" in model.name else (model.name, *model.aliases):
            exact[known.casefold()] = model
    globs.sort(key=lambda pair: (-len(pair[0].text.replace("*", "")), pair[0].text))
    return Served(name, spec, dict(labels), exact, tuple(globs))


def follow(name: str, spec: Route, served: Mapping[str, Served]) -> Path:
    """Make a route ready. Raises ValueError on a pattern that is none, KeyError on an upstream that is not there."""
    family = served[spec.to[0].upstream].spec.dialect
    return Path(name, spec, family, tuple(compile_pattern(text, fold=True) for text in spec.match.target))


def with_members(call: Call, members: tuple[Member, ...]) -> Call:
    """The call with its members; `dataclasses.replace` at a third of its cost (a test holds it to every field)."""
    return Call(
        call.id,
        call.protocol,
        call.operation,
        call.dialect,
        call.target,
        call.method,
        call.path,
        call.stream,
        call.body,
        call.segments,
        call.params,
        call.tools,
        call.tool,
        call.refs,
        members,
        call.tokens,
        call.max_output,
        call.choices,
        call.bytes,
        call.source,
        call.headers,
        call.query,
        call.trace,
        call.asked,
    )
