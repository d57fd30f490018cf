"""Runs `Test` documents over the real ladder: for `sidecar test`, and before every swap of a configuration.

A row of expectations is a matrix of principals by calls; each cell is one case. Counterparts: `fixtures.py`, which answers the needs;
`failing.py`, which tells people why a case failed; `coverage.py` and `mutants.py`, which tell what the cases leave open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.config.documents import TestFacts
from sidecar.errors import CallError
from sidecar.evaluate import reply, why
from sidecar.workbench import fixtures
from sidecar.workbench.absent import NothingThere, without

if TYPE_CHECKING:
    from sidecar.call import Call, Tool
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.diagnostics import Position
    from sidecar.config.document import Document
    from sidecar.config.documents import Expectation, Test, TestCall, TestPrincipal, TestReply
    from sidecar.decision import Decision
    from sidecar.principal import Principal
    from sidecar.wire.base import Codec

NOW = 1_767_225_600.0
"""2026-01-01T00:00:00Z, where a document names no time."""
ID = "test"


class Case(NamedTuple):
    """One cell: a principal and a call of one row."""

    test: Document
    place: int
    who: str
    what: str

    @property
    def row(self) -> Expectation:
        """What is expected."""
        spec: Test = self.test.spec
        return spec.expect[self.place]

    @property
    def position(self) -> Position:
        """Where the row stands."""
        return self.test.at(f"/spec/expect/{self.place}")

    @property
    def name(self) -> str:
        """`document: principal / call`, and what the row changes of them."""
        row = self.row
        facts = [f"{name} {told}" for name, told in (*row.facts.quota.items(), *row.facts.owners.items())]
        facts += [f"{name} used {', '.join(f'{metric} {amount:g}' for metric, amount in used.items())}" for name, used in row.facts.used.items()]
        less = f" without {', '.join(row.without)}" if row.without else ""
        return f"{self.test.name}: {self.who} / {self.what}{less}{' with ' if facts else ''}{', '.join(facts)}"


class CaseResult(NamedTuple):
    """One cell. `detail` says what was different, with the rules that decided; empty where it passed."""

    name: str
    passed: bool
    detail: str
    position: Position
    case: Case | None = None
    decision: Decision | None = None


class Ready(NamedTuple):
    """A case's fixtures, made: they depend on the documents of the platform alone, so that one is decided under many policies."""

    person: Principal
    call: Call
    codec: Codec
    facts: TestFacts
    now: float
    tool: Tool | None = None
    reply: TestReply | None = None


# ---------------------------------------------------------------- running


def run(snapshot: Snapshot, test: Document) -> tuple[CaseResult, ...]:
    """Every case of one Test document, in its order."""
    return tuple(result(snapshot, case) for case in cases_of(test))


def cases_of(test: Document) -> Iterator[Case]:
    """The cells of all rows."""
    spec: Test = test.spec
    for index, row in enumerate(spec.expect):
        for who in chosen(row.principal, spec.principals):
            for what in chosen(row.call, spec.calls):
                yield Case(test, index, who, what)


def chosen(names: Sequence[str], known: Mapping[str, object]) -> Sequence[str]:
    """The names of a row; `*` is all of them."""
    return tuple(known) if "*" in names else names


def result(snapshot: Snapshot, case: Case) -> CaseResult:
    """Decide one case and compare."""
    try:
        decision = of(snapshot, ready(snapshot, case))
    except (CallError, NothingThere) as error:
        return CaseResult(case.name, False, unreadable(error), case.position, case)
    detail = "; ".join(differences(decision, case.row))
    return CaseResult(case.name, not detail, detail, case.position, case, decision)


def unreadable(error: CallError | NothingThere) -> str:
    """Why there was nothing to decide."""
    return f"the call can't be read: {error.message}" if isinstance(error, CallError) else str(error)


def ready(snapshot: Snapshot, case: Case) -> Ready:
    """The fixtures of a case. Raises CallError, NothingThere."""
    spec: Test = case.test.spec
    row = case.row
    who, what = without(spec.principals[case.who], spec.calls[case.what], row.without)
    return made(snapshot, who, what, over(what.facts, row.facts), NOW if spec.now is None else spec.now)


def over(facts: TestFacts, more: TestFacts) -> TestFacts:
    """A call's facts with those of a row over them."""
    return TestFacts(quota={**facts.quota, **more.quota}, used={**facts.used, **more.used}, owners={**facts.owners, **more.owners})


