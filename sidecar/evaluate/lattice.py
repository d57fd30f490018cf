"""The lattice over candidate rules: deny > allow > default, for each layer alone, the strictest layer wins.

`weigh` serves requests, proposed tool calls, replies and listings alike. An error in a deny, require or warn counts as
matched, in an allow or an exception as not matched; only `True` is true. Pure over candidates and views; it makes no refusal and asks nothing.
Which results count is a table (`LIVE`, `LISTING`): in a list, what is not known may still come out either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sidecar.compiler.candidates import Candidates, LayerCandidates
from sidecar.compiler.rules import Condition, Exemption, Rule
from sidecar.decision import Reason
from sidecar.evaluate.bindings import View

Views = Sequence[tuple[int, View]]


class Counting(NamedTuple):
    """Which results of a condition count as matched, for what says no (deny, require, warn) and for what says yes (allow, exception)."""

    no: frozenset[str]
    yes: frozenset[str]


LIVE = Counting(frozenset({"true", "error", "unknown"}), frozenset({"true"}))
LISTING = Counting(frozenset({"true", "error"}), frozenset({"true", "unknown"}))
"""Arguments are unknown in a list: never, perhaps, always; only *never* hides."""

STRENGTH = ("true", "error", "unknown", "false")
"""What is recorded where the models of a call have different results."""


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


def weigh(candidates: Candidates, views: Views, *, now: float, terms: Terms, counting: Counting = LIVE) -> Verdict:
    """Run the candidates of every layer. Denies first: once one stands, no allow is read."""
    verdict = Verdict(candidates.everyone)
    for part in candidates.layers:
        for rule in part.denies:
            _deny(rule, part, views, now, counting, verdict)
    if verdict.denied:
        verdict.survivors = 0
        return verdict
    for part in candidates.layers:
        for rule in (*part.requires, *part.warns):
            result = outcome(rule.condition, views)
            verdict.others.append(rule.reasons[result])
            if result in counting.no:
                verdict.owing.append(rule)
        verdict.survivors &= _coverage(part, candidates.everyone, views, terms, counting, verdict)
    return verdict


def _deny(rule: Rule, part: LayerCandidates, views: Views, now: float, counting: Counting, verdict: Verdict) -> None:
    result = outcome(rule.condition, views)
    reason = rule.reasons[result]
    if result not in counting.no:
        verdict.others.append(reason)
    elif part.exemptions is not None and (lifted := lift(rule, part.exemptions.get(rule.name, ()), views, now, counting)):
        verdict.others.append(replace(reason, lifted=lifted))
    else:
        verdict.denied.append(reason)


def lift(rule: Rule, exemptions: Sequence[Exemption], views: Views, now: float, counting: Counting) -> str:
    """The live exception that takes this deny out for every model it matched for, or ""."""
    hit = [pair for pair in views if outcome(rule.condition, (pair,)) in counting.no]
    for exemption in exemptions:
        if exemption.expires > now and all(outcome(exemption.condition, (pair,)) in counting.yes for pair in hit):
            return exemption.name
    return ""


def _coverage(part: LayerCandidates, everyone: int, views: Views, terms: Terms, counting: Counting, verdict: Verdict) -> int:
    covered = 0
    for rule, mask in part.allows:
        held, result = granted(rule.condition, mask, views, counting)
        reason = rule.reasons[result]
        if held:
            covered |= held
            verdict.granted.append(reason)
            verdict.owing.append(rule)
        else:
            verdict.others.append(reason)
    must = (not terms.default_allow) if part.first else (part.grants and terms.listed)
    if not must or (terms.housekeeping and part.welcome):
        return everyone
    return covered


def granted(condition: Condition | None, mask: int, views: Views, counting: Counting) -> tuple[int, str]:
    """The members of `mask` for whose model the condition holds, and what to record."""
    if condition is None:
        return mask, "true"
    held = 0
    results = []
    for bits, view in views:
        if bits & mask:
            result = view.test(condition)
            results.append(result)
            if result in counting.yes:
                held |= bits & mask
    return held, _strongest(results)


def outcome(condition: Condition | None, views: Views) -> str:
    """The strongest result over all models."""
    if condition is None:
        return "true"
    if len(views) == 1:
        return views[0][1].test(condition)
    return _strongest([view.test(condition) for _, view in views])


def _strongest(results: Sequence[str]) -> str:
    return next(result for result in STRENGTH if result in results)
