"""Runs `Test` documents over the real ladder: for `sidecar test`, and before every swap of a configuration.

A row of expectations is a matrix of principals by calls; each cell is one case. Counterpart: `fixtures.py`, which answers the needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.errors import CallError
from sidecar.evaluate import reply, why
from sidecar.workbench import fixtures

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.diagnostics import Position
    from sidecar.config.document import Document
    from sidecar.config.documents import Expectation, Test, TestCall, TestPrincipal
    from sidecar.decision import Decision

NOW = 1_767_225_600.0
"""2026-01-01T00:00:00Z, where a document names no time."""


class CaseResult(NamedTuple):
    """One cell. `detail` says what was different, with the rules that decided; empty where it passed."""

    name: str
    passed: bool
    detail: str
    position: Position


def run(snapshot: Snapshot, test: Document) -> tuple[CaseResult, ...]:
    """Every case of one Test document, in its order."""
    spec: Test = test.spec
    return tuple(result for index, row in enumerate(spec.expect) for result in _row(snapshot, test, row, index))


def _row(snapshot: Snapshot, test: Document, row: Expectation, index: int) -> Iterator[CaseResult]:
    spec: Test = test.spec
    now = NOW if spec.now is None else spec.now
    position = test.at(f"/spec/expect/{index}")
    for who in chosen(row.principal, spec.principals):
        for what in chosen(row.call, spec.calls):
            detail = _case(snapshot, spec.principals[who], spec.calls[what], row, now)
            yield CaseResult(f"{test.name}: {who} / {what}", not detail, detail, position)


def chosen(names: Sequence[str], known: Mapping[str, object]) -> Sequence[str]:
    """The names of a row; `*` is all of them."""
    return tuple(known) if "*" in names else names


def _case(snapshot: Snapshot, who: TestPrincipal, what: TestCall, row: Expectation, now: float) -> str:
    """What is wrong with this cell, or ""."""
    try:
        decision = decide(snapshot, who, without(what, row.without), row.facts.quota, now)
    except CallError as error:
        return f"the call can't be read: {error.message}"
    return "; ".join(differences(decision, row))


def decide(snapshot: Snapshot, who: TestPrincipal, what: TestCall, quota: Mapping[str, str], now: float) -> Decision:
    """The decision that stands: of the call, of the tool it proposes, or of its reply. Raises CallError."""
    person = fixtures.principal(snapshot, who)
    asked, codec = fixtures.call(snapshot, what, "test")
    if what.operation == "tool_call":
        resolved = snapshot.resolve(asked, codec.family) if asked.target else asked
        return reply.judge_tool(snapshot, resolved, person, fixtures.tool(what), now=now, decision_id="test")
    decision = fixtures.decide(snapshot, asked, codec, person, quota=quota, now=now)
    if what.reply is None or decision.refusal is not None:
        return decision
    told = what.reply
    facts = reply.ReplyFacts(told.status, told.finish, told.tokens, told.tool_calls)
    return reply.judge_reply(snapshot, decision.call, person, facts, now=now, decision_id="test", complete=True)


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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "no rule"


def _holds(owed: Any, wanted: Any) -> bool:
    """Whether what is owed includes what is wanted: entries of a mapping, items of a list (one value may stand for a list)."""
    if isinstance(wanted, Mapping):
        return isinstance(owed, Mapping) and all(name in owed and owed[name] == value for name, value in wanted.items())
    items = wanted if isinstance(wanted, list | tuple) else [wanted]
    return isinstance(owed, list) and all(item in owed for item in items)


def without(what: TestCall, paths: Sequence[str]) -> TestCall:
    """The call with fields taken out: `params.temperature`, `args.path`; in a call with a body, parameters are its fields."""
    for path in paths:
        root, *names = path.split(".")
        if root == "params" and what.body is not None:
            root = "body"
        held = getattr(what, root, None)
        if isinstance(held, Mapping) and names:
            what = replace(what, **{root: _less(held, names)})  # type: ignore[arg-type]  # the field it was read from
    return what


def _less(held: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    first, *rest = names
    kept = {name: value for name, value in held.items() if name != first or rest}
    if rest and isinstance(kept.get(first), Mapping):
        kept[first] = _less(kept[first], rest)
    return kept
