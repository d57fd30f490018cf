"""Runs tests over mutants: one that no case fails on survives, and shows what the tests would not notice.

Only the changed document is compiled again; fixtures are made once; cases in which the document speaks come first, and the others only
where the change may concern them. Stops at the first case that fails. Counterpart: `mutants.py`, which makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.compiler import exceptions, policies, quotas, rbac
from sidecar.compiler.candidates import HOUSEKEEPING, Layer, assemble
from sidecar.compiler.conditions import Report, claim_types
from sidecar.compiler.snapshot import Snapshot
from sidecar.config.diagnostics import has_errors
from sidecar.config.document import Document
from sidecar.workbench import cases, moments, mutants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.compiler.rules import Exemption, QuotaRule, Rule
    from sidecar.config.documents import Settings
    from sidecar.workbench.cases import Case, Ready
    from sidecar.workbench.mutants import Mutant

Key = tuple[str, str, str]
"""(layer, kind, name)."""


class Outcome(NamedTuple):
    """What became of all mutants. `survivors` in reading order."""

    total: int
    survivors: tuple[Mutant, ...]

    @property
    def killed(self) -> int:
        """How many some case noticed, or did not load."""
        return self.total - len(self.survivors)

    def report(self) -> dict[str, Any]:
        """Plain JSON values."""
        left = [{"file": each.position.file, "line": each.position.line, "name": each.name, "what": each.what} for each in self.survivors]
        return {"total": self.total, "killed": self.killed, "survived": len(self.survivors), "survivors": left}


class Parts(NamedTuple):
    """What one document compiles to."""

    rules: tuple[Rule, ...] = ()
    quotas: tuple[QuotaRule, ...] = ()
    exempt: tuple[Exemption, ...] = ()


def run(snapshot: Snapshot, chosen: Iterable[Case]) -> Outcome:
    """Every mutant of the snapshot's documents against these cases, all of which pass as it is. Raises CallError and NothingThere on one that doesn't."""
    bench = Bench(snapshot, tuple(chosen))
    every = [mutant for document in snapshot.documents for mutant in mutants.of(document)]
    survivors = [mutant for mutant in every if not bench.kills(mutant)]
    survivors.sort(key=lambda mutant: (mutant.position, mutant.what))
    return Outcome(len(every), tuple(survivors))


class Bench:
    """A compiled configuration, document by document, and its cases ready to be decided."""

    def __init__(self, snapshot: Snapshot, chosen: Sequence[Case]) -> None:
        self.snapshot = snapshot
        self._claims = claim_types(snapshot.identity)
        self._ranks = {layer.name: index for index, layer in enumerate(snapshot.layers)}
        self._parts = {_key(document): self._compiled(document, Report()) for document in snapshot.documents}
        self._ready = [(case, cases.ready(snapshot, case)) for case in chosen]
        self._spoken: dict[Key, list[int]] = {}
        self._keeping: set[int] = set()
        for place, (_, ready) in enumerate(self._ready):
            self._note(place, ready)

    def _note(self, place: int, ready: Ready) -> None:
        """Which documents speak in this case."""
        decision = cases.of(self.snapshot, ready)
        spoken: dict[Key, None] = {}
        for moment in moments.of(self.snapshot, ready, decision):
            spoken |= {(rule.layer, rule.kind, rule.name.partition("/")[0]): None for rule in moment.rules}
            spoken |= {(quota.layer, "Quota", quota.name): None for quota in moment.candidates.quotas}
            lifted = [found for part in moment.candidates.layers for found in (part.exemptions or {}).values()]
            spoken |= {(each.layer, "Exception", each.name): None for found in lifted for each in found}
        for key in spoken:
            self._spoken.setdefault(key, []).append(place)
        if decision.call.operation in HOUSEKEEPING:  # it asks what else the caller may do
            self._keeping.add(place)

    def kills(self, mutant: Mutant) -> bool:
        """Whether the mutant does not load, or fails a case."""
        changed = self._mutated(mutant)
        return changed is None or any(self._fails(changed, place) for place in self._places(mutant))

    def _fails(self, changed: Snapshot, place: int) -> bool:
        case, ready = self._ready[place]
        return next(cases.differences(cases.of(changed, ready), case.row), None) is not None

    def _places(self, mutant: Mutant) -> Iterator[int]:
        first = self._spoken.get(_key(mutant.document), [])
        yield from first
        seen = set(first)
        yield from (place for place in (range(len(self._ready)) if mutant.wide else sorted(self._keeping)) if place not in seen)

    def _mutated(self, mutant: Mutant) -> Snapshot | None:
        document, snapshot = mutant.document, self.snapshot
        if document.kind == "Settings":
            return self._made(mutant.spec, snapshot.layers)
        report = Report()
        parts = self._compiled(_respelt(document, mutant.spec), report) if mutant.spec is not None else Parts()
        if has_errors(report.diagnostics):
            return None
        layers = tuple(self._layer(layer, document, parts) if layer.name == document.layer else layer for layer in snapshot.layers)
        return self._made(snapshot.settings, layers)

    def _made(self, settings: Settings, layers: tuple[Layer, ...]) -> Snapshot:
        return Snapshot("mutant", settings, self.snapshot.identity, self.snapshot.table, layers)

    def _layer(self, layer: Layer, changed: Document, parts: Parts) -> Layer:
        key = _key(changed)
        held = [parts if _key(each) == key else self._parts[_key(each)] for each in self.snapshot.documents if each.layer == layer.name]
        rules = [rule for part in held for rule in part.rules]
        counted = [quota for part in held for quota in part.quotas]
        return assemble(layer.name, layer.first, rules, counted, [each for part in held for each in part.exempt])

    def _compiled(self, document: Document, report: Report) -> Parts:
        rank = f"{self._ranks.get(document.layer, 0):03}"
        match document.kind:
            case "Policy":
                return Parts(rules=tuple(policies.rules(document, report, self._claims, rank)))
            case "Roles":
                return Parts(rules=tuple(rbac.rules(document, report, self._claims, rank)))
            case "Quota":
                return Parts(quotas=tuple(quotas.quotas(document, report, self._claims, rank)))
            case "Exception":
                return Parts(exempt=tuple(exceptions.exemptions(document, report, self._claims, rank)))
        return Parts()


def _key(document: Document) -> Key:
    return document.layer, document.kind, document.name


def _respelt(document: Document, spec: Any) -> Document:
    """The document with another spec, at its old places."""
    return Document(document.kind, document.name, document.labels, spec, document.file, document.line, document.layer, document.root, document.source)
