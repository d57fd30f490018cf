"""Conditions are read here: what denies, what allows and for which members, what is demanded in return.

The lattice itself is in `lattice.py`; this rung applies it to a request, judges the tools that the provider itself would run,
and notes what audit documents would have done. Obligations are added up here, before quota and screen, which read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.candidates import HOUSEKEEPING
from sidecar.evaluate import bindings, combine, lattice, listing, obligations
from sidecar.evaluate.audits import would_be
from sidecar.evaluate.rbac import terms
from sidecar.evaluate.tools import offered

if TYPE_CHECKING:
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Rule
    from sidecar.decision import Reason, Refusal
    from sidecar.evaluate.state import State
    from sidecar.need import Steps
    from sidecar.principal import Principal

OURS = frozenset({"models"})
"""Housekeeping that this process answers itself, each name of it judged by `listing.py`; nothing is owed on it."""


def apply_policies(state: State) -> Steps[Refusal | None]:
    """Weigh every candidate; the survivors are the members that every layer allows and every route label admits."""
    principal, candidates = state.known()
    views = state.views = bindings.views(state.call, principal, candidates, now=state.now, people=state.snapshot.people)
    verdict = lattice.weigh(candidates, views, now=state.now, terms=terms(state, OURS), counting=state.counting)
    state.others += verdict.others
    if candidates.audits:
        state.would += would_be(candidates, views, state.now, state.counting)
    if verdict.denied:
        no = _denied(state, verdict.denied)
        return _hidden(state, principal) or no
    state.survivors = verdict.survivors or _welcome(state, principal, candidates)
    if not state.survivors:
        state.others += verdict.granted
        return _hidden(state, principal) or combine.nothing_allows(state.id)
    state.owing = verdict.owing if state.call.operation not in OURS else []
    state.reasons += verdict.granted
    if state.call.tools:
        offer = offered(state, principal)
        if offer is not None:
            return offer
    return _owe(state) if state.owing else None
    yield


def _welcome(state: State, principal: Principal, candidates: Candidates) -> int:
    """Housekeeping that goes to a provider: no rule allows it by name, so it takes one that lets this caller use anything there at all."""
    if state.call.operation not in HOUSEKEEPING:
        return 0
    there = listing.anything(state.snapshot, principal, state.call.target, family=state.codec.family, now=state.now)
    return candidates.everyone if there else 0


def _hidden(state: State, principal: Principal) -> Refusal | None:
    """Where the Upstreams are `hidden`, what nothing could allow to this caller is an unknown model; the record tells the rules."""
    call, upstreams = state.call, state.snapshot.upstreams
    if not call.members or not all(upstreams[member.upstream].hidden for member in call.members):
        return None
    if listing.perhaps(state.snapshot, principal, call.target, family=state.codec.family, operation=call.operation, now=state.now):
        return None
    state.survivors = 0
    return combine.unknown_model(state.id)


def _denied(state: State, reasons: list[Reason], message: str = "") -> Refusal:
    state.survivors = 0
    state.determine(*reasons)
    return combine.denied(reasons[0], state.id, told=state.snapshot.told, message=message)


def _owe(state: State) -> Refusal | None:
    """Add the obligations up, and let only those members survive that they admit."""
    try:
        state.obligations = obligations.total(state.owing)
    except obligations.Conflict as conflict:
        return unmet(state, conflict.rule, conflict.what)
    if not state.obligations.route:
        return None
    state.survivors = obligations.routed(state.call.members, state.survivors, state.obligations.route)
    if state.survivors:
        return None
    return unmet(state, next(rule for rule in state.owing if rule.obligations.route), "no upstream that may serve this has the labels it demands")


def unmet(state: State, rule: Rule, what: str) -> Refusal:
    """A rule demands what can't be done: its no."""
    return _denied(state, [rule.reasons["true"]], f"denied by rule `{rule.name}`: {what}")
