"""Names that would not do what they look like: models without a price, two routes for one name, allows of names that are only asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.compiler.conditions import Report
    from sidecar.compiler.coverage.whole import Whole
    from sidecar.compiler.routes import Table
    from sidecar.config.document import Document


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
    documents = {document.name: document for document in whole.of("Route")}
    for path in whole.table.paths:
        for index, pattern in enumerate(path.patterns):
            first = seen.setdefault((path.family, pattern.text.casefold()), path.name)
            if first != path.name:
                report.say(
                    "error",
                    documents[path.name],
                    "duplicate-route",
                    f"`{pattern.text}` takes Route `{first}` already",
                    f"/spec/match/target/{index}",
                    hint="join them",
                )


def asked_only(whole: Whole, report: Report) -> None:
    """An allow must cover the model that serves; one that names an alias or the name of a route alone covers nothing."""
    meant = _asked(whole)
    for document in whole.of("Policy"):
        if any(rule.effect == "allow" for rule in document.spec.rules):
            for index, target in enumerate(document.spec.match.target):
                _say(report, document, target, f"/spec/match/target/{index}", meant)
    for document in whole.of("Roles"):
        for name, role in document.spec.roles.items():
            for index, grant in enumerate(role.allow):
                _say(report, document, grant.split(":", 2)[-1], f"/spec/roles/{name}/allow/{index}", meant)


def _asked(whole: Whole) -> Mapping[str, tuple[str, str]]:
    """Names that callers ask and no model is called by, with what they are and the models they mean."""
    aliases = {alias.casefold(): ("an alias", model.name) for each in whole.table.served.values() for model in each.spec.models for alias in model.aliases}
    own = {model.name.casefold() for each in whole.table.served.values() for model in each.spec.models}
    routes = {
        pattern.text.casefold(): ("the name of a route", "`, `".join(dict.fromkeys(target.model for target in path.spec.to)))
        for path in whole.table.paths
        for pattern in path.patterns
        if pattern.exact and all(target.model for target in path.spec.to)
    }
    return {name: found for name, found in (routes | aliases).items() if name not in own}


def _say(report: Report, document: Document, target: str, pointer: str, meant: Mapping[str, tuple[str, str]]) -> None:
    found = meant.get(target.casefold())
    if found is not None:
        report.say("warning", document, "alias", f"`{target}` is {found[0]}: an allow covers models by their own name", pointer, hint=f"`{found[1]}`")
