"""Rules about Policy documents: what goes together in a rule, and what obligations can ask."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sidecar.config import documents
from sidecar.config.checks.base import Found, at_key, escaped, name_problem

if TYPE_CHECKING:
    from sidecar.config.document import Document

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*\Z")
_PARAMETERS_OF_THE_CALL = frozenset({"model", "messages", "input", "prompt", "tools", "contents", "system", "instructions", "stream"})


def rule_names(document: Document) -> Found:
    """Rules have plain names of their own."""
    seen: dict[str, int] = {}
    for index, rule in enumerate(document.spec.rules):
        pointer = f"/spec/rules/{index}/name"
        if problem := name_problem(rule.name):
            yield document.complaint("error", "name", problem[0], pointer, hint=problem[1])
        if rule.name in seen:
            first = document.at(f"/spec/rules/{seen[rule.name]}/name")
            yield document.complaint("error", "duplicate-name", f"two rules are called `{rule.name}`; the first is on line {first.line}", pointer)
        seen.setdefault(rule.name, index)
    if not document.spec.rules:
        yield document.complaint("error", "no-rules", "a Policy without rules decides nothing", "/spec/rules")


def variable_names(document: Document) -> Found:
    """Variables are identifiers of the condition language."""
    for name in document.spec.variables:
        if not _IDENTIFIER.match(name):
            yield at_key(document, "name", f"`{name}` is no variable name", f"/spec/variables/{escaped(name)}", "a to z, 0 to 9 and `_`, not a digit first")


def rule_effects(document: Document) -> Found:
    """What goes together in a rule: `then` with require and allow, `buffer` with the phase response, which never allows."""
    response = document.spec.match.phase == "response"
    for index, rule in enumerate(document.spec.rules):
        pointer = f"/spec/rules/{index}"
        if rule.then is not None and rule.effect not in ("require", "allow"):
            yield at_key(
                document,
                "then",
                f"`then` has no meaning with `effect: {rule.effect}`",
                f"{pointer}/then",
                "obligations come with `require` and `allow`",
            )
        if rule.effect == "require" and (rule.then is None or rule.then == documents.Then()):
            yield document.complaint("error", "then", "a `require` that demands nothing", f"{pointer}/effect", hint="say what in `then`")
        if rule.buffer and not response:
            yield document.complaint(
                "error",
                "phase",
                "`buffer` holds back a reply, and this document is about requests",
                f"{pointer}/buffer",
                hint="`match: {phase: response}`, or take it out",
            )
        if response and rule.effect == "allow":
            yield document.complaint(
                "error",
                "phase",
                "a reply is released unless it is denied; `allow` has no meaning here",
                f"{pointer}/effect",
                hint="turn the condition round and `deny`",
            )
        if rule.help and not rule.help.startswith(("https://", "http://", "mailto:")):
            yield document.complaint("error", "url", f"`{rule.help}` is no link", f"{pointer}/help", hint="a link begins with `https://`")


def obligations(document: Document) -> Found:
    """What `then` asks must be possible: no field both capped and set, and none that is matched, screened or sent as it is."""
    for index, rule in enumerate(document.spec.rules):
        then, pointer = rule.then or documents.Then(), f"/spec/rules/{index}/then"
        for name in sorted(then.cap.keys() & then.set.keys()):
            yield at_key(document, "then", f"`{name}` is both capped and set", f"{pointer}/set/{escaped(name)}", "keep one of them")
        for name in sorted(_PARAMETERS_OF_THE_CALL & then.set.keys()):
            yield at_key(
                document,
                "then",
                f"`{name}` cannot be set: it is matched or screened",
                f"{pointer}/set/{name}",
                "deny the calls that have another value",
            )
        for place, text in enumerate(then.redact):
            if not text.startswith("/"):
                yield document.complaint("error", "then", f"`{text}` is no JSON pointer", f"{pointer}/redact/{place}", hint=f"`/{text.replace('.', '/')}`")
        for place, text in enumerate(then.warn):
            if not text.isprintable():
                yield document.complaint("error", "then", "a warning is one printable line", f"{pointer}/warn/{place}")


def audits(document: Document, now: float) -> Found:
    """A forgotten audit is a policy that never bites."""
    until = document.spec.audit_until
    if until is not None and document.spec.mode != "audit":
        yield at_key(document, "audit", "`auditUntil` has no meaning with `mode: enforce`", "/spec/auditUntil")
    elif until is not None and until < now:
        yield document.complaint("warning", "audit", "this audit is over and still does not bite", "/spec/auditUntil", hint="`mode: enforce`, or a later day")
