"""Who asks, and whether what the call names is theirs. Everything later is about someone.

The credential is verified by the rim; what it says is believed or refused here. A foreign id is an unknown id, in the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.routes import with_members
from sidecar.evaluate import combine
from sidecar.need import OwnerOf, Unauthenticated, Unavailable, Verify, owner_of, verify

if TYPE_CHECKING:
    from sidecar.decision import Refusal
    from sidecar.evaluate.state import State
    from sidecar.need import Steps


def identify(state: State) -> Steps[Refusal | None]:
    """Verify what was presented, unless the caller is known already (a stream that is decided again)."""
    if state.principal is not None:
        return None
    answer = yield from verify(Verify(state.presented, state.call.source))
    if isinstance(answer, Unauthenticated):
        return combine.unauthenticated(answer.reason, state.id)
    if isinstance(answer, Unavailable):
        state.facts["identity"] = "unavailable"
        return combine.outage("identity_unavailable", answer, state.id)
    state.principal = answer
    return None


def own(state: State) -> Steps[Refusal | None]:
    """Ids that a provider minted belong to who made them, and live where they were made: only that upstream may serve."""
    for kind, id in state.call.refs:
        answer = yield from owner_of(OwnerOf(kind, id))
        if isinstance(answer, Unavailable):
            state.facts["owner"] = "unavailable"
            return combine.outage("owners_unavailable", answer, state.id)
        if answer is None or state.principal is None or answer.principal != state.principal.id:
            state.facts["owner"] = "unknown" if answer is None else "foreign"
            return combine.unknown_id(kind, state.id)
        state.facts["owner"] = "own"
        members = tuple(member for member in state.call.members if member.upstream == answer.upstream)
        state.call = with_members(state.call, members)
    return None
