"""Names that no call has, callers that cannot be, and denies that leave another way to the same model.

What is asked is resolved to a closed set before rules are matched (DOCUMENTS.md «What a call is called»), so all of it can be told
from the documents; where an upstream serves names that nobody spelt out, nothing is told of those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.patterns import compile_pattern
from sidecar.config.validate import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.compiler.coverage.whole import Held, Whole
    from sidecar.compiler.lints.subject import Subject
    from sidecar.compiler.patterns import Pattern
    from sidecar.config.diagnostics import Diagnostic
    from sidecar.config.document import Document
    from sidecar.config.documents import Identity


# ---------------------------------------------------------------- targets


def unserved(subject: Subject) -> Iterator[Diagnostic]:
    """A target that is no model, no alias and no route."""
    whole = subject.whole
    if not whole.table.served:
        return
    names = frozenset(name for found in whole.names.values() for name in found)
    for document, pointer, text in _targets(whole):
        pattern = text.casefold()
        if pattern not in names and not _reached(pattern, names, whole):
            tools = "tool_call" not in _operations(document) and not pattern.startswith(tuple(whole.table.served))
            hint = near(text, sorted(names)) or ("a tool is matched with `operation: [tool_call]`" if tools else "")
            yield document.complaint("warning", "unreachable", f"no Upstream and no Route serves `{text}`: no call can match it", pointer, hint=hint)


def _targets(whole: Whole) -> Iterator[tuple[Document, str, str]]:
    for kind in ("Policy", "Quota", "Exception"):
        for document in whole.of(kind):
            if "tool_call" not in _operations(document) and (kind != "Exception" or document.spec.match.operation):
                yield from ((document, f"/spec/match/target/{index}", text) for index, text in enumerate(document.spec.match.target))
    for document in whole.of("Roles"):
        for name, role in document.spec.roles.items():
            for index, grant in enumerate(role.allow):
                _, operation, target = grant.split(":", 2)
                if operation != "tool_call":
                    yield document, f"/spec/roles/{name}/allow/{index}", target


def _operations(document: Document) -> Sequence[str]:
    return () if document.kind == "Roles" else document.spec.match.operation


def _reached(pattern: str, names: Iterable[str], whole: Whole) -> bool:
    """Whether a call may have a name like this."""
    made = compile_pattern(pattern, fold=True)
    if any(map(made.test, names)):
        return True
    globs = [(each.name.casefold(), glob) for each in whole.table.served.values() for glob, _ in each.globs]
    return any(meet(made, glob) or meet(made, compile_pattern(f"{upstream}/{glob.text}", fold=True)) for upstream, glob in globs)


def meet(one: Pattern, other: Pattern) -> bool:
    """Whether a name may match both; True where that takes thought."""
    if one.exact or other.exact:
        exact, open_ = (one, other) if one.exact else (other, one)
        return open_.test(exact.prefix)
    heads = one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
    return heads and (one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix))


# ---------------------------------------------------------------- subjects

MINTED = ("key:local", "key:exec")
"""Keys that `run` and `exec` make for their own machine."""
FORMS = {"user": "jwt", "spiffe": "mtls", "sa": "pod", "anonymous": "anonymous"}
"""A subject's kind and the method that knows such callers."""


def unknown_subjects(subject: Subject) -> Iterator[Diagnostic]:
    """Callers that no method of the Identity can make."""
    identity = subject.whole.identity
    if identity is None:
        return
    for document, pointer, text in _subjects(subject.whole):
        why = _impossible(identity, text)
        if why:
            yield document.complaint("warning", "unknown-subject", f"nobody is `{text}`: {why}", pointer, hint=near(text, sorted(_made(identity))))


