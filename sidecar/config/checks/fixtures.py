"""Rules about Test documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.config.checks.base import Found, escaped
from sidecar.config.scalars import subject_problem
from sidecar.config.validate import near

if TYPE_CHECKING:
    from sidecar.config.document import Document


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
    for name, call in spec.calls.items():
        if bool(call.dialect) == bool(call.operation):
            yield document.complaint("error", "call", f"call `{name}` needs either `operation` or `dialect` with `body`", f"/spec/calls/{escaped(name)}")
