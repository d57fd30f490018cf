"""Single changes to a question that may turn a no into a yes: of what the caller sends, of when, and of who an administrator says he is.

Names come from what the snapshot matches and serves, values from what its conditions compare (`constants.py`). Nothing here decides:
`smallest.py` puts every change to the evaluator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.expr.times import text_of_timestamp
from sidecar.expr.values import SECOND, Timestamp
from sidecar.workbench import fixtures
from sidecar.workbench.explain import moments
from sidecar.workbench.explain.asked import source_of
from sidecar.workbench.explain.callers import caller, claim, group, source, subjects, team
from sidecar.workbench.explain.change import Change, called, distance, instead, renamed, same
from sidecar.workbench.explain.constants import compared
from sidecar.workbench.explain.fields import field, hinted, removed, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.explain.asked import Asked
    from sidecar.workbench.explain.constants import Found, Hint
    from sidecar.workbench.explain.relevance import Near

OPERATIONS: Final = ("chat", "embeddings", "moderation", "count_tokens")


class Sought(NamedTuple):
    """What a condition compares, with the nearness of its rule."""

    near: int
    found: Found


def changes(snapshot: Snapshot, asked: Asked, near: Near) -> list[Change]:
    """Every change that is worth a try, each once, in the order of trying."""
    sought = [Sought(weight, compared(condition)) for weight, condition in near.conditions]
    made = [
        *_hinted(snapshot, asked, sought),
        *removed(snapshot, asked),
        *_names(snapshot, asked, near),
        *subjects(asked, near),
        *_switched(asked),
        *_timed(asked, sought, near),
        *_granted(asked),
    ]
    best: dict[tuple[str, str, str], Change] = {}
    for change in sorted(made, key=lambda each: each.order):
        best.setdefault((change.kind, change.slot, change.text), change)
    return list(best.values())


def _hinted(snapshot: Snapshot, asked: Asked, sought: Iterable[Sought]) -> Iterator[Change]:
    for near, found in sought:
        for hint in found.hints:
            made = _of_hint(snapshot, asked, hint)
            if made is not None:
                yield replace(made, near=near)


def _of_hint(snapshot: Snapshot, asked: Asked, hint: Hint) -> Change | None:
    root, *rest = hint.path
    match root, rest, hint.value:
        case "call", ["params" | "args" as held, *names], _ if names:
            return field(snapshot, asked, held, names, hint)
        case "call", ["tokens"], int(to):
            return size(asked, to)
        case "call", ["model" | "requested_model"], str(to):
            return _named(asked, to, proposer=True)
        case "call", ["target"] | ["tool", "name"], str(to):
            return _named(asked, to, proposer=False)
        case "principal", ["claims", name], to:
            return claim(snapshot, asked, name, to)
        case "principal", [name], str(to):
            return _of_caller(asked, name, to, element=hint.how == "has")
        case "source", [name], _:
            return source(asked, name, hinted(hint, source_of(asked.what).get(name)))
        case "reply", [name], to if hint.how == "is":
            return _reply(asked, name, to)
    return None


def _of_caller(asked: Asked, name: str, to: str, *, element: bool) -> Change | None:
    if element:
        return group(asked, to) if name == "groups" else None
    return team(asked, to) if name == "team" else caller(asked, to) if name == "id" else None


# ---------------------------------------------------------------- names


def _named(asked: Asked, to: str, *, proposer: bool) -> Change | None:
    """Another model; of a tool call the tool, or the model that proposes it."""
    proposal = asked.what.operation == "tool_call"
    if proposal and proposer:
        was, kind, slot, words = asked.what.model, "model", "model", "proposed by model"
    else:
        body = asked.what.body or {}
        was, slot = asked.what.target or str(body.get("model", "")), "target"
        kind = words = "tool" if proposal else "model"
    return None if was == to else Change(kind, slot, was, to, renamed(words, was, to), lambda other: called(other, **{slot: to}))


def _names(snapshot: Snapshot, asked: Asked, near: Near) -> Iterator[Change]:
    """Models that are served, names that rules match, and other operations."""
    families = [fixtures.call(snapshot, asked.what, "explain")[1].family] if asked.what.dialect else fixtures.FAMILIES
    made = [(0, _named(asked, name, proposer=True)) for name in sorted({name for family in families for name in snapshot.names(family)})]
    proposal = asked.what.operation == "tool_call"
    for weight, match in near.matchers:
        exact = [pattern.prefix for pattern in match.targets if pattern.exact]
        made += [(weight, _named(asked, name, proposer=False)) for name in exact if proposal or "/" not in name]
    made += [(1, _operation(asked, name)) for name in OPERATIONS]
    yield from (replace(change, near=weight) for weight, change in made if change is not None)


def _operation(asked: Asked, to: str) -> Change | None:
    """Another operation, of a call that is told without a dialect."""
    was = asked.what.operation
    if asked.what.dialect or was in {"tool_call", "models", to} or asked.what.reply is not None:
        return None
    return Change("operation", "operation", was, to, renamed("operation", was, to), lambda other: called(other, operation=to))


# ---------------------------------------------------------------- how, when


def _switched(asked: Asked) -> Iterator[Change]:
    """As a stream, or not; from this machine, or not."""
    if asked.what.operation != "tool_call":
        now = asked.what.stream or (asked.what.body or {}).get("stream") is True
        yield Change("stream", "stream", now, not now, "not as a stream" if now else "as a stream", lambda other: _streamed(other, stream=not now), near=1)
    made = source(asked, "loopback", not source_of(asked.what).get("loopback", False))
    if made is not None:
        yield replace(made, near=2)


def _streamed(asked: Asked, *, stream: bool) -> Asked:
    body = asked.what.body
    return called(asked, stream=stream, body=body and {name: value for name, value in body.items() if name != "stream"})


def _timed(asked: Asked, sought: Sequence[Sought], near: Near) -> Iterator[Change]:
    """The next instants at which a condition may come out otherwise; past ones are told as that."""
    for index, at in enumerate(moments.instants((each.found for each in sought), near.ends, asked.now)):
        text = f"at {text_of_timestamp(Timestamp(at * SECOND))}{' (which is past)' if at < asked.now else ''}"
        yield Change("time", "now", asked.now, at, text, lambda other, at=at: replace(other, now=at), far=float(index))  # type: ignore[misc]  # mypy knows no defaults of lambdas


def _granted(asked: Asked) -> Iterator[Change]:
    """Quotas that are used up, or whose store is away, answered well."""
    told = {**dict.fromkeys(asked.what.facts.used, "used"), **asked.answers}
    for name, answer in sorted(told.items()):
        if answer != "granted":
            text = f"when the store of quota `{name}` answers" if answer == "unavailable" else f"when quota `{name}` has something left"
            yield Change("quota", f"quota.{name}", answer, "granted", text, lambda other, name=name: _answered(other, name))  # type: ignore[misc]  # as above


def _answered(asked: Asked, name: str) -> Asked:
    """With room in this quota."""
    facts = asked.what.facts
    used = {quota: amounts for quota, amounts in facts.used.items() if quota != name}
    return replace(called(asked, facts=replace(facts, used=used)), quota={**asked.quota, name: "granted"})


def _reply(asked: Asked, name: str, to: Any) -> Change | None:
    """Another reply to the same call."""
    told = asked.what.reply
    was = getattr(told, name, None)
    if told is None or type(was) is not type(to) or same(was, to):
        return None
    changed: dict[str, Any] = {name: to}
    return Change("reply", f"reply.{name}", was, to, instead(f"a reply with {name}", was, to), lambda other: called(other, reply=replace(told, **changed)), far=distance(was, to))  # fmt: skip
