"""Rules about Test documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.config.checks.base import Found, at_key, escaped
from sidecar.config.scalars import subject_problem
from sidecar.config.validate import near

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        yield from _source(document, call.source, f"/spec/calls/{escaped(name)}/source")
        if bool(call.dialect) == bool(call.operation):
            yield document.complaint("error", "call", f"call `{name}` needs either `operation` or `dialect` with `body`", f"/spec/calls/{escaped(name)}")


_SOURCE: Mapping[str, type] = {"ip": str, "loopback": bool, "namespace": str, "pod": str}


def _source(document: Document, source: Mapping[str, object], pointer: str) -> Found:
    for field, value in source.items():
        if field not in _SOURCE:
            hint = near(field, _SOURCE) or "fields here: " + ", ".join(f"`{word}`" for word in _SOURCE)
            yield at_key(document, "unknown-field", f"unknown field `{field}` of `source`", f"{pointer}/{escaped(field)}", hint)
        elif not isinstance(value, _SOURCE[field]):
            what = "a bool" if _SOURCE[field] is bool else "text"
            yield document.complaint("error", "type", f"`{field}` is {what}", f"{pointer}/{escaped(field)}")
