"""Documents to one immutable snapshot: rules in an index, conditions checked, routes resolved, all of it hashed.

`compile_layers` is the entrance; every mistake becomes a diagnostic, all at once, and then there is no snapshot. Nothing here reads
a file or a clock. Counterparts: `config/`, which reads documents, and `evaluate/`, which decides with what comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sidecar.compiler import broken, coverage, digest, exceptions, policies, quotas, rbac, routes
from sidecar.compiler.candidates import Layer, assemble
from sidecar.compiler.conditions import Report, claim_types
from sidecar.compiler.coverage.whole import Counted, Held, Lifting, Whole
from sidecar.compiler.snapshot import Snapshot
from sidecar.config import documents
from sidecar.config.diagnostics import Diagnostic, has_errors, in_reading_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.config.document import Document, LayerSource
    from sidecar.config.load import Loaded
    from sidecar.expr import Type

T = TypeVar("T", documents.Settings, documents.Identity)

__all__ = ["Compilation", "Snapshot", "compile_layers", "compile_loaded"]


class Compilation(NamedTuple):
    """`snapshot` is None where one of the diagnostics is an error, or documents did not load. `whole` is what lints and the matrix look at."""

    snapshot: Snapshot | None
    diagnostics: tuple[Diagnostic, ...]
    whole: Whole


def compile_loaded(loaded: Loaded, *, now: float) -> Compilation:
    """Compile what was loaded, whether all of it was or not."""
    if not has_errors(loaded.diagnostics):
        return compile_layers(loaded.layers, now=now)
    return compile_layers(loaded.layers, now=now, lost=loaded.lost, wrecks=loaded.broken)


def compile_layers(
    layers: Sequence[LayerSource],
    *,
    now: float,  # noqa: ARG001
    lost: frozenset[str] | None = None,
    wrecks: Sequence[Document] = (),
) -> Compilation:
    """Compile documents, first layer first. `now` is Unix seconds. Never raises on what authors wrote.

    `lost` is given where `config.load` found errors: the kinds of which a document did not load (`config.load.Loaded.lost`), and `wrecks` those
    that can be told. Then the mistakes that can be known all the same are told, and there is no snapshot.
    """
    report = Report()
    whole, compiled = _whole(layers, report, lost)
    for wreck in wrecks:
        broken.conditions(wreck, report, _claims(whole.identity, lost))
    coverage.check(whole, report)
    diagnostics = in_reading_order(report.diagnostics)
    if lost is not None or has_errors(diagnostics):
        return Compilation(None, diagnostics, whole)
    kept = tuple(document for layer in layers for document in layer.documents)
    return Compilation(Snapshot(digest.of(layers), whole.settings, whole.identity, whole.table, compiled, kept), diagnostics, whole)


def _claims(identity: documents.Identity | None, lost: frozenset[str] | None) -> Mapping[str, Type] | None:
    """The declared claims; None where the document that declares them did not load."""
    return None if identity is None and lost and lost & {"Identity", "*"} else claim_types(identity)


def _whole(layers: Sequence[LayerSource], report: Report, lost: frozenset[str] | None) -> tuple[Whole, tuple[Layer, ...]]:
    identity = _one(layers, documents.Identity)
    claims = _claims(identity, lost)
    parts = [_layer(layer, index, report, claims) for index, layer in enumerate(layers)]
    whole = Whole(
        layers=tuple(layers),
        settings=_one(layers, documents.Settings) or documents.Settings(),
        identity=identity,
        table=_table(layers),
        rules=tuple(each for part in parts for each in part.rules),
        quotas=tuple(each for part in parts for each in part.quotas),
        exemptions=tuple(each for part in parts for each in part.exemptions),
        lost=frozenset({"*"}) if lost == frozenset() else lost or frozenset(),
    )
    return whole, tuple(part.assembled(layer.name, index == 0) for index, (layer, part) in enumerate(zip(layers, parts, strict=True)))


def _one(layers: Sequence[LayerSource], shape: type[T]) -> T | None:
    return next((document.spec for layer in layers for document in layer.documents if isinstance(document.spec, shape)), None)


def _table(layers: Sequence[LayerSource]) -> routes.Table:
    """Upstreams and routes; a Route to what is not there was told of, and is left out."""
    found = [document for layer in layers for document in layer.documents]
    served = [routes.serve(each.name, each.spec, each.labels) for each in found if each.kind == "Upstream"]
    known = {each.name: each for each in served}
    led = [each for each in found if each.kind == "Route" and each.spec.to and all(target.upstream in known for target in each.spec.to)]
    return routes.Table(served, [routes.follow(each.name, each.spec, known) for each in led])


class _Part(NamedTuple):
    """What one layer was compiled to."""

    rules: list[Held]
    quotas: list[Counted]
    exemptions: list[Lifting]

    def assembled(self, name: str, first: bool) -> Layer:
        return assemble(name, first, [each.rule for each in self.rules], [each.quota for each in self.quotas], [each.exemption for each in self.exemptions])


def _layer(layer: LayerSource, index: int, report: Report, claims: Mapping[str, Type] | None) -> _Part:
    rank = f"{index:03}"
    part = _Part([], [], [])
    for document in layer.documents:
        if document.kind == "Policy":
            part.rules.extend(Held(document, rule.pointer, rule) for rule in policies.rules(document, report, claims, rank))
        elif document.kind == "Roles":
            part.rules.extend(Held(document, rule.pointer, rule) for rule in rbac.rules(document, report, claims, rank))
        elif document.kind == "Quota":
            part.quotas.extend(Counted(document, quota) for quota in quotas.quotas(document, report, claims, rank))
        elif document.kind == "Exception":
            part.exemptions.extend(Lifting(document, each) for each in exceptions.exemptions(document, report, claims, rank))
    return part
