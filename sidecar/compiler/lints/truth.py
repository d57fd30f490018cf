"""Conditions that are always true or never: by themselves, with the `when` of their document, or for what the match lets through.

Three ways, all sound: what conjunctions say of one value (`facts`), and the evaluator itself under a third value, over every
call that can be meant. What neither can tell is not told.
"""

from __future__ import annotations

from itertools import islice, product
from typing import TYPE_CHECKING, Any

from sidecar.compiler.coverage import partial
from sidecar.compiler.coverage.surface import places
from sidecar.compiler.coverage.whole import touched
from sidecar.compiler.lints import facts, texts
from sidecar.expr import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.compiler.coverage.surface import Place
    from sidecar.compiler.coverage.whole import Held, Whole
    from sidecar.compiler.index import Matcher
    from sidecar.compiler.lints.subject import Expression, Subject
    from sidecar.compiler.rules import Condition
    from sidecar.config.diagnostics import Diagnostic

MOST = 512
"""Calls that one condition is tried on."""
NAMES = ("call.model", "call.target", "call.requested_model")


def contradictions(subject: Subject) -> Iterator[Diagnostic]:
    """`x == "a" && x == "b"`; `x > 5 && x < 3`; the same over the `when` of the document and of a rule."""
    told: set[int] = set()
    for one in subject.expressions:
        if facts.narrowed(one.root, True, {}) is None and not _constant(one):
            told.add(id(one))
            yield one.warning(
                "always-false", "this condition is never true: it contradicts itself", hint="take the rule out, or write `||` where that is meant"
            )
    for one in subject.expressions:
        shared = subject.by_place.get((id(one.document), "/spec/when"))
        if shared is None or shared is one or not one.pointer.endswith("/when") or {id(one), id(shared)} & told:
            continue
        known = facts.narrowed(shared.root, True, {})
        if known is not None and facts.narrowed(one.root, True, known) is None:
            yield one.warning("always-false", "this condition is never true: it contradicts the `when` of its document", hint="the two are joined by `&&`")


def tautologies(subject: Subject) -> Iterator[Diagnostic]:
    """`x != "a" || x != "b"`."""
    for one in subject.expressions:
        if one.pointer.endswith("/when") and facts.narrowed(one.root, False, {}) is None and not _constant(one):
            yield one.warning("always-true", "this condition is never false", hint="take it out, or write `&&` where that is meant")


def _constant(one: Expression) -> bool:
    return one.source.strip() in {"true", "false"}


# ---------------------------------------------------------------- what the match lets through


def by_match(subject: Subject) -> Iterator[Diagnostic]:
    """`call.operation == "embeddings"` where the match says `chat`. What is served today makes a condition never true, and never superfluous."""
    for held in subject.whole.rules:
        condition = held.rule.condition
        joined = subject.conditions(held.document, held.pointer)
        if condition is None or not joined or _told_already(joined):
            continue
        results = {partial.result(condition, bindings) for bindings in islice(_calls(subject.whole, held), MOST)}
        if results == {False}:
            yield joined[-1].warning(
                "always-false", "this condition is never true for what the match lets through", hint="match what it asks for, or take the rule out"
            )
        elif results == {True} and (_spelt(held.rule.match) or not _named(condition)):
            yield joined[-1].warning("always-true", "this condition is always true for what the match lets through", hint="take it out")


def _told_already(joined: tuple[Expression, ...]) -> bool:
    known: Mapping[facts.Key, facts.Fact] | None = {}
    for one in joined:
        known = facts.narrowed(one.root, True, known) if known is not None else None
    return known is None or any(True for one in joined for _ in texts.capitals(one))


def _spelt(match: Matcher) -> bool:
    """Whether the match names each target."""
    return bool(match.targets) and all(pattern.exact for pattern in match.targets)


def _named(condition: Condition) -> bool:
    return any(touched(condition, path) for path in NAMES)


def _calls(whole: Whole, held: Held) -> Iterator[Mapping[str, Any]]:
    """Bindings for every call that the rule may meet, as far as they differ in what it reads."""
    rule = held.rule
    for place in places(rule.phase):
        if rule.match.admits(place.operation):
            for names, who in product(_names(whole, held, place), _people(rule.match)):
                yield {**partial.bind(place, **names), "principal": who}


def _names(whole: Whole, held: Held, place: Place) -> list[dict[str, Any]]:
    """The names of models, where documents spell all of them out."""
    rule = held.rule
    if place.operation in {"tool_call", "models"} or whole.open or rule.condition is None or not _named(rule.condition):
        return [{}]
    found = [
        {"target": asked, "requested_model": asked, "model": member.model}
        for asked, members in whole.asked.items()
        if rule.match.covers(whole.names[asked])
        for member in members
    ]
    return found if 0 < len(found) <= MOST else [{}]


_PERSON = ("id", "kind", "team", "groups", "roles", "claims", "actors")


def _people(match: Matcher) -> list[Any]:
    """The callers, where the match names each of them, or their one team."""
    texts = [pattern.text for pattern in match.subjects if pattern.exact]
    kinds = {text.partition(":")[0] for text in texts}
    if not texts or len(texts) < len(match.subjects) or len(texts) > 16:
        return [UNKNOWN]
    if kinds == {"team"}:
        return [{**dict.fromkeys(_PERSON, UNKNOWN), "team": text.partition(":")[2]} for text in texts]
    if kinds <= {"user", "key", "spiffe", "sa", "anonymous"}:
        return [{**dict.fromkeys(_PERSON, UNKNOWN), "id": text} for text in texts]
    return [UNKNOWN]
