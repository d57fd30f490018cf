"""Policy documents to rules.

A document's `when` is joined to each of its rules'; what can never match is dropped with a warning. Whether a rule can be
carried out at all (the end of a stream, a parameter that is read and set) is for `coverage` to say, at load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.conditions import ALWAYS, NEVER, Report, Scope
from sidecar.compiler.dimensions import narrowed
from sidecar.compiler.index import ANY, Matcher
from sidecar.compiler.patterns import compile_pattern
from sidecar.compiler.rules import Condition, Rule
from sidecar.decision import NONE, Obligations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.config import documents
    from sidecar.config.document import Document
    from sidecar.expr import Type


def rules(document: Document, report: Report, claims: Mapping[str, Type] | None, rank: str) -> Iterator[Rule]:
    """The rules of one Policy. `rank` sorts layers; problems go into the report."""
    spec: documents.Policy = document.spec
    scope = Scope(report, document, claims, spec.match.phase, spec.match.operation == ("tool_call",))
    scope.declare(spec.variables)
    matched = matcher(spec.match)
    for index, rule in enumerate(spec.rules):
        pointer = f"/spec/rules/{index}"
        condition = scope.condition(("/spec/when", spec.when), (f"{pointer}/when", rule.when))
        if condition != NEVER:
            yield _rule(document, rule, pointer, matched, None if isinstance(condition, str) else condition, rank)


def _rule(document: Document, rule: documents.Rule, pointer: str, matched: Matcher, condition: Condition | None, rank: str) -> Rule:  # noqa: PLR0917  one place calls it
    spec: documents.Policy = document.spec
    name = f"{document.name}/{rule.name}"
    return Rule(
        name=name,
        kind="Policy",
        effect=rule.effect,
        match=narrowed(matched, condition),
        condition=condition,
        layer=document.layer,
        where=where(document, rule.name),
        order=(rank, name, "Policy"),
        audit=spec.mode == "audit",
        phase=spec.match.phase,
        obligations=owed(rule, name),
        message=rule.message,
        help=rule.help,
        buffer=rule.buffer,
        pointer=pointer,
    )


def where(document: Document, rule: str = "") -> str:
    """`file:line` of a rule, or of the document."""
    if rule:
        index = next(index for index, each in enumerate(document.spec.rules) if each.name == rule)
        place = document.at(f"/spec/rules/{index}")
        return f"{place.file}:{place.line}"
    return f"{document.file}:{document.line}"


def matcher(match: documents.Match, operations: frozenset[str] | None = None) -> Matcher:
    """A `match` without its phase. `operations`: what an empty list means, `*` unless said."""
    return Matcher(
        frozenset(match.operation) or operations or frozenset({ANY}),
        tuple(compile_pattern(text, fold=True) for text in match.target),
        tuple(compile_pattern(text, fold=False) for text in match.subjects),
    )


def owed(rule: documents.Rule, name: str) -> Obligations:
    """What `then` says, as a value. A `warn` rule owes its own words."""
    if rule.effect == "warn":
        return Obligations(warn=(rule.message or name,))
    then = rule.then
    if then is None:
        return NONE
    made = Obligations(
        route=tuple(sorted(then.route.items())),
        cap=tuple(sorted((key, float(most)) for key, most in then.cap.items())),
        set=tuple(sorted(then.set.items(), key=lambda pair: pair[0])),
        redact=tuple(sorted(set(then.redact))),
        label=tuple(sorted(set(then.label))),
        warn=tuple(sorted(set(then.warn))),
    )
    return NONE if made == NONE else made


__all__ = ["ALWAYS", "matcher", "owed", "rules", "where"]
