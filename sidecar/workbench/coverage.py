"""What the tests of a configuration leave open: rules never hit or never missed, conditions never true, never false, never without a field.

Computed from real decisions: each candidate's condition is evaluated over what the ladder shows it, one by one, so that a deny which stands
or an `&&` that is false already hides nothing. Counterparts: `units.py`, what is to be shown; `mutants.py`, whether the rows would notice a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.compiler.candidates import names_of
from sidecar.errors import CallError
from sidecar.evaluate.lattice import LIVE
from sidecar.workbench import cases, moments
from sidecar.workbench.absent import NothingThere
from sidecar.workbench.units import FALSE, HIT, MISSED, TRUE, UNSET, Book, Parts, Test, Unit, others, present

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.compiler.rules import Exemption, Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.diagnostics import Position
    from sidecar.decision import Decision
    from sidecar.workbench.cases import Case
    from sidecar.workbench.moments import Moment


class Gap(NamedTuple):
    """What no case shows, and the row that would."""

    position: Position
    name: str
    missing: str
    row: str = ""


class Coverage(NamedTuple):
    """`percent` is floored: 99.99 is 99."""

    seen: int
    wanted: int
    gaps: tuple[Gap, ...]

    @property
    def percent(self) -> int:
        """Of what is wanted, how much was seen."""
        return self.seen * 100 // self.wanted if self.wanted else 100

    def report(self) -> dict[str, Any]:
        """Plain JSON values."""
        gaps = [{"file": gap.position.file, "line": gap.position.line, "name": gap.name, "missing": gap.missing, "row": gap.row} for gap in self.gaps]
        return {"percent": self.percent, "seen": self.seen, "wanted": self.wanted, "gaps": gaps}


def measure(snapshot: Snapshot, chosen: Iterable[Case]) -> Coverage:
    """What these cases show of the snapshot."""
    book = Book(snapshot)
    for case in chosen:
        try:
            ready = cases.ready(snapshot, case)
            decision = cases.of(snapshot, ready)
        except (CallError, NothingThere):
            continue  # nothing was decided: the case failed, and shows nothing
        hit: set[Unit] = set()
        for moment in moments.of(snapshot, ready, decision):
            _mark(book, moment, decision, case, hit)
        for unit in book.units.values():
            unit.seen.add(HIT if unit in hit else MISSED)
    units = sorted(book.units.values(), key=lambda unit: (unit.position, unit.name, unit.kind))
    wanted = sum(len(unit.wanted) for unit in units)
    open_ = [gap for unit in units for gap in gaps(unit)]
    return Coverage(wanted - sum(len(unit.missing) for unit in units), wanted, tuple(open_))


# ---------------------------------------------------------------- filling in


def _mark(book: Book, moment: Moment, decision: Decision, case: Case, hit: set[Unit]) -> None:
    for rule in moment.rules:
        parts = book.parts[id(rule)]
        if _conditions(parts, moment, case):
            hit |= {parts.unit, *_granted(parts, moment)}
    for quota in moment.candidates.quotas:
        parts = book.parts[id(quota)]
        _conditions(parts, moment, case)
        if quota.name in decision.by:
            hit.add(parts.unit)
    for part in moment.candidates.layers:
        for exemption in dict.fromkeys(each for found in (part.exemptions or {}).values() for each in found):
            parts = book.parts[id(exemption)]
            if _conditions(parts, moment, case) and _lifts(exemption, moment.rules, moment):
                hit.add(parts.unit)


def _lifts(exemption: Exemption, rules: Iterable[Rule], moment: Moment) -> bool:
    """Whether one of the rules that it names matched, and it is not over."""
    matched = (rule for rule in rules if rule.name in exemption.lifts and moment.views.test(rule.condition) in LIVE.no)
    return exemption.expires > moment.now and any(matched)


def _granted(parts: Parts, moment: Moment) -> list[Unit]:
    """The grants of a role that this call is one of."""
    names = names_of(moment.call)
    return [unit for unit, matcher in parts.grants if matcher.admits(moment.call.operation) and matcher.covers(names)]


def _conditions(parts: Parts, moment: Moment, case: Case) -> bool:
    """Run every condition alone. Whether all of them are true for some model."""
    parts.unit.reached = True
    held = False
    for view in moment.views.each():
        results = []
        for test in parts.tests:
            value = view.value(test.condition)
            results.append(value is True)
            _saw(test, value, view.bindings, case)
        held = held or all(results)
    return held


def _saw(test: Test, value: Any, bound: dict[str, Any], case: Case) -> None:
    unit = test.unit
    unit.reached = True
    if value is True or value is False:
        unit.seen.add(TRUE if value else FALSE)
    there = {leaf: present(bound, leaf) for leaf in test.leaves}
    if unit.whole is None and all(there[leaf] for leaf in test.leaves if leaf not in UNSET):
        unit.whole = case
    unit.seen.update(leaf for leaf in test.leaves if there[leaf] is False and all(there[other] for other in others(leaf, test.leaves)))


# ---------------------------------------------------------------- telling


def gaps(unit: Unit) -> list[Gap]:
    """What is open of a unit, one gap for each outcome."""
    if unit.missing and not unit.reached and unit.kind != "grant":
        about = f"a call that its match admits ({unit.match})" if unit.match else "a call that its rule matches"
        return [Gap(unit.position, unit.name, "never reached", about)]
    return [_gap(unit, outcome) for outcome in unit.missing]


def _gap(unit: Unit, outcome: str) -> Gap:
    told = f"{{principal: {unit.whole.who}, call: {unit.whole.what}" if unit.whole is not None else "{principal: …, call: …"
    if outcome in (TRUE, FALSE):
        return Gap(unit.position, unit.name, f"never {outcome}", f"a call for which it is {outcome}")
    if outcome in (HIT, MISSED):
        return Gap(unit.position, unit.name, f"never {outcome}", _TOLD[unit.kind, outcome])
    field = outcome.removeprefix("call.")
    if outcome == "call.tool":
        return Gap(unit.position, unit.name, "never with a call that is no tool call", "a call of another operation that its match admits")
    return Gap(unit.position, unit.name, f"never with {field} missing", f"{told}, without: [{field}], effect: …}}")


_TOLD = {
    ("rule", HIT): "a call that it matches",
    ("rule", MISSED): "a call that it leaves alone",
    ("binding", HIT): "a caller who has the role, and a call that it grants",
    ("binding", MISSED): "a caller who has not this role",
    ("grant", HIT): "a call that it grants, by someone who has the role",
    ("quota", HIT): "a row with `facts: {used: {…}}` or `facts: {quota: {…: exhausted}}`, by this quota",
    ("quota", MISSED): "a call that it lets pass",
    ("exception", HIT): "a call that a rule denies and this exception lifts",
    ("exception", MISSED): "a call that it does not lift",
}
