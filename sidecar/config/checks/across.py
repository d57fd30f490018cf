"""Rules that need several documents. Each takes the whole `World` and yields what is wrong.

Where a document could not be read, nobody knows what it was: then nothing is said to be missing. Where it is known by name
only, it counts as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sidecar.config import documents
from sidecar.config.checks.base import at_key, escaped
from sidecar.config.checks.settings import is_loopback
from sidecar.config.diagnostics import Diagnostic
from sidecar.config.validate import near

if TYPE_CHECKING:
    from sidecar.config.document import Document

FIRST_LAYER_ONLY = ("Settings", "Identity", "Upstream", "Route")
AT_MOST_ONE = ("Settings", "Identity")


class Layer(NamedTuple):
    """What was read of a layer. `broken`: (kind, name) of documents with mistakes; `unread`: some have not even a name."""

    name: str
    documents: tuple[Document, ...]
    broken: frozenset[tuple[str, str]]
    unread: bool


@dataclass(frozen=True)
class World:
    """All layers, and the look-ups that rules share."""

    layers: tuple[Layer, ...]

    def of(self, kind: str) -> Iterator[Document]:
        """All documents of a kind."""
        return (document for layer in self.layers for document in layer.documents if document.kind == kind)

    @cached_property
    def upstreams(self) -> dict[str, Document]:
        """Upstreams by name."""
        return {document.name: document for document in self.of("Upstream")}

    def may_have(self, kind: str, name: str) -> bool:
        """Whether a document that did not load is, or may be, this one."""
        return any(layer.unread or (kind, name) in layer.broken for layer in self.layers)

    def settings(self) -> documents.Settings | None:
        """The settings in force; None where they did not load."""
        found = next(self.of("Settings"), None)
        if found is not None:
            return found.spec  # type: ignore[no-any-return]  # the spec of a Settings document
        lost = any(layer.unread or any(kind == "Settings" for kind, _ in layer.broken) for layer in self.layers)
        return None if lost else documents.Settings()


Found = Iterator[Diagnostic]
Across = Callable[[World], Iterable[Diagnostic]]


def unique_names(world: World) -> Found:
    """A kind and a name are one document in a layer."""
    for layer in world.layers:
        seen: dict[tuple[str, str], Document] = {}
        for document in layer.documents:
            first = seen.setdefault((document.kind, document.name), document)
            if first is not document:
                yield document.complaint(
                    "error",
                    "duplicate-name",
                    f"`{document.kind}` `{document.name}` is there already: {first.file}:{first.line}",
                    "/metadata/name",
                    hint="give it a name of its own",
                )


def places(world: World) -> Found:
    """What the platform says stands in the first layer, and the bootstrap stands there once."""
    for index, layer in enumerate(world.layers):
        for document in layer.documents:
            if index and document.kind in FIRST_LAYER_ONLY:
                yield document.complaint(
                    "error",
                    "layer",
                    f"`{document.kind}` belongs in the first layer, `{world.layers[0].name}`",
                    "/kind",
                    hint="a later layer can tighten, never widen",
                )
    for kind in AT_MOST_ONE:
        for document in list(world.of(kind))[1:]:
            if document.layer == world.layers[0].name:
                yield document.complaint("error", "one-only", f"there is one `{kind}` at most", "/kind", hint="join them")


def aliases(world: World) -> Found:
    """An alias means one model name, whichever upstream has it."""
    meaning: dict[str, tuple[str, Document]] = {}
    for document in world.of("Upstream"):
        for index, model in enumerate(document.spec.models):
            for place, alias in enumerate(model.aliases):
                name, first = meaning.setdefault(alias.casefold(), (model.name, document))
                if name != model.name:
                    yield document.complaint(
                        "error",
                        "duplicate-alias",
                        f"alias `{alias}` means `{name}` in Upstream `{first.name}` already",
                        f"/spec/models/{index}/aliases/{place}",
                        hint="give one of them another alias",
                    )


def destinations(world: World) -> Found:
    """A route leads to upstreams and models that exist, all of one dialect."""
    for document in world.of("Route"):
        dialects: dict[str, str] = {}
        for index, target in enumerate(document.spec.to):
            pointer = f"/spec/to/{index}"
            upstream = world.upstreams.get(target.upstream)
            if upstream is not None:
                yield from _model(document, target, upstream, pointer)
                dialects.setdefault(upstream.spec.dialect, target.upstream)
            elif not world.may_have("Upstream", target.upstream):
                yield document.complaint(
                    "error", "unknown-upstream", f"no Upstream `{target.upstream}`", f"{pointer}/upstream", hint=near(target.upstream, world.upstreams)
                )
        yield from _shape(document, dialects)


def _model(document: Document, target: documents.RouteTarget, upstream: Document, pointer: str) -> Found:
    names = [name for model in upstream.spec.models for name in (model.name, *model.aliases)]
    if target.model and not any(fnmatchcase(target.model, name) for name in names):
        yield document.complaint(
            "error", "unknown-model", f"Upstream `{upstream.name}` has no model `{target.model}`", f"{pointer}/model", hint=near(target.model, names)
        )


def _shape(document: Document, dialects: dict[str, str]) -> Found:
    to = document.spec.to
    if len(dialects) > 1:
        spelt = ", ".join(f"`{upstream}` speaks `{dialect}`" for dialect, upstream in dialects.items())
        yield document.complaint("error", "dialects", f"a route does not translate: {spelt}", "/spec/to", hint="one route per dialect")
    if not to:
        yield document.complaint("error", "destinations", "a Route that leads nowhere", "/spec/to")
    if to and document.spec.strategy == "weighted" and not any(target.weight for target in to):
        yield document.complaint("error", "destinations", "all weights are 0", "/spec/to", hint="one of them at least is more")
    seen: set[tuple[str, str]] = set()
    for index, target in enumerate(to):
        if (target.upstream, target.model) in seen:
            yield document.complaint("error", "destinations", f"`{target.upstream}` is named twice", f"/spec/to/{index}", hint="add the weights up")
        seen.add((target.upstream, target.model))


def lifted_rules(world: World) -> Found:
    """An exception lifts deny rules of its own layer."""
    for layer in world.layers:
        policies = {document.name: document for document in layer.documents if document.kind == "Policy"}
        for document in layer.documents:
            if document.kind == "Exception":
                for index, lifted in enumerate(document.spec.lifts):
                    kind, _, rest = lifted.partition("/")
                    if kind == "Policy" and rest.count("/") == 1 and "*" not in rest:
                        yield from _lifted(document, f"/spec/lifts/{index}", rest, policies, layer)


def _lifted(document: Document, pointer: str, rest: str, policies: dict[str, Document], layer: Layer) -> Found:
    name, rule_name = rest.split("/")
    policy = policies.get(name)
    if policy is None:
        if not layer.unread and ("Policy", name) not in layer.broken:
            yield document.complaint(
                "error", "lifts", f"no Policy `{name}` in this layer", pointer, hint=near(name, policies) or "an exception lifts rules of its own layer only"
            )
        return
    rule = next((rule for rule in policy.spec.rules if rule.name == rule_name), None)
    if rule is None:
        yield document.complaint(
            "error", "lifts", f"Policy `{name}` has no rule `{rule_name}`", pointer, hint=near(rule_name, [rule.name for rule in policy.spec.rules])
        )
    elif rule.effect != "deny":
        yield document.complaint("error", "lifts", f"`{rest}` is no deny but `{rule.effect}`: there is nothing to lift", pointer)


def passthrough(world: World) -> Found:
    """The caller's own login goes up from this machine alone."""
    settings = world.settings()
    for document in world.of("Upstream"):
        credential = document.spec.credential
        if credential is not None and credential.passthrough and settings is not None and not is_loopback(settings.listen.host):
            yield document.complaint(
                "error",
                "passthrough",
                f"`passthrough` is for loopback, and the data port is on `{settings.listen.host}`",
                "/spec/credential/passthrough",
                hint="`credential: {env: NAME}`",
            )


