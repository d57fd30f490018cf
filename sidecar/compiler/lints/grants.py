"""Allows that are wider than anyone would say aloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.compiler.coverage.whole import Held
    from sidecar.compiler.lints.subject import Subject
    from sidecar.config.diagnostics import Diagnostic


def open_allows(subject: Subject) -> Iterator[Diagnostic]:
    """Anyone, anything, always."""
    for held in subject.whole.rules:
        rule = held.rule
        if rule.effect == "allow" and not rule.audit and rule.condition is None and not rule.match.subjects and _everything(held):
            words = "this allows everything to everyone whom Identity knows"
            yield held.document.complaint("warning", "open-allow", words, held.pointer, hint="name `subjects`, a `target`, or a condition")


def _everything(held: Held) -> bool:
    targets = held.rule.match.targets
    return not targets or any(pattern.text == "**" for pattern in targets)
