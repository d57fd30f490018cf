"""Documents to one immutable snapshot: rules in an index, conditions checked, routes resolved, all of it hashed.

`compile_layers` is the entrance; every mistake becomes a diagnostic, all at once, and then there is no snapshot. Nothing here reads
a file or a clock. Counterparts: `config/`, which reads documents, and `evaluate/`, which decides with what comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sidecar.compiler import coverage, digest, exceptions, policies, quotas, rbac, routes
from sidecar.compiler.candidates import Layer, assemble
from sidecar.compiler.conditions import Report, claim_types
from sidecar.compiler.snapshot import Snapshot
from sidecar.config import documents
from sidecar.config.diagnostics import Diagnostic, has_errors, in_reading_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.compiler.rules import Exemption, QuotaRule, Rule
    from sidecar.config.document import Document, LayerSource
    from sidecar.expr import Type

T = TypeVar("T", documents.Settings, documents.Identity)

__all__ = ["Compilation", "Snapshot", "compile_layers"]


class Compilation(NamedTuple):
    """`snapshot` is None where one of the diagnostics is an error."""

    snapshot: Snapshot | None
    diagnostics: tuple[Diagnostic, ...]


def compile_layers(layers: Sequence[LayerSource], *, now: float) -> Compilation:  # noqa: ARG001  time-bound checks are config's; the seam stays
    """Compile documents that `config.load` found sound, first layer first. `now` is Unix seconds. Never raises on what authors wrote."""
    report = Report()
    settings = _one(layers, documents.Settings) or documents.Settings()
    identity = _one(layers, documents.Identity)
    table = _table(layers)
    claims = claim_types(identity)
    compiled, counted = [], []
    for index, layer in enumerate(layers):
        made, found = _layer(layer, index, report, claims)
        compiled.append(made)
        counted += found
    whole = coverage.Whole(tuple(layers), settings, table, tuple(counted))
    for check in coverage.CHECKS:
        check(whole, report)
    diagnostics = in_reading_order(report.diagnostics)
    if has_errors(diagnostics):
        return Compilation(None, diagnostics)
    kept = tuple(document for layer in layers for document in layer.documents)
    return Compilation(Snapshot(digest.of(layers), settings, identity, table, tuple(compiled), kept), diagnostics)


def _one(layers: Sequence[LayerSource], shape: type[T]) -> T | None:
    return next((document.spec for layer in layers for document in layer.documents if isinstance(document.spec, shape)), None)


def _table(layers: Sequence[LayerSource]) -> routes.Table:
    found = [document for layer in layers for document in layer.documents]
    served = [routes.serve(each.name, each.spec, each.labels) for each in found if each.kind == "Upstream"]
    known = {each.name: each for each in served}
    return routes.Table(served, [routes.follow(each.name, each.spec, known) for each in found if each.kind == "Route"])


def _layer(layer: LayerSource, index: int, report: Report, claims: Mapping[str, Type]) -> tuple[Layer, list[tuple[Document, QuotaRule]]]:
    rank = f"{index:03}"
    rules: list[Rule] = []
    exempt: list[Exemption] = []
    counted: list[tuple[Document, QuotaRule]] = []
    for document in layer.documents:
        if document.kind == "Policy":
            rules += policies.rules(document, report, claims, rank)
        elif document.kind == "Roles":
            rules += rbac.rules(document, report, claims, rank)
        elif document.kind == "Quota":
            counted += [(document, quota) for quota in quotas.quotas(document, report, claims, rank)]
        elif document.kind == "Exception":
            exempt += exceptions.exemptions(document, report, claims, rank)
    return assemble(layer.name, index == 0, rules, [quota for _, quota in counted], exempt), counted
