"""Lints: what loads, runs, and is hardly what its author means. For `check` and whoever reviews documents; never on the way of a reload.

Each is a warning and can be lived with; one that is wrong now and then is not here. `lint` takes a configuration that loads. A lint
is one function and one line in the table. Counterparts: `coverage`, whose findings block or are told at every load, and
`workbench/check.py`, which adds what only running tests can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.lints import costs, grants, patterns, reach, shadows, texts, truth
from sidecar.compiler.lints.subject import Lint, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.compiler.coverage.whole import Whole
    from sidecar.config.diagnostics import Diagnostic

LINTS: tuple[Lint, ...] = (
    truth.contradictions,
    truth.tautologies,
    truth.by_match,
    reach.unserved,
    reach.unknown_subjects,
    reach.part,
    grants.open_allows,
    shadows.shadowed,
    shadows.twice,
    patterns.unanchored,
    patterns.dots,
    patterns.alternations,
    texts.cases,
    texts.paths,
    texts.urls,
    texts.hosts,
    texts.alike,
    costs.costly,
    costs.endless_audits,
)
"""The visible table."""


def lint(whole: Whole, lints: Sequence[Lint] = LINTS) -> tuple[Diagnostic, ...]:
    """Everything found, in no order."""
    subject = Subject(whole)
    return tuple(item for one in lints for item in one(subject))


__all__ = ["LINTS", "lint"]