def made(snapshot: Snapshot, who: TestPrincipal, what: TestCall, facts: TestFacts, now: float) -> Ready:
    """Fixtures from what a document says. Raises CallError."""
    asked, codec = fixtures.call(snapshot, what, ID)
    tool = fixtures.tool(what) if what.operation == "tool_call" else None
    return Ready(fixtures.principal(snapshot, who), asked, codec, facts, now, tool, what.reply)


def decide(snapshot: Snapshot, who: TestPrincipal, what: TestCall, quota: Mapping[str, Any], now: float) -> Decision:
    """The decision on a call that was told as in a Test document. Raises CallError."""
    facts = over(what.facts, TestFacts(quota=quota))
    return of(snapshot, made(snapshot, who, what, facts, now))


def of(snapshot: Snapshot, case: Ready) -> Decision:
    """The decision that stands: of the call, of the tool it proposes, or of its reply."""
    if case.tool is not None:
        resolved = snapshot.resolve(case.call, case.codec.family) if case.call.target else case.call
        return reply.judge_tool(snapshot, resolved, case.person, case.tool, now=case.now, decision_id=ID)
    decision = fixtures.decide(snapshot, case.call, case.codec, case.person, told=case.facts, now=case.now)
    return decision if case.reply is None or decision.refusal is not None else _replied(snapshot, decision.call, case, case.reply)


def _replied(snapshot: Snapshot, call: Call, case: Ready, told: TestReply) -> Decision:
    """The no of the reply, or else of the first proposal that is taken out of it; as `server/relay.py` does it."""
    proposed = [reply.judge_tool(snapshot, call, case.person, fixtures.proposal(name), now=case.now, decision_id=ID) for name in told.tool_calls]
    whole = reply.judge_reply(snapshot, call, case.person, seen(told, proposed), now=case.now, decision_id=ID, complete=True)
    denied = [decision for decision in proposed if decision.refusal is not None]
    return denied[0] if denied and whole.refusal is None else whole


def seen(told: TestReply, proposed: Sequence[Decision]) -> reply.ReplyFacts:
    """What response rules see: of the proposals those that are shown."""
    kept = tuple(name for name, decision in zip(told.tool_calls, proposed, strict=True) if decision.refusal is None)
    return reply.ReplyFacts(told.status, told.finish, told.tokens, kept)


# ---------------------------------------------------------------- comparing


def differences(decision: Decision, row: Expectation) -> Iterator[str]:
    """In words, what came out otherwise than expected. A decision that Settings `mode: audit` forwards counts as the no it would be."""
    effect = "deny" if decision.audited else decision.effect
    by = decision.by if not decision.audited else tuple(reason.rule for reason in decision.would)
    if effect != row.effect:
        message = f": {decision.refusal.message}" if decision.refusal is not None else ""
        yield f"expected {row.effect}, got {effect} by {_listed(by)}{message}"
    if missing := [rule for rule in row.by if rule not in by]:
        yield f"expected {_listed(missing)} among the determining rules, got {_listed(by)}"
    would = [reason.rule for reason in decision.would if not reason.lifted]
    if missing := [rule for rule in row.would if rule not in would]:
        yield f"expected {_listed(missing)} among the would-be rules, got {_listed(would)}"
    owed = why.obligations_of(decision.obligations)
    for name, wanted in row.obligations.items():
        if not _holds(owed.get(name), wanted):
            yield f"expected the obligation `{name}` to hold {wanted!r}, got {owed.get(name)!r}"
    yield from _shape(decision, row)


def _shape(decision: Decision, row: Expectation) -> Iterator[str]:
    """How a refusal looks otherwise than expected."""
    if row.refusal is None or decision.refusal is None:
        return
    for name in ("status", "code", "message", "help"):
        wanted, got = getattr(row.refusal, name), getattr(decision.refusal, name)
        if wanted and wanted != got:
            yield f"expected the refusal's {name} {wanted!r}, got {got!r}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "no rule"


def _holds(owed: Any, wanted: Any) -> bool:
    """Whether what is owed includes what is wanted: entries of a mapping, items of a list (one value may stand for a list). An empty one wants none."""
    if wanted in ({}, [], ()):
        return not owed
    if isinstance(wanted, Mapping):
        return isinstance(owed, Mapping) and all(name in owed and owed[name] == value for name, value in wanted.items())
    items = wanted if isinstance(wanted, list | tuple) else [wanted]
    return isinstance(owed, list) and all(item in owed for item in items)
