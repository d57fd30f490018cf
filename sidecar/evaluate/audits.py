"""What documents in `mode: audit` would have done. Runs beside the decision, after it, and gives nothing back to it.

Counterpart: `lattice.py`, which runs the enforced ones and never sees these.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.evaluate.lattice import LIVE, lift

if TYPE_CHECKING:
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Rule
    from sidecar.decision import Reason
    from sidecar.evaluate.bindings import View, Views
    from sidecar.evaluate.lattice import Counting


def would_be(candidates: Candidates, views: View | Views, now: float, counting: Counting = LIVE) -> list[Reason]:
    """The audit rules that would have been among the determining ones. A deny that an exception lifts says so."""
    found = []
    for rule, mask in candidates.audits:
        if rule.effect == "allow":
            held, result = views.granted(rule.condition, mask, counting.yes) if mask else (0, "false")
            if held:
                found.append(rule.reasons[result])
        else:
            result = views.test(rule.condition)
            if result in counting.no:
                found.append(_unless_lifted(rule, rule.reasons[result], candidates, views, now=now, counting=counting))
    return found


def _unless_lifted(rule: Rule, reason: Reason, candidates: Candidates, views: View | Views, *, now: float, counting: Counting) -> Reason:
    if rule.effect != "deny":
        return reason
    for part in candidates.layers:
        if part.name == rule.layer and part.exemptions is not None:
            lifted = lift(rule, part.exemptions.get(rule.name, ()), views, now=now, counting=counting)
            return replace(reason, lifted=lifted) if lifted else reason
    return reason
