"""What a rule costs at worst, and audits that nobody will remember."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.compiler.coverage.matrix import cost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.compiler.lints.subject import Subject
    from sidecar.config.diagnostics import Diagnostic

BOUND: Final = 10_000
"""Steps: about a millisecond, a loop in a loop."""


def costly(subject: Subject) -> Iterator[Diagnostic]:
    """A condition that may take longer than all the rest of a decision."""
    for held in subject.whole.rules:
        worth = cost(held.rule.condition)
        if worth > BOUND:
            words = f"this condition may take {worth} steps; {BOUND} are a millisecond"
            yield held.document.complaint(
                "warning", "costly", words, _place(subject, held.document, held.pointer), hint="one loop in place of two, or what is cheap first in `match`"
            )
    for counted in subject.whole.quotas:
        worth = cost(counted.quota.condition) + sum(map(cost, counted.quota.keys))
        if worth > BOUND:
            yield counted.document.complaint("warning", "costly", f"this quota's conditions may take {worth} steps; {BOUND} are a millisecond", "/spec")


def _place(subject: Subject, document: object, pointer: str) -> str:
    return f"{pointer}/when" if (id(document), f"{pointer}/when") in subject.by_place else pointer


def endless_audits(subject: Subject) -> Iterator[Diagnostic]:
    """`mode: audit` without a day on which somebody looks again."""
    for document in subject.whole.of("Policy"):
        if document.spec.mode == "audit" and document.spec.audit_until is None:
            words = "an audit without an end: nobody is told when it should begin to bite"
            yield document.complaint("warning", "audit", words, "/spec/mode", hint="`auditUntil: 2027-01-31`")
