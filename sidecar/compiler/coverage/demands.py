"""Obligations that could not be kept: what a codec has no place for, what was judged before, what a gateway decides for itself.

What can be capped and set is asked of the codecs themselves, so this page can't be wrong about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar import wire
from sidecar.call import Call
from sidecar.compiler.coverage.surface import RESPONSE, WORDS, places
from sidecar.compiler.coverage.whole import touched
from sidecar.compiler.rules import touches
from sidecar.errors import CannotCarry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.compiler.conditions import Report
    from sidecar.compiler.coverage.surface import Place
    from sidecar.compiler.coverage.whole import Held, Whole
    from sidecar.compiler.rules import Rule
    from sidecar.wire.base import Codec

PROTECTED = ("model", "stream")
"""First tokens of pointers that `redact` may not touch: they are matched."""
OUTPUT = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
"""One parameter under several names."""
KINDS = ("route", "cap", "set", "redact", "label", "warn")
CHOSEN = ("call.operation", "call.dialect", "call.model", "call.target", "call.requested_model", "call.upstreams")
"""A condition that reads one of these may itself keep to what can be carried."""


# ---------------------------------------------------------------- what can't be carried


def missing(whole: Whole, rule: Rule, place: Place) -> tuple[str, bool]:
    """In words, what this rule demands and the place can't do ("" where all of it can be done), and whether nothing at the place can."""
    wanted = [kind for kind in KINDS if getattr(rule.obligations, kind)]
    if undone := [kind for kind in wanted if kind not in place.carries]:
        return f"`{'`, `'.join(undone)}` can't be done to {_called(place)}", True
    if rule.phase == RESPONSE or place.operation == "tool_call":
        return "", False
    spoken = [dialect for dialect in sorted(whole.dialects(rule.match)) if _codecs(dialect, place)]
    lacking = [words for dialect in spoken if (words := _lacking(rule, place, dialect))]
    return "; ".join(lacking), bool(lacking) and len(lacking) == len(spoken)


def _called(place: Place) -> str:
    return "a tool call that a model proposes" if place.operation == "tool_call" else f"`{place.operation}`"


def _codecs(dialect: str, place: Place) -> list[Codec]:
    return [codec for codec in wire.CODECS.values() if codec.family == dialect and codec.operation == place.operation]


def _lacking(rule: Rule, place: Place, dialect: str) -> str:
    """What no codec of this dialect and operation has a place for."""
    asked = [("cap", name, most) for name, most in rule.obligations.cap] + [("set", name, value) for name, value in rule.obligations.set]
    bare = [name for verb, name, value in asked if not any(_carries(codec, verb, name, value) for codec in _codecs(dialect, place))]
    return f"`{'`, `'.join(bare)}` has no place in `{place.operation}` of dialect `{dialect}`" if bare else ""


def _carries(codec: Codec, verb: str, name: str, value: object) -> bool:
    call = Call(id="", protocol="llm", operation=codec.operation, dialect=codec.name, target="", body={})
    try:
        codec.cap(call, name, value) if verb == "cap" else codec.set(call, name, value)  # type: ignore[arg-type]  # a cap's value is a number
    except CannotCarry:
        return False
    return True


def carried(whole: Whole, report: Report) -> None:
    """What can't be carried out is refused: all that the rule matches, or a part of it. A warning, because refusing is what such a rule does."""
    for held in whole.rules:
        rule = held.rule
        if rule.phase == RESPONSE or not rule.demands or any(touched(rule.condition, path) for path in CHOSEN):
            continue
        found = [missing(whole, rule, place) for place in places(rule.phase) if place.owed and rule.match.admits(place.operation)]
        undone = list(dict.fromkeys(words for words, _ in found if words))
        if undone:
            every = all(nothing for _, nothing in found)
            words = "always refused" if every else "refused in part"
            hint = "match other operations, or other models" if every else "a rule of its own for each part, or leave the part out of the match"
            once = ", once this is enforced" if rule.audit else ""
            report.say("warning", held.document, "cannot-carry", f"such calls are {words}{once}: " + "; ".join(undone), f"{held.pointer}/then", hint=hint)


def of_replies(whole: Whole, report: Report) -> None:
    """A rule about replies demands what can be done beside them."""
    for held in whole.rules:
        if held.rule.phase == RESPONSE and held.rule.demands:
            words = "` and `".join(sorted(WORDS))
            report.say("error", held.document, "cannot-carry", f"only `{words}` can be done to a reply", f"{held.pointer}/then")


def routed(whole: Whole, report: Report) -> None:
    """Labels that no upstream has: every call that the rule matches would be refused."""
    labels = [each.labels for each in whole.table.served.values()]
    for held in whole.rules:
        wanted = dict(held.rule.obligations.route)
        if wanted and labels and not any(wanted.items() <= have.items() for have in map(dict, labels)):
            spelt = ", ".join(f"{name}: {value}" for name, value in wanted.items())
            report.say(
                "warning", held.document, "no-route", f"no Upstream has the labels `{spelt}`: such calls are always refused", f"{held.pointer}/then/route"
            )


# ---------------------------------------------------------------- what was judged before


def set_and_read(whole: Whole, report: Report) -> None:
    """What was judged is what is sent: a parameter that some condition reads can't be set after it was read."""
    reads = frozenset(report.reads)
    for held, name in _named(whole, "set"):
        spelt = OUTPUT if name in OUTPUT else {name}
        if any(touches(reads, f"call.params.{each}") for each in spelt):
            report.say(
                "error",
                held.document,
                "set-and-read",
                f"`{name}` is read by a condition and can't be set after that",
                f"{held.pointer}/then/set/{name}",
                hint="`cap` it, or deny the calls that have another value",
            )


def _named(whole: Whole, verb: str) -> Iterator[tuple[Held, str]]:
    return ((held, name) for held in whole.rules for name, _ in getattr(held.rule.obligations, verb))


def redact_matched(whole: Whole, report: Report) -> None:
    """What rules are matched on can't be redacted."""
    for document in whole.of("Policy"):
        for index, rule in enumerate(document.spec.rules):
            for place, pointer in enumerate(rule.then.redact if rule.then is not None else ()):
                if pointer.startswith("/") and pointer.split("/")[1] in ("", *PROTECTED):
                    report.say("error", document, "then", f"`{pointer}` is matched and can't be redacted", f"/spec/rules/{index}/then/redact/{place}")


def delegated(whole: Whole, report: Report) -> None:
    """A gateway that takes the whole call chooses by itself: a demand on the route can't be kept."""
    if whole.settings.core != "delegate":
        return
    for held in whole.rules:
        if held.rule.obligations.route and not held.rule.audit:
            hint = "`core: direct`, or route in the other gateway"
            report.say("error", held.document, "cannot-carry", "`core: delegate` can't carry out `route`", f"{held.pointer}/then/route", hint=hint)
