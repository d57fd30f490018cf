"""Rules about Test documents: what a row names is there, and what a call says is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.config.checks.base import Found, at_key, escaped
from sidecar.config.scalars import subject_problem
from sidecar.config.validate import near

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.config.document import Document
    from sidecar.config.documents import TestCall

ROOTS = ("principal", "params", "args", "body", "tool", "source", "reply")
"""What `without` may begin with."""


def fixtures(document: Document) -> Found:
    """Expectations name principals and calls of the document; principals are single subjects."""
    spec = document.spec
    for name, principal in spec.principals.items():
        pointer = f"/spec/principals/{escaped(name)}"
        problem = ("a principal is one, without `*`", "") if "*" in principal.id else subject_problem(principal.id)
        if problem:
            yield document.complaint("error", "subject", f"`{principal.id}`: {problem[0]}", f"{pointer}/id", hint=problem[1])
    for index, row in enumerate(spec.expect):
        for field, known in (("principal", spec.principals), ("call", spec.calls)):
            for place, name in enumerate(getattr(row, field)):
                if name != "*" and name not in known:
                    yield document.complaint(
                        "error", f"unknown-{field}", f"no {field} `{name}` in this document", f"/spec/expect/{index}/{field}/{place}", hint=near(name, known)
                    )


def tested_calls(document: Document) -> Found:
    """A call is told, or has a dialect and its body; nothing is said of it that nobody reads."""
    for name, call in document.spec.calls.items():
        pointer = f"/spec/calls/{escaped(name)}"
        bodied = call.body is not None or call.dialect == "openai_models"
        if bool(call.dialect) == bool(call.operation) or bool(call.dialect) != bodied:
            yield document.complaint("error", "call", f"call `{name}` needs either `operation` or `dialect` with `body`", pointer)
        for field, why in _unread(call):
            yield at_key(document, "call", f"`{field}` is not read here: {why}", f"{pointer}/{field}", "take it out")


def _unread(call: TestCall) -> Iterator[tuple[str, str]]:
    proposed = call.operation == "tool_call"
    said = {"params": bool(call.params), "tokens": bool(call.tokens)} if call.dialect else {}
    yield from ((name, "the body says it") for name, there in said.items() if there)
    said = {"model": bool(call.model), "args": call.args is not None, "tool": call.tool is not None}
    yield from ((name, "only a `tool_call` has it") for name, there in said.items() if there and not proposed)
    if call.reply is not None and (proposed or "models" in (call.operation, call.dialect.removeprefix("openai_"))):
        yield "reply", "such a call has none"


def rows(document: Document) -> Found:
    """What a row takes out has a name that is known, and a refusal is expected of a no alone."""
    for index, row in enumerate(document.spec.expect):
        for place, path in enumerate(row.without):
            root, _, rest = path.partition(".")
            if root not in ROOTS or not (rest or root in {"args", "source", "tool"}):
                hint = (root not in ROOTS and near(root, ROOTS)) or "as in `params.temperature`, `args.path`, `principal.team`"
                yield document.complaint("error", "without", f"`{path}` is nothing that can be taken out", f"/spec/expect/{index}/without/{place}", hint=hint)
        if row.refusal is not None and row.effect != "deny":
            yield at_key(document, "refusal", "what is allowed has no refusal", f"/spec/expect/{index}/refusal", "`effect: deny`, or take it out")
