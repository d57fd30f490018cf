"""What of a case is judged, moment by moment: the request, each tool in it, each proposal, the reply; with what conditions see of it.

Each moment has the candidates and the very bindings that the ladder reads, whether or not something stricter spared it the reading. For
`coverage.py` and for telling why a case failed; decides nothing itself. Counterpart: `cases.of`, which does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.evaluate import bindings, reply, tools
from sidecar.workbench import cases, fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.call import Call, Tool
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision
    from sidecar.evaluate.bindings import View, Views
    from sidecar.workbench.cases import Ready


class Moment(NamedTuple):
    """One judgement. `phase` is request or response."""

    phase: str
    call: Call
    candidates: Candidates
    views: View | Views
    now: float

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every candidate, audited ones too."""
        live = [rule for part in self.candidates.layers for rule in (*part.denies, *part.demands, *(allow for allow, _ in part.allows))]
        return (*live, *(rule for rule, _ in self.candidates.audits))


def of(snapshot: Snapshot, case: Ready, decision: Decision) -> Iterator[Moment]:
    """The moments of a case that came out so. A reply has none where its request was refused."""
    if case.tool is not None:
        resolved = snapshot.resolve(case.call, case.codec.family) if case.call.target else case.call
        yield _tool(snapshot, resolved, case, case.tool)
        return
    asked = fixtures.decide(snapshot, case.call, case.codec, case.person, told=case.facts, now=case.now) if case.reply is not None else decision
    call = asked.call
    if call.members or call.operation == "models":
        candidates = snapshot.matched(call, case.person)
        yield Moment("request", call, candidates, bindings.views(call, case.person, candidates, now=case.now, people=snapshot.people), case.now)
    for tool in call.tools:
        yield _tool(snapshot, call, case, tool)
    if case.reply is not None and asked.refusal is None:
        yield from _reply(snapshot, call, case)


def _tool(snapshot: Snapshot, call: Call, case: Ready, tool: Tool) -> Moment:
    judged = tools.as_call(snapshot, call, tool)
    candidates = snapshot.matched(judged, case.person)
    seen = bindings.views(judged, case.person, candidates, now=case.now, people=snapshot.people)
    return Moment("request", judged, candidates, seen, case.now)


def _reply(snapshot: Snapshot, call: Call, case: Ready) -> Iterator[Moment]:
    if case.reply is None:
        return
    proposals = [fixtures.proposal(name) for name in case.reply.tool_calls]
    yield from (_tool(snapshot, call, case, tool) for tool in proposals)
    judged = [reply.judge_tool(snapshot, call, case.person, tool, now=case.now, decision_id=cases.ID) for tool in proposals]
    facts = cases.seen(case.reply, judged)
    told = {"status": facts.status, "finish": facts.finish, "tokens": facts.tokens, "tool_calls": facts.tool_calls}
    candidates = snapshot.matched(call, case.person, "response")
    seen = bindings.views(call, case.person, candidates, now=case.now, people=snapshot.people, reply=told)
    yield Moment("response", call, candidates, seen, case.now)