def _subjects(whole: Whole) -> Iterator[tuple[Document, str, str]]:
    for kind in ("Policy", "Quota", "Exception"):
        for document in whole.of(kind):
            yield from ((document, f"/spec/match/subjects/{index}", text) for index, text in enumerate(document.spec.match.subjects))
    for document in whole.of("Roles"):
        for place, binding in enumerate(document.spec.bindings):
            yield from ((document, f"/spec/bindings/{place}/subjects/{index}", text) for index, text in enumerate(binding.subjects))


def _impossible(identity: Identity, text: str) -> str:
    kind = text.partition(":")[0]
    methods = {name for method in identity.methods for name in ("api_key", "jwt", "mtls", "anonymous") if getattr(method, name) is not None}
    if kind in FORMS and FORMS[kind] not in methods:
        return f"no method of Identity is `{FORMS[kind]}`"
    if kind == "key" and "api_key" not in methods and text not in MINTED:
        return "no method of Identity is `apiKey`"
    if "jwt" in methods or kind not in {"key", "group", "team"}:
        return "" if kind != "key" else _no_key(identity, text)
    return _no_key(identity, text)


def _no_key(identity: Identity, text: str) -> str:
    """Keys, groups and teams are those that documents list; where they list no key, they are a pattern to be filled in."""
    if not any(method.api_key.keys for method in identity.methods if method.api_key is not None):
        return ""
    pattern = compile_pattern(text, fold=False)
    return "" if any(map(pattern.test, _made(identity))) else "no key of Identity is, or is in, it"


def _made(identity: Identity) -> set[str]:
    """The subjects that documents list."""
    found = set(MINTED)
    for method in identity.methods:
        for key in method.api_key.keys if method.api_key is not None else ():
            found |= {f"key:{key.id}", *(f"group:{group}" for group in key.groups), *([f"team:{key.team}"] if key.team else [])}
        if method.anonymous is not None:
            found |= {"anonymous", *(f"group:{group}" for group in method.anonymous.groups), f"team:{method.anonymous.team}"}
    return found


# ---------------------------------------------------------------- denies


def part(subject: Subject) -> Iterator[Diagnostic]:
    """A deny of a name on the way (an alias, a route) that leaves the model itself; of one upstream's model, and another serves it too."""
    whole = subject.whole
    models = {model.name.casefold() for each in whole.table.served.values() for model in each.spec.models}
    for held in _denies(whole):
        for index, pattern in enumerate(held.rule.match.targets):
            pointer, name = f"/spec/match/target/{index}", pattern.prefix
            if pattern.exact and name in whole.asked and name not in models and (left := _left(whole, held, {member.model for member in whole.asked[name]})):
                words = f"`{pattern.text}` is a name on the way: `{left}`, which it means, is not denied when it is asked by its own name"
                yield held.document.complaint("warning", "partial-deny", words, pointer, hint=f"deny `{left}`: that holds for every name that leads to it")
            upstream, _, model = name.partition("/")
            if pattern.exact and model in models and (way := _way(whole, held, model)):
                words = f"`{model}` stays reachable: who asks for `{way}` is served by another Upstream than `{upstream}`"
                yield held.document.complaint("note", "partial-deny", words, pointer, hint=f"`{model}` denies it wherever it is served")


def _left(whole: Whole, held: Held, models: Iterable[str]) -> str:
    """A model that is not denied under its own name."""
    names = sorted(model for model in models if model.casefold() in whole.asked)
    return next((name for name in names if not held.rule.match.covers(whole.names[name.casefold()])), "")


def _way(whole: Whole, held: Held, model: str) -> str:
    """A name that leads to this model and is not denied."""
    ways = (asked for asked, members in whole.asked.items() if any(member.model.casefold() == model for member in members))
    return next((way for way in ways if not held.rule.match.covers(whole.names[way])), "")


def _denies(whole: Whole) -> Iterator[Held]:
    """One deny of each document: they share their match."""
    seen: set[int] = set()
    for held in whole.rules:
        if held.rule.effect == "deny" and "tool_call" not in held.rule.match.operations and id(held.document) not in seen:
            seen.add(id(held.document))
            yield held
