"""The ladder: what is asked of every call, in which order, and why. Read this first.

A stage is a generator over one `State`: it yields needs (`need.py`), writes its part, and returns a refusal or None. The
evaluator knows no clock, no store and no network: `gate.py` answers from the real ones, `workbench/` from data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.errors import CannotCarry
from sidecar.evaluate import combine
from sidecar.evaluate.identity import identify, own
from sidecar.evaluate.lattice import LIVE
from sidecar.evaluate.policies import apply_policies
from sidecar.evaluate.quotas import reserve_quota
from sidecar.evaluate.rbac import authorize
from sidecar.evaluate.screen import cannot_carry, screen_call
from sidecar.evaluate.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.call import Call, Outgoing
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision
    from sidecar.evaluate.lattice import Counting
    from sidecar.evaluate.state import Stage
    from sidecar.need import Steps
    from sidecar.principal import Presented, Principal
    from sidecar.wire.base import Codec

LADDER: tuple[Stage, ...] = (
    identify,  # everything later is about someone
    own,  # a foreign id is an unknown id, whatever the policies say of the model behind it
    authorize,  # the cheapest no: nothing could permit this; never spends quota
    apply_policies,  # may add obligations that later steps read
    reserve_quota,  # before screening: screening costs money too
    screen_call,  # the dearest; sees the obligations
)


def decide(
    snapshot: Snapshot,
    call: Call,
    presented: tuple[Presented, ...],
    *,
    codec: Codec,
    now: float,
    decision_id: str,
    principal: Principal | None = None,
    reserve: bool = True,
    counting: Counting = LIVE,
    clock: Callable[[], int] | None = None,
) -> Steps[Decision]:
    """Decide one call. `now` is Unix seconds; a `principal` that is given is not verified again.

    `reserve` False spends no quota (a stream that is decided again). `counting`: how a condition counts that reads what is not
    known (`lattice.py`). `clock` gives nanoseconds for `Decision.timings`; without
    it there are none. The Decision holds a Permit or a Refusal, but for `models`, whose answer is ours: an allow without a permit.
    """
    resolved = snapshot.resolve(call, codec.family)
    state = State(snapshot, resolved, presented, codec=codec, now=now, id=decision_id, principal=principal, reserving=reserve, counting=counting)
    if clock is not None:
        state.laps = [("start", clock())]
    for stage in LADDER:
        refusal = yield from stage(state)
        if clock is not None:
            state.laps.append((stage.__name__, clock()))
        if refusal is not None:
            if not combine.forgives(state, refusal):
                return combine.decision(state, refusal)
            combine.forgive(state)
    return permit(state)


def permit(state: State) -> Decision:
    """The end of the ladder: the exact bytes for each surviving model, and the permit that holds them."""
    if state.call.operation == "models":
        return combine.decision(state, None)
    members = combine.surviving(state)
    payloads: dict[str, Outgoing] = {}
    try:
        for member in members:
            if member.model not in payloads:
                payloads[member.model] = state.codec.write_call(state.call, member, state.edits)
    except CannotCarry as error:
        return combine.decision(state, cannot_carry(state, error.message))
    return combine.permitted(state, members, payloads)
