"""Policy documents to rules.

A document's `when` is joined to each of its rules'; what can never match is dropped with a warning. Whether a rule can be
carried out at all (the end of a stream, a parameter that is read and set) is checked here and in `coverage.py`, at load.
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

STREAMED = frozenset({"chat", ANY})
"""Operations whose replies may come as streams."""


def rules(document: Document, report: Report, claims: Mapping[str, Type], rank: str) -> Iterator[Rule]:
    """The rules of one Policy. `rank` sorts layers; problems go into the report."""
    spec: documents.Policy = document.spec
    scope = Scope(report, document, claims, spec.match.phase, spec.match.operation == ("tool_call",))
    scope.declare(spec.variables)
    matched = matcher(spec.match)
    for index, rule in enumerate(spec.rules):
        pointer = f"/spec/rules/{index}"
        condition = scope.condition(("/spec/when", spec.when), (f"{pointer}/when", rule.when))
        made = _rule(document, rule, matched, None if isinstance(condition, str) else condition, rank)
        _ends(report, document, made, pointer)
        if condition != NEVER:
            yield made


def _rule(document: Document, rule: documents.Rule, matched: Matcher, condition: Condition | None, rank: str) -> Rule:
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


def _ends(report: Report, document: Document, rule: Rule, pointer: str) -> None:
    """A response rule that needs the end of a stream must say so; one that owes what can't be done to a reply is none."""
    if rule.phase != "response":
        return
    if rule.late and not rule.buffer and rule.match.operations & STREAMED:
        hint = "`buffer: true` holds streamed replies to their end, or match other operations"
        report.say(
            "error", document, "needs-buffer", "this rule reads what only the end of a reply tells, and replies may be streamed", f"{pointer}/when", hint=hint
        )
    if rule.demands:
        report.say("error", document, "then", "only `label` and `warn` can be done to a reply", f"{pointer}/then")


__all__ = ["ALWAYS", "matcher", "owed", "rules", "where"]
