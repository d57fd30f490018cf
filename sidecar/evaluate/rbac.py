"""The cheapest no: nothing could permit this, whatever the conditions say. Spends no quota and reads no condition.

Grants of roles and allow rules of policies are one thing here. Counterpart: `policies.py`, which reads the conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.candidates import HOUSEKEEPING
from sidecar.evaluate import bindings, combine
from sidecar.evaluate.audits import would_be
from sidecar.evaluate.lattice import Terms, must_allow

if TYPE_CHECKING:
    from sidecar.compiler.candidates import Candidates
    from sidecar.decision import Refusal
    from sidecar.evaluate.state import State
    from sidecar.need import Steps
    from sidecar.principal import Principal

TERMS = {(allow, keeping): Terms(allow, housekeeping=keeping) for allow in (True, False) for keeping in (True, False)}


def authorize(state: State) -> Steps[Refusal | None]:
    """Find the candidates; refuse where a layer that must allow has none that covers a member."""
    call, snapshot = state.call, state.snapshot
    if not call.members and call.operation != "models":
        return combine.unknown_model(state.id)
    if state.principal is None:
        raise RuntimeError("`authorize` stands before `identify`")
    candidates = state.candidates = snapshot.candidates(call, state.principal)
    state.survivors = possible(candidates, terms(state))
    if state.survivors:
        return None
    note_audits(state, state.principal)
    if call.members and all(snapshot.upstreams[member.upstream].hidden for member in call.members):
        return combine.unknown_model(state.id)
    return combine.nothing_allows(state.id, kind="hidden")
    yield


def note_audits(state: State, principal: Principal) -> None:
    """What audit documents would have allowed, where nothing enforced does."""
    candidates = state.candidates
    if candidates is not None and candidates.audits:
        views = bindings.views(state.call, principal, candidates, now=state.now, people=state.snapshot.people)
        state.would += would_be(candidates, views, state.now, state.counting)


def terms(state: State, housekeeping: frozenset[str] = HOUSEKEEPING) -> Terms:
    """What holds for this call where no rule speaks. `housekeeping`: operations that whoever may use anything is welcome to."""
    return TERMS[state.snapshot.settings.default.effect == "allow", state.call.operation in housekeeping]


def possible(candidates: Candidates, terms: Terms) -> int:
    """The members that could survive if every condition of every allow were true and none of a deny."""
    survivors = candidates.everyone
    for part in candidates.layers:
        if must_allow(part, terms):
            survivors &= part.covered
    return survivors
