"""Why a case failed, for people: every candidate with its condition's result and its place, and where to look next.

Counterpart: `cases.differences`, which says what came out otherwise. Decides nothing; knows no terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.compiler.candidates import names_of
from sidecar.workbench import cases, moments
from sidecar.workbench.units import described

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.compiler.rules import QuotaRule, Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.cases import CaseResult, Ready
    from sidecar.workbench.moments import Moment


class Candidate(NamedTuple):
    """One rule that could speak. `decides` is whether it did."""

    rule: str
    effect: str
    result: str
    where: str
    decides: bool


class Report(NamedTuple):
    """What stands behind a failure. `next` are sentences."""

    candidates: tuple[Candidate, ...]
    next: tuple[str, ...]


def explain(snapshot: Snapshot, result: CaseResult) -> Report:
    """The candidates of a failed case, and what to look at. Nothing where there was no decision."""
    if result.passed or result.case is None or result.decision is None:
        return Report((), ())
    ready = cases.ready(snapshot, result.case)
    judged = tuple(moments.of(snapshot, ready, result.decision))
    found = dict.fromkeys(each for moment in judged for each in _candidates(moment, result.decision.by))
    ranked = tuple(sorted(found, key=lambda each: not each.decides))
    return Report(ranked, tuple(_next(snapshot, ready, result, judged, ranked)))


def _candidates(moment: Moment, by: Sequence[str]) -> Iterator[Candidate]:
    for rule in moment.rules:
        yield Candidate(rule.name, f"{'audit ' if rule.audit else ''}{rule.effect}", moment.views.test(rule.condition), rule.where, rule.name in by)
    for quota in moment.candidates.quotas:
        yield Candidate(quota.name, "quota", moment.views.test(quota.condition), quota.where, quota.name in by)


def _next(snapshot: Snapshot, ready: Ready, result: CaseResult, judged: Sequence[Moment], candidates: Sequence[Candidate]) -> Iterator[str]:
    if result.case is None or result.decision is None:
        return
    row, decision = result.case.row, result.decision
    would = [reason.rule for reason in decision.would]
    for name in (*(name for name in row.by if name not in decision.by), *(name for name in row.would if name not in would)):
        yield from _silent(snapshot, ready, name, judged, candidates)
    if row.effect == "allow" and decision.effect == "deny" and not decision.by:
        near = [each for each in candidates if each.effect == "allow"]
        yield from (f"`{each.rule}` ({each.where}) would allow it, but its condition is {each.result}" for each in near)
        if not near and decision.call.members:
            yield "no allow rule and no grant is about this call and this caller"
        elif not decision.call.members and decision.call.operation not in ("models", "tool_call"):
            yield f"no Upstream serves `{decision.call.target}`"
    for each in candidates:
        if each.decides and each.result == "error":
            yield f"the condition of `{each.rule}` ({each.where}) fails, and an error counts as matched: is a field missing?"


def _silent(snapshot: Snapshot, ready: Ready, name: str, judged: Sequence[Moment], candidates: Sequence[Candidate]) -> Iterator[str]:
    """Why a rule that was expected to decide did not."""
    spoken = [each for each in candidates if each.rule == name]
    if spoken:
        yield from (f"`{name}` ({each.where}) was read, and its condition is {each.result}" for each in dict.fromkeys(spoken))
        return
    for rule in _called(snapshot, name):
        yield f"`{name}` ({rule.where}) is not about this: {_unmatched(rule, ready, judged)}"


def _called(snapshot: Snapshot, name: str) -> list[Rule | QuotaRule]:
    return [
        rule for layer in snapshot.layers for rules in (layer.request.rules, layer.response.rules, layer.quotas.rules) for rule in rules if rule.name == name
    ]


def _unmatched(rule: Rule | QuotaRule, ready: Ready, judged: Sequence[Moment]) -> str:
    match = rule.match
    phase = getattr(rule, "phase", "request")
    calls = [moment.call for moment in judged if moment.phase == phase]
    if not calls:
        return "there is no reply" if phase == "response" else "nothing serves this call"
    if not any(match.admits(call.operation) for call in calls):
        return f"its operation is {' or '.join(sorted(match.operations))}, the call's is {calls[0].operation}"
    if not any(match.covers(names_of(call)) for call in calls):
        return f"its match is {described(match)}, the call is known as {', '.join(names_of(calls[0]))}"
    return f"its match is {described(match)}, the caller is {', '.join(sorted(ready.person.subjects))}"
