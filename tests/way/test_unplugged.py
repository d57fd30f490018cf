"""The proof that the denial tests prove something: with a ladder that always permits, the same calls reach the upstream."""

import aiohttp
import pytest

from sidecar.evaluate import combine, ladder
from sidecar.evaluate.lattice import LIVE
from sidecar.evaluate.state import State
from sidecar.testing import principal

CASES = {
    "rbac": ("poor", {}),
    "policy": ("dev", {"temperature": 2.0}),
    "budget": ("broke", {}),
    "key": (None, {}),
}


async def ask(stage, who, extra):
    token = stage.tokens[who] if who else "sk-nobody"
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **extra}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stage.base}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {token}"}) as answer,
    ):
        return answer.status


def always(snapshot, call, presented, *, codec, now, decision_id, principal=None, reserve=True, counting=None, clock=None):
    """A ladder with every rung taken out."""
    resolved = snapshot.resolve(call, codec.family)
    state = State(snapshot, resolved, presented, codec=codec, now=now, id=decision_id, principal=NOBODY, reserving=False, counting=LIVE)
    state.candidates = snapshot.candidates(resolved, NOBODY)
    state.survivors = state.candidates.everyone
    return combine.permitted(state, resolved.members, {m.model: codec.write_call(resolved, m, ()) for m in resolved.members})
    yield


NOBODY = principal("key:nobody")


@pytest.mark.parametrize("case", CASES)
async def test_with_the_gate_in_place_the_upstream_sees_nothing(stage, case):
    status = await ask(stage, *CASES[case])
    assert status in {401, 403, 429}
    assert stage.upstream.count == 0


@pytest.mark.parametrize("case", CASES)
async def test_with_the_gate_unplugged_the_same_call_goes_through(stage, case, monkeypatch):
    monkeypatch.setattr(ladder, "decide", always)
    assert await ask(stage, *CASES[case]) == 200
    assert stage.upstream.count == 1, "so the test above fails without the gate"
