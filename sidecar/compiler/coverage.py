"""What only all documents together tell: a rule that could not do what it says is found at load, not on the way of a call.

Each check takes the compiled rules and the report; the table at the end lists them. Structure within and between documents
was checked by `config/references.py`; here the conditions are known too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.compiler.rules import touches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.compiler.conditions import Report
    from sidecar.compiler.routes import Table
    from sidecar.compiler.rules import QuotaRule
    from sidecar.config.document import Document, LayerSource
    from sidecar.config.documents import Settings

PROTECTED = ("model", "stream")
"""First tokens of pointers that `redact` may not touch: they are matched."""
NO_REPLY = frozenset({"tool_call", "models"})
OUTPUT = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
"""One parameter under several names."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All of a configuration."""

    layers: tuple[LayerSource, ...]
    settings: Settings
    table: Table
    quotas: tuple[tuple[Document, QuotaRule], ...]

    def of(self, kind: str) -> Iterator[Document]:
        """All documents of a kind."""
        return (document for layer in self.layers for document in layer.documents if document.kind == kind)


def set_and_read(whole: Whole, report: Report) -> None:
    """What was judged is what is sent: a parameter that some condition reads can't be set after it was read."""
    for document in whole.of("Policy"):
        for index, rule in enumerate(document.spec.rules):
            for name in sorted(rule.then.set) if rule.then is not None else ():
                spelt = OUTPUT if name in OUTPUT else {name}
                if any(touches(frozenset(report.reads), f"call.params.{each}") for each in spelt):
                    hint = "`cap` it, or deny the calls that have another value"
                    report.say(
                        "error",
                        document,
                        "set-and-read",
                        f"`{name}` is read by a condition and can't be set after that",
                        f"/spec/rules/{index}/then/set/{name}",
                        hint=hint,
                    )


def redact_matched(whole: Whole, report: Report) -> None:
    """What rules are matched on can't be redacted."""
    for document in whole.of("Policy"):
        for index, rule in enumerate(document.spec.rules):
            for place, pointer in enumerate(rule.then.redact if rule.then is not None else ()):
                if pointer.split("/")[1:2] == [""] or pointer.split("/")[1] in PROTECTED:
                    report.say("error", document, "then", f"`{pointer}` is matched and can't be redacted", f"/spec/rules/{index}/then/redact/{place}")


def delegated(whole: Whole, report: Report) -> None:
    """A gateway that takes the whole call chooses by itself: a demand on the route can't be kept."""
    if whole.settings.core != "delegate":
        return
    for document in whole.of("Policy"):
        for index, rule in enumerate(document.spec.rules):
            if rule.then is not None and rule.then.route and document.spec.mode == "enforce":
                hint = "`core: direct`, or route in the other gateway"
                report.say("error", document, "cannot-carry", "`core: delegate` can't carry out `route`", f"/spec/rules/{index}/then/route", hint=hint)


def priced(whole: Whole, report: Report) -> None:
    """A dollar limit over a model without a price follows `onError` on every call."""
    for document, quota in whole.quotas:
        if not any(limit.metric == "cost_usd" for limit in quota.limits):
            continue
        bare = [name for name in _unpriced(whole.table) if quota.match.covers((name.casefold(), name.partition("/")[2].casefold()))]
        if bare:
            shown = ", ".join(f"`{name}`" for name in bare[:3]) + (" and others" if len(bare) > 3 else "")
            outcome = "are let through uncounted" if quota.fail_open else "are refused"
            report.say(
                "warning",
                document,
                "no-price",
                f"a dollar limit, and {shown} without a price: such calls {outcome}",
                "/spec/limits",
                hint="`price: {input: …, output: …}` on the model",
            )


def _unpriced(table: Table) -> list[str]:
    return [f"{each.name}/{model.name}" for each in table.served.values() for model in each.spec.models if model.price is None]


def same_route(whole: Whole, report: Report) -> None:
    """Two routes with the same pattern for one dialect: nobody could tell which is meant."""
    seen: dict[tuple[str, str], str] = {}
    for path in whole.table.paths:
        document = next(each for each in whole.of("Route") if each.name == path.name)
        for index, pattern in enumerate(path.patterns):
            first = seen.setdefault((path.family, pattern.text.casefold()), path.name)
            if first != path.name:
                report.say(
                    "error", document, "duplicate-route", f"`{pattern.text}` takes Route `{first}` already", f"/spec/match/target/{index}", hint="join them"
                )


def allowed_aliases(whole: Whole, report: Report) -> None:
    """An allow must cover the model that serves; one that names an alias alone covers nothing."""
    meant = {alias.casefold(): model.name for each in whole.table.served.values() for model in each.spec.models for alias in model.aliases}
    for document in whole.of("Policy"):
        if any(rule.effect == "allow" for rule in document.spec.rules):
            for index, target in enumerate(document.spec.match.target):
                _alias(report, document, target, f"/spec/match/target/{index}", meant)
    for document in whole.of("Roles"):
        for name, role in document.spec.roles.items():
            for index, grant in enumerate(role.allow):
                _alias(report, document, grant.split(":", 2)[-1], f"/spec/roles/{name}/allow/{index}", meant)


def _alias(report: Report, document: Document, target: str, pointer: str, meant: dict[str, str]) -> None:
    model = meant.get(target.casefold())
    if model is not None:
        report.say("warning", document, "alias", f"`{target}` is an alias: an allow covers models by their own name", pointer, hint=f"`{model}`")


def never_judged(whole: Whole, report: Report) -> None:
    """Replies are those of calls that went to an upstream: tool calls and the list of models have none."""
    for document in whole.of("Policy"):
        match = document.spec.match
        for index, operation in enumerate(match.operation if match.phase == "response" else ()):
            if operation in NO_REPLY:
                report.say(
                    "error", document, "coverage", f"`{operation}` has no reply that could be judged", f"/spec/match/operation/{index}", hint="`phase: request`"
                )


def never_counted(whole: Whole, report: Report) -> None:
    """Quotas count requests; the tool calls in a reply are judged and not counted."""
    for document in whole.of("Quota"):
        for index, operation in enumerate(document.spec.match.operation):
            if operation == "tool_call":
                report.say("error", document, "coverage", "`tool_call` is not counted in this release", f"/spec/match/operation/{index}", hint="count `chat`")


CHECKS: tuple[Callable[[Whole, Report], None], ...] = (
    set_and_read,
    redact_matched,
    delegated,
    priced,
    same_route,
    allowed_aliases,
    never_judged,
    never_counted,
)
"""The visible table."""
