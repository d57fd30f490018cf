"""Carries obligations out on the request: caps, settings and redactions become edits that the codec writes into the bytes.

The dearest rung and the last: nothing edits after it. Guardrails will stand here, before the edits. What a dialect can't
carry is a no that names the rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.decision import NONE
from sidecar.errors import CannotCarry
from sidecar.evaluate import combine
from sidecar.segment import Edit
from sidecar.wire import pointer

if TYPE_CHECKING:
    from sidecar.decision import Refusal
    from sidecar.evaluate.state import State
    from sidecar.need import Steps

REDACTED = "[redacted]"


def screen_call(state: State) -> Steps[Refusal | None]:
    """Turn the obligations into edits."""
    if state.obligations is NONE:
        return None
    try:
        state.edits = edits(state)
    except CannotCarry as error:
        return cannot_carry(state, error.message)
    return None
    yield


def edits(state: State) -> tuple[Edit, ...]:
    """All edits, in the order cap, set, redact. Raises CannotCarry."""
    call, codec, owed = state.call, state.codec, state.obligations
    made: list[Edit] = []
    for name, most in owed.cap:
        made += codec.cap(call, name, most)
    for name, value in owed.set:
        made += codec.set(call, name, value)
    made += [Edit(place, REDACTED) for place in owed.redact if _holds(call.body, place)]
    return tuple(made)


def _holds(body: object, place: str) -> bool:
    try:
        pointer.get(body, place)
    except LookupError:
        return False
    return True


def cannot_carry(state: State, what: str) -> Refusal:
    """A demand that has no place in this dialect: a no of the rules that demand."""
    owing = [rule for rule in state.owing if rule.obligations is not NONE]
    state.determine(*(rule.reasons["true"] for rule in owing))
    state.survivors = 0
    if not owing:
        return combine.nothing_allows(state.id)
    return combine.denied(
        state.reasons[0], state.id, told=state.snapshot.told, message=f"denied by rule `{owing[0].name}`: {what or 'this dialect cannot carry what it demands'}"
    )
