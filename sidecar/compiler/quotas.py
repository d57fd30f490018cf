"""Quota documents to reservable limits, each with a counter that no other shares.

A counter is named by its document and by what it counts over which window, not by its place in the list: a change of `max` or
of the order keeps what was counted. Counterparts: `evaluate/quotas.py`, `store/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.conditions import NEVER, Report, Scope
from sidecar.compiler.dimensions import narrowed
from sidecar.compiler.policies import matcher, where
from sidecar.compiler.rules import LimitRule, QuotaRule
from sidecar.config.scalars import seconds_of
from sidecar.expr import DYN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.config import documents
    from sidecar.config.document import Document
    from sidecar.expr import Type

CALENDAR = frozenset({"day", "month"})


def quotas(document: Document, report: Report, claims: Mapping[str, Type] | None, rank: str) -> Iterator[QuotaRule]:
    """The rule of one Quota. One in `mode: audit` is checked and left out: it never reserves."""
    spec: documents.Quota = document.spec
    scope = Scope(report, document, claims)
    condition = scope.condition(("/spec/when", spec.when))
    programs = [scope.program(f"/spec/key/{index}", source, result=DYN) for index, source in enumerate(spec.key)]
    keys = tuple(scope.join([program]) for program in programs if program is not None)
    if condition == NEVER or spec.mode == "audit" or len(keys) < len(programs):
        return
    held = None if isinstance(condition, str) else condition
    yield QuotaRule(
        name=document.name,
        match=narrowed(matcher(spec.match), held),
        condition=held,
        keys=keys,
        limits=tuple(limits(document, rank)),
        fail_open=spec.on_error == "allow",
        layer=document.layer,
        where=where(document),
        order=(rank, document.name),
    )


def limits(document: Document, rank: str) -> Iterator[LimitRule]:
    """The limits with their counters. Two that count the same over the same window are told apart by their size."""
    spec: documents.Quota = document.spec
    seen: dict[str, int] = {}
    for limit in sorted(spec.limits, key=lambda each: (each.metric, each.per, each.timezone, each.max)):
        base = f"{rank}:{document.name}#{limit.metric}/{limit.per}/{limit.timezone if limit.per in CALENDAR else ''}"
        again = seen[base] = seen.get(base, -1) + 1
        yield LimitRule(f"{base}#{again}" if again else base, limit.metric, float(limit.max), window(limit), limit.warn_at)


def window(limit: documents.Limit) -> float | str:
    """The window as `Reservation` has it: seconds, `day:<zone>`, `month:<zone>`, or 0."""
    if limit.per in CALENDAR:
        return f"{limit.per}:{limit.timezone}"
    return float(seconds_of(limit.per) or 0.0) if limit.per else 0.0
