"""Exception documents to exemptions. Past its end one is void; it stays in the snapshot, and the decision's `now` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.conditions import NEVER, Report, Scope
from sidecar.compiler.dimensions import narrowed
from sidecar.compiler.index import ANY, EXCLUDED
from sidecar.compiler.policies import matcher, where
from sidecar.compiler.rules import Exemption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.config import documents
    from sidecar.config.document import Document
    from sidecar.expr import Type

ALL = EXCLUDED | {ANY}
"""An exception names its rules: without `operation` it is for all that they match."""


def exemptions(document: Document, report: Report, claims: Mapping[str, Type] | None, rank: str) -> Iterator[Exemption]:
    """The exemption of one Exception. `lifts` are `document/rule` of its own layer."""
    spec: documents.Exception_ = document.spec
    condition = Scope(report, document, claims).condition(("/spec/when", spec.when))
    if condition == NEVER:
        return
    held = None if isinstance(condition, str) else condition
    yield Exemption(
        name=document.name,
        lifts=frozenset(lifted.removeprefix("Policy/") for lifted in spec.lifts),
        match=narrowed(matcher(spec.match, ALL), held),
        condition=held,
        expires=spec.expires,
        layer=document.layer,
        where=where(document),
        order=(rank, document.name),
    )
