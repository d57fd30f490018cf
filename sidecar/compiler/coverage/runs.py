"""Rules that never run where they match, or not where their author thinks: no reply to judge, nothing to count, nothing to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.coverage import surface
from sidecar.compiler.coverage.surface import ABSENT, RESPONSE, STREAM, counted, places, replies
from sidecar.compiler.coverage.whole import touched

if TYPE_CHECKING:
    from sidecar.compiler.conditions import Report
    from sidecar.compiler.coverage.whole import Held, Whole


def never_judged(whole: Whole, report: Report) -> None:
    """Replies are those of calls that went to an upstream: tool calls and the list of models have none."""
    for document in whole.of("Policy"):
        match = document.spec.match
        for index, operation in enumerate(match.operation if match.phase == RESPONSE else ()):
            if operation != "*" and not replies(operation):
                report.say(
                    "error", document, "coverage", f"`{operation}` has no reply that could be judged", f"/spec/match/operation/{index}", hint="`phase: request`"
                )


def never_counted(whole: Whole, report: Report) -> None:
    """Quotas count requests; the tool calls in a reply are judged and not counted. One in audit does nothing at all."""
    for document in whole.of("Quota"):
        for index, operation in enumerate(document.spec.match.operation):
            if operation != "*" and not counted(operation):
                report.say(
                    "error", document, "coverage", f"`{operation}` is not counted in this release", f"/spec/match/operation/{index}", hint="count `chat`"
                )
        if document.spec.mode == "audit":
            report.say("warning", document, "coverage", "a Quota in audit counts and records nothing", "/spec/mode", hint="`mode: enforce` with a large `max`")


def never_seen(whole: Whole, report: Report) -> None:
    """A condition about a tool, where the match leaves tool calls out: what it asks for is never there."""
    for held in whole.rules:
        met = [place for place in places(held.rule.phase) if held.rule.match.admits(place.operation)]
        for path in ABSENT:
            if met and touched(held.rule.condition, path) and not any(path in place.sees for place in met):
                _unseen(held, path, report)


def _unseen(held: Held, path: str, report: Report) -> None:
    there = [place.operation for place in surface.PLACES if path in place.sees]
    only = f"is there on `{there[0]}` alone, which this match leaves out" if there else "is never there in this release"
    starred = "*" in held.rule.match.operations and there
    hint = (f"`*` never includes `{there[0]}`: name it" if starred else f"`match: {{operation: [{there[0]}]}}`") if there else ""
    if there and held.rule.phase == RESPONSE:
        hint = f"`phase: request` with `operation: [{there[0]}]` judges proposed tool calls"
    report.say("error", held.document, "coverage", f"`{path}` {only}", _reader(held), hint=hint)


def _reader(held: Held) -> str:
    """The pointer of the condition."""
    return f"{held.pointer}/when" if held.rule.kind == "Policy" and _written(held) else held.pointer


def _written(held: Held) -> bool:
    name = held.rule.name.rpartition("/")[2]
    return any(rule.name == name and rule.when != "true" for rule in held.document.spec.rules)


def needs_end(whole: Whole, report: Report) -> None:
    """A response rule that reads what only the end of a reply tells must say that streams are held to it."""
    for held in whole.rules:
        rule = held.rule
        if (
            rule.phase == RESPONSE
            and rule.late
            and not rule.buffer
            and any(_streams(place.operation) and rule.match.admits(place.operation) for place in places(RESPONSE))
        ):
            report.say(
                "error",
                held.document,
                "needs-buffer",
                "this rule reads what only the end of a reply tells, and replies may be streamed",
                f"{held.pointer}/when",
                hint="`buffer: true` holds streamed replies to their end, or match other operations",
            )


def _streams(operation: str) -> bool:
    return any(STREAM in place.shapes for place in places(RESPONSE) if place.operation == operation)


def never_granted(whole: Whole, report: Report) -> None:
    """Allows for tool calls make an allow-list only where Settings say that there is one."""
    if whole.settings.default.tool_call == "deny":
        return
    for document in whole.of("Policy"):
        match = document.spec.match
        if "tool_call" in match.operation and any(rule.effect == "allow" for rule in document.spec.rules):
            report.say(
                "warning",
                document,
                "idle-allow",
                "an allow of `tool_call` changes nothing: tool calls are released unless denied",
                f"/spec/match/operation/{match.operation.index('tool_call')}",
                hint="`default: {toolCall: deny}` in Settings makes them an allow-list",
            )
