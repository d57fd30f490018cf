"""The lattice over candidate rules: deny > allow > default, for each layer alone, the strictest layer wins.

`weigh` serves requests, proposed tool calls, replies and listings alike. An error in a deny, require or warn counts as
matched, in an allow or an exception as not matched; only `True` is true. Pure over candidates and views; it makes no refusal and asks nothing.
Which results count is a table (`LIVE`, `LISTING`): in a list, what is not known may still come out either way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from sidecar.decision import NONE, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.compiler.candidates import Candidates, LayerCandidates
    from sidecar.compiler.rules import Exemption, Rule
    from sidecar.evaluate.bindings import View, Views


class Counting(NamedTuple):
    """Which results of a condition count as matched, for what says no (deny, require, warn) and for what says yes (allow, exception)."""

    no: frozenset[str]
    yes: frozenset[str]


LIVE = Counting(frozenset({"true", "error", "unknown"}), frozenset({"true"}))
LISTING = Counting(frozenset({"true", "error"}), frozenset({"true", "unknown"}))
"""Arguments are unknown in a list: never, perhaps, always; only *never* hides."""


class Terms(NamedTuple):
    """What holds where no rule speaks. `default_allow`: for the first layer; `listed`: layers that hold an allow are allow-lists."""

    default_allow: bool
    listed: bool = True
    housekeeping: bool = False


@dataclass(slots=True)
class Verdict:
    """What came out. `survivors` are the members that every layer allows; empty or not is for the caller to judge."""

    survivors: int
    denied: list[Reason] = field(default_factory=list)
    granted: list[Reason] = field(default_factory=list)
    others: list[Reason] = field(default_factory=list)
    owing: list[Rule] = field(default_factory=list)
    """Matching rules that carry obligations."""


def weigh(candidates: Candidates, views: View | Views, *, now: float, terms: Terms, counting: Counting = LIVE) -> Verdict:
    """Run the candidates of every layer. Denies first: once one stands, no allow is read."""
    verdict = Verdict(candidates.everyone)
    for part in candidates.layers:
        if part.denies:
            _deny(part, views, now, counting, verdict)
    if verdict.denied:
        verdict.survivors = 0
        return verdict
    for part in candidates.layers:
        for rule in part.demands:
            result = views.test(rule.condition)
            verdict.others.append(rule.reasons[result])
            if result in counting.no:
                verdict.owing.append(rule)
        covered = _allow(part, views, counting, verdict)
        if must_allow(part, terms):
            verdict.survivors &= covered
    return verdict


def must_allow(part: LayerCandidates, terms: Terms) -> bool:
    """Whether this layer's silence is a no: the first by its default, a later one that holds an allow at all."""
    if terms.housekeeping and part.welcome:
        return False
    return not terms.default_allow if part.first else part.grants and terms.listed


def _deny(part: LayerCandidates, views: View | Views, now: float, counting: Counting, verdict: Verdict) -> None:
    others, test, no, exempt = verdict.others, views.test, counting.no, part.exemptions
    for rule in part.denies:
        result = test(rule.condition)
        reason = rule.reasons[result]
        if result not in no:
            others.append(reason)
        elif exempt is not None and (lifted := lift(rule, exempt.get(rule.name, ()), views, now=now, counting=counting)):
            others.append(replace(reason, lifted=lifted))
        else:
            verdict.denied.append(reason)


def lift(rule: Rule, exemptions: Sequence[Exemption], views: View | Views, *, now: float, counting: Counting) -> str:
    """The live exception that takes this deny out for every model it matched for, or ""."""
    hit = [view for view in views.each() if view.test(rule.condition) in counting.no]
    for exemption in exemptions:
        if exemption.expires > now and all(view.test(exemption.condition) in counting.yes for view in hit):
            return exemption.name
    return ""


def _allow(part: LayerCandidates, views: View | Views, counting: Counting, verdict: Verdict) -> int:
    """The members that this layer's allows cover."""
    covered = 0
    for rule, mask in part.allows:
        held, result = views.granted(rule.condition, mask, counting.yes)
        if held:
            covered |= held
            verdict.granted.append(rule.reasons[result])
            if rule.obligations is not NONE:
                verdict.owing.append(rule)
        else:
            verdict.others.append(rule.reasons[result])
    return covered
