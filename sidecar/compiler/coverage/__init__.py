"""Coverage: which rules run where, computed at load. A rule that could never do what it says is an error, one that does on a part a warning.

The way: `surface` declares what runs where; `matrix` lays every rule over it; `runs`, `demands` and `names` turn the matrix and
the conditions into findings. `ALONE` needs nothing but the rules, `TOGETHER` what all documents say: after a broken one it is
left out, so that nothing is said to be missing that is only unreadable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.coverage import demands, names, runs
from sidecar.compiler.coverage.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.compiler.conditions import Report


ALONE: tuple[Callable[[Whole, Report], None], ...] = (
    runs.never_judged,
    runs.never_counted,
    runs.never_seen,
    runs.needs_end,
    demands.of_replies,
    demands.set_and_read,
    demands.redact_matched,
    demands.delegated,
)
TOGETHER: tuple[Callable[[Whole, Report], None], ...] = (
    runs.never_granted,
    demands.carried,
    demands.routed,
    names.priced,
    names.same_route,
    names.asked_only,
)
"""The visible tables."""


def check(whole: Whole, report: Report) -> None:
    """All findings, into the report."""
    for one in ALONE if whole.lost else (*ALONE, *TOGETHER):
        one(whole, report)


__all__ = ["ALONE", "TOGETHER", "Whole", "check"]
