"""`sidecar suggest`: recorded traffic to the least roles that would have allowed it, with tests. Lines in, documents out.

The way in for a team that starts with «block nothing for four weeks» (Settings `mode: audit`). `seen` reads what was done,
`cover` finds the fewest roles that hold it and nothing else, `names` spells them, `write` makes documents. Nothing is ever
wider than what was seen: a team or a group is named only where all of its callers that were seen did the same, a pattern only
where it holds nothing else that is known. What a rule refused is not suggested. The same traffic gives the same documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.workbench.suggest import cover, write
from sidecar.workbench.suggest.known import Known
from sidecar.workbench.suggest.seen import Seen
from sidecar.workbench.suggest.write import many

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.workbench.suggest.seen import Use

__all__ = ["Suggested", "many", "suggest"]


class Suggested(NamedTuple):
    """The two documents as text, "" where there is nothing to suggest, and what was counted."""

    policy: str
    tests: str
    roles: int
    left_out: int
    calls: int
    """Those that the roles cover."""
    seen: Seen


def suggest(lines: Iterable[bytes], *, known: Known | None = None, min_count: int = 1, tools: bool = False) -> Suggested:
    """Read all lines and suggest. A role of fewer than `min_count` calls is left out, and told in a comment."""
    seen, known = Seen(tools), known or Known()
    for line in lines:
        seen.add(line)
    found = write.named(cover.roles(seen), seen, known)
    kept = [each for each in found if each.tally.calls >= min_count]
    left_out = [each for each in found if each.tally.calls < min_count]
    if not kept:
        return Suggested("", "", 0, len(left_out), 0, seen)
    return Suggested(write.policy(kept, left_out, seen), write.tests(kept, seen, known), len(kept), len(left_out), _covered(kept, seen), seen)


def _covered(kept: Sequence[write.Named], seen: Seen) -> int:
    granted: dict[str, set[cover.Cell]] = {}
    for each in kept:
        for caller in each.role.callers:
            granted.setdefault(caller, set()).update(each.role.cells)
    return sum(tally.calls for use, tally in seen.uses.items() if _granted(use, granted.get(use.caller, set())))


def _granted(use: Use, cells: set[cover.Cell]) -> bool:
    return bool(cells) and (use.operation in cover.KEEPING or all((use.operation, name) in cells for name in use.names))
