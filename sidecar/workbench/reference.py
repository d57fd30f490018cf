"""Runs the conditions of documents through cel-python too, in every case of their tests, and tells where the two differ.

For `sidecar test --reference`. Counterparts: `celpython`, the other engine and its known faults; `cases`, which makes the cases. What
the other engine cannot run is told apart with the reason: it is no agreement.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.expr import UNKNOWN, Fault
from sidecar.expr.parser import parse
from sidecar.expr.shown import shown
from sidecar.expr.values import EvalError, equals, kind, to_timestamp
from sidecar.workbench import cases, moments
from sidecar.workbench.celpython import CelPython, Failed, NotComparable, deviation, unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Condition
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.document import Document
    from sidecar.evaluate.bindings import View
    from sidecar.expr import Program, tree
    from sidecar.workbench.cases import Case


class Asked(NamedTuple):
    """A condition where a case reads it."""

    rule: str
    where: str
    condition: Condition
    view: View


class Disagreement(NamedTuple):
    """Two results for one expression in one case, as text."""

    rule: str
    where: str
    expression: str
    case: str
    ours: str
    theirs: str


@dataclass(slots=True)
class Report:
    """`agreed` counts runs in which both gave the same; `apart` counts runs that cannot be compared, by (rule, where, reason)."""

    agreed: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    apart: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    expressions: set[str] = field(default_factory=set)
    """Those that were run at all."""


def check(snapshot: Snapshot) -> Report:
    """Every condition, in every case where its rule is a candidate. Raises ImportError where the extra `[reference]` is not installed."""
    engine, report = CelPython(), Report()
    for test in snapshot.tests:
        for case in _cases(test):
            for asked in _asked(snapshot, case):
                _compare(engine, report, asked, case.name)
    return report


def _cases(test: Document) -> Iterator[Case]:
    """Each caller with each call once, however many rows expect something of them."""
    seen: dict[tuple[str, str, tuple[str, ...]], Case] = {}
    for case in cases.cases_of(test):
        seen.setdefault((case.who, case.what, tuple(case.row.without)), case)
    yield from seen.values()


def _asked(snapshot: Snapshot, case: Case) -> Iterator[Asked]:
    """The conditions that this case reads, or would if nothing before decided."""
    decision = cases.result(snapshot, case).decision
    if decision is None:
        return  # the test itself fails on it
    for moment in moments.of(snapshot, cases.ready(snapshot, case), decision):
        for rule, where, condition in _named(moment.candidates):
            for view in moment.views.each() if condition is not None else ():
                yield Asked(rule, where, condition, view)


def _named(candidates: Candidates) -> Iterator[tuple[str, str, Any]]:
    for part in candidates.layers:
        for rule in (*part.denies, *part.demands, *(allow for allow, _ in part.allows)):
            yield rule.name, rule.where, rule.condition
        for lifting in dict.fromkeys(item for found in (part.exemptions or {}).values() for item in found):
            yield lifting.name, lifting.where, lifting.condition
    for rule, _ in candidates.audits:
        yield rule.name, rule.where, rule.condition
    for quota in candidates.quotas:
        for condition in (quota.condition, *quota.keys):
            yield quota.name, quota.where, condition


def _compare(engine: CelPython, report: Report, asked: Asked, case: str) -> None:
    asked.view.test(asked.condition)  # so that its variables are bound
    variables = asked.condition.variables
    read = [name for name in (variables.programs if variables is not None else ()) if f"variables.{name}" in asked.condition.reads]
    programs = [*asked.condition.programs, *(variables.programs[name] for name in read if variables is not None)]
    for program in dict.fromkeys(programs):
        report.expressions.add(program.source)
        ours = program(asked.view.bindings)
        theirs, why = _theirs(engine, program, asked.view.bindings, ours)
        if why:
            report.apart[asked.rule, asked.where, why] += 1
        elif _same(ours, theirs):
            report.agreed += 1
        else:
            report.disagreements.append(
                Disagreement(asked.rule, asked.where, program.source, case, shown(ours), str(theirs) if _failed(theirs) else shown(theirs))
            )


def _theirs(engine: CelPython, program: Program, bound: Mapping[str, Any], ours: Any) -> tuple[Any, str]:
    """The other engine's result; or why it cannot be compared."""
    root = _parsed(program.source)
    if why := unsupported(program.source, root):
        return None, f"cel-python cannot run {why}"
    try:
        theirs = engine.evaluate(program.source, _context(program, bound))
    except NotComparable as reason:
        return None, str(reason)
    known = "" if _same(ours, theirs) else deviation(root, ours, theirs)
    return theirs, f"a known fault of cel-python: {known}" if known else ""


@cache
def _parsed(source: str) -> tree.Node:
    return parse(source)


def _context(program: Program, bound: Mapping[str, Any]) -> dict[str, Any]:
    """What the expression reads. Raises NotComparable where it reads a variable without a value."""
    context: dict[str, Any] = {}
    for root in {path.partition(".")[0] for path in program.reads}:
        value = bound.get(root)
        context[root] = to_timestamp(value) if root == "now" else _variables(value, program) if root == "variables" else value
    return context


def _variables(lazy: Any, program: Program) -> dict[str, Any]:
    names = {path.split(".")[1] for path in program.reads if path.startswith("variables.")}
    try:
        return {name: lazy[name] for name in names}
    except EvalError:
        raise NotComparable("a variable that it reads has no value") from None


def _failed(value: Any) -> bool:
    return isinstance(value, Fault | Failed)


def _same(ours: Any, theirs: Any) -> bool:
    if _failed(ours) or _failed(theirs) or ours is UNKNOWN:
        return _failed(ours) and _failed(theirs)
    return kind(ours) == kind(theirs) and equals(ours, theirs)


def lines(report: Report) -> list[str]:
    """The report for people: what differs first, then what cannot be compared, then the sums."""
    told = []
    for each in report.disagreements:
        told += [f"DIFFERS {each.rule} {each.where}", f"     {each.expression}", f"     {each.case}: {each.ours} here, {each.theirs} in cel-python"]
    told += [f"apart   {rule} {where}: {why} ({count} runs)" for (rule, where, why), count in sorted(report.apart.items())]
    runs = f"{report.agreed} agreed, {len(report.disagreements)} differ, {report.apart.total()} cannot be compared"
    return [*told, f"reference: {len(report.expressions)} expressions, {runs}"]