def fleets(world: World) -> Found:
    """Counters in memory are not shared."""
    settings = world.settings()
    for document in world.of("Quota"):
        if document.spec.scope == "fleet" and settings is not None and settings.store.startswith("memory:"):
            yield document.complaint(
                "warning", "scope", "`scope: fleet` on `memory://` counts in this process alone", "/spec/scope", hint="each replica has the whole limit"
            )


def tested_quotas(world: World) -> Found:
    """A test answers for quotas that exist, and fills limits that they have."""
    known = {document.name: document for document in world.of("Quota")}
    for document in world.of("Test"):
        facts = [(f"/spec/expect/{index}/facts", row.facts) for index, row in enumerate(document.spec.expect)]
        facts += [(f"/spec/calls/{escaped(name)}/facts", call.facts) for name, call in document.spec.calls.items()]
        for pointer, said in facts:
            for field, name in (*(("quota", name) for name in said.quota), *(("used", name) for name in said.used)):
                if name not in known and not world.may_have("Quota", name):
                    yield document.complaint("error", "unknown-quota", f"no Quota `{name}`", f"{pointer}/{field}/{name}", hint=near(name, known))
            for name, used in said.used.items():
                limits = _limits(known[name]) if name in known else set(used)
                for metric in sorted(used.keys() - limits):
                    hint = near(metric, limits)
                    yield at_key(document, "unknown-limit", f"Quota `{name}` has no limit `{metric}`", f"{pointer}/used/{name}/{escaped(metric)}", hint)


