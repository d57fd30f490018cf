"""The fewest roles that cover what was seen, and nothing that was not. Counterpart: `write`, which makes documents of them.

What was seen is a table: callers down, (operation, name) across. A role is a rectangle of it that is full, so that no caller
gets what that caller did not use. The rectangles tried are those that some caller's row or some name's column spans; of
them the one that covers most is taken, until all is covered (greedy set cover), and what others make needless goes. Never
more roles than there are callers that differ.
Sets are bits of integers; ties go by names, so that the same traffic gives the same roles.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.workbench.suggest.seen import Seen

TRIED = 1_000
"""Different rows, and different columns, for which rectangles beyond their own are looked for: the work grows with the square."""
KEEPING = frozenset({"models", "count_tokens"})
"""Allowed to whoever may use anything: named only for callers that did nothing else."""

Cell = tuple[str, str]
"""(operation, name)."""


class Role(NamedTuple):
    """Callers that did the same, and what. `subjects` are what rules call them by."""

    callers: tuple[str, ...]
    subjects: tuple[str, ...]
    cells: frozenset[Cell]


def roles(seen: Seen) -> tuple[Role, ...]:
    """The roles, those of most callers first."""
    table = _table(seen)
    callers = sorted(table)
    columns = sorted({cell for cells in table.values() for cell in cells})
    rows = [sum(1 << index for index, cell in enumerate(columns) if cell in table[caller]) for caller in callers]
    standing = _Standing(seen, callers)
    made = []
    for rectangle in _cover(rows, len(columns)):
        names = tuple(callers[index] for index in _bits(rectangle.rows))
        made.append(Role(names, standing.subjects(rectangle.rows), frozenset(columns[index] for index in _bits(rectangle.columns))))
    return tuple(sorted(made, key=lambda role: (-len(role.callers), role.subjects, sorted(role.cells))))


def _table(seen: Seen) -> dict[str, set[Cell]]:
    """By caller, what it used; housekeeping only where there is nothing else."""
    table: dict[str, set[Cell]] = {}
    for use in seen.uses:
        table.setdefault(use.caller, set()).update((use.operation, name) for name in use.names)
    for caller, cells in table.items():
        table[caller] = {cell for cell in cells if cell[0] not in KEEPING} or cells
    return table


# ---------------------------------------------------------------- rectangles


class Rectangle(NamedTuple):
    """Rows and columns, as bits."""

    rows: int
    columns: int


def _cover(rows: Sequence[int], width: int) -> list[Rectangle]:
    """The fewest of three covers: greedy, a rectangle per different row, a rectangle per different column."""
    by_row = _by_row(rows)
    by_column = _by_column(by_row, width)
    candidates = {*by_row, *by_column, *(_widened(by_row, by_column) if max(len(by_row), len(by_column)) <= TRIED else ())}
    return min((_trimmed(cover) for cover in (_greedy(candidates, rows), by_row, by_column)), key=len)


def _greedy(candidates: Iterable[Rectangle], rows: Sequence[int]) -> list[Rectangle]:
    """What covers most new cells next, until all is covered."""
    left = list(rows)
    queue = [(-_gain(each, left), -each.rows.bit_count(), each) for each in candidates]
    heapq.heapify(queue)
    taken: list[Rectangle] = []
    while queue:
        promised, size, each = heapq.heappop(queue)
        gain = _gain(each, left)
        if gain != -promised:  # it has lost since it was weighed; gains only fall
            heapq.heappush(queue, (-gain, size, each))
        elif gain:
            taken.append(each)
            for row in _bits(each.rows):
                left[row] &= ~each.columns
    return taken


def _gain(rectangle: Rectangle, left: Sequence[int]) -> int:
    return sum((left[row] & rectangle.columns).bit_count() for row in _bits(rectangle.rows))


def _trimmed(taken: Sequence[Rectangle]) -> list[Rectangle]:
    """Without the columns that others give all the same callers, and without what is empty then; the last one taken goes first."""
    kept = list(taken)
    for place in reversed(range(len(kept))):
        each = kept[place]
        others = [other for index, other in enumerate(kept) if index != place]
        needed = 0
        for row in _bits(each.rows):
            needed |= each.columns & ~_covered(others, row)
        kept[place] = Rectangle(each.rows, needed)
    return [each for each in kept if each.columns]


def _covered(rectangles: Iterable[Rectangle], row: int) -> int:
    found = 0
    for each in rectangles:
        if each.rows >> row & 1:
            found |= each.columns
    return found


def _by_row(rows: Sequence[int]) -> list[Rectangle]:
    """Callers that did exactly the same."""
    alike: dict[int, int] = {}
    for index, row in enumerate(rows):
        alike[row] = alike.get(row, 0) | 1 << index
    return [Rectangle(mask, row) for row, mask in alike.items()]


def _by_column(by_row: Sequence[Rectangle], width: int) -> list[Rectangle]:
    """Names that exactly the same callers used."""
    alike: dict[int, int] = {}
    for column in range(width):
        mask = _union(each.rows for each in by_row if each.columns >> column & 1)
        alike[mask] = alike.get(mask, 0) | 1 << column
    return [Rectangle(mask, columns) for mask, columns in alike.items()]


def _widened(by_row: Sequence[Rectangle], by_column: Sequence[Rectangle]) -> Iterator[Rectangle]:
    """For what each row holds, all callers that did that and more; for whom each column holds, all that they have in common."""
    for each in by_row:
        yield Rectangle(_union(other.rows for other in by_row if other.columns & each.columns == each.columns), each.columns)
    for each in by_column:
        yield Rectangle(each.rows, _union(other.columns for other in by_column if other.rows & each.rows == each.rows))


def _union(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


# ---------------------------------------------------------------- subjects


class _Standing:
    """Teams and groups by the callers that were in them whenever they were seen."""

    def __init__(self, seen: Seen, callers: Sequence[str]) -> None:
        self.callers = callers
        index = {caller: place for place, caller in enumerate(callers)}
        masks: dict[str, int] = {}
        partial: set[str] = set()
        for caller, memberships in seen.memberships.items():
            every, always = frozenset().union(*memberships), frozenset.intersection(*memberships)
            partial |= every - always if caller in index else every
            for title in always if caller in index else ():
                masks[title] = masks.get(title, 0) | 1 << index[caller]
        self.whole = {title: mask for title, mask in masks.items() if title not in partial and mask.bit_count() > 1 and _exact(title)}

    def subjects(self, rows: int) -> tuple[str, ...]:
        """Teams and groups all of whose callers are among these, those that cover most first; then callers one by one."""
        left, found = rows, []
        inside = {title: mask for title, mask in self.whole.items() if not mask & ~rows}
        while inside:
            best = min(inside, key=lambda title: (-(inside[title] & left).bit_count(), title))
            if (inside[best] & left).bit_count() < 2:
                break
            left &= ~inside.pop(best)
            found.append(best)
        return (*sorted(found), *(self.callers[index] for index in _bits(left)))


def _exact(title: str) -> bool:
    return "*" not in title and not any(character.isspace() for character in title)