def _limits(quota: Document) -> set[str]:
    """The limits by the names that a test may give them: `requests`, `requests/1m`."""
    return {name for limit in quota.spec.limits for name in (limit.metric, f"{limit.metric}/{limit.per}".rstrip("/"))}


def tested_rules(world: World) -> Found:
    """A rule that a test expects to decide is there."""
    known = set(_rules(world))
    for document in world.of("Test"):
        for index, row in enumerate(document.spec.expect):
            for field in ("by", "would"):
                for place, name in enumerate(getattr(row, field)):
                    if name not in known and not any(world.may_have(kind, name.partition("/")[0]) for kind in ("Policy", "Roles", "Quota")):
                        pointer = f"/spec/expect/{index}/{field}/{place}"
                        yield document.complaint("error", "unknown-rule", f"no rule is called `{name}`", pointer, hint=_near_rule(name, known))


def _rules(world: World) -> Iterator[str]:
    yield "default"  # what stands among the would-be reasons where no rule said anything
    yield from (f"{document.name}/{rule.name}" for document in world.of("Policy") for rule in document.spec.rules)
    yield from (f"{document.name}/{role}" for document in world.of("Roles") for role in document.spec.roles)
    yield from (document.name for document in world.of("Quota"))


def _near_rule(name: str, known: set[str]) -> str:
    """The nearest name; of the same document where there is one."""
    head, slash, _ = name.partition("/")
    return near(name, [each for each in known if slash and each.startswith(f"{head}/")]) or near(name, known)


def tls_for_certificates(world: World) -> Found:
    """Callers can bring a certificate only where the data port asks for one."""
    settings = world.settings()
    for document in world.of("Identity"):
        for index, method in enumerate(document.spec.methods):
            if method.mtls is not None and settings is not None and not (settings.listen.tls and settings.listen.tls.client_ca):
                yield document.complaint(
                    "error",
                    "mtls",
                    "`mtls` needs a data port that asks for certificates",
                    f"/spec/methods/{index}/mtls",
                    hint="`listen: {tls: {cert: …, key: …, clientCa: …}}` in Settings",
                )
