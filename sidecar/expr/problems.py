"""What is wrong with an expression, told to its author: all at once, with a place and, where one is known, help.

Wording: lower case, no full stop, the author's own words in backticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line`, `column` and `end_column` are 1-based within the expression, in code points; the end is exclusive."""

    message: str
    line: int
    column: int
    end_column: int
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ExprError(ValueError):
    """The expression does not compile. `problems` is never empty and in reading order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.column)))
        super().__init__("; ".join(map(str, self.problems)))


def at(source: str, start: int, end: int, message: str, hint: str = "") -> Problem:
    """The problem that lies at these offsets; one that spans lines is cut at the end of its first."""
    line = source.count("\n", 0, start) + 1
    begin = source.rfind("\n", 0, start) + 1
    stop = source.find("\n", start)
    last = min(end, stop) if stop >= 0 else end
    return Problem(message, line, start - begin + 1, max(last, start + 1) - begin + 1, hint)


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint that names the nearest known word, or an empty one."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{prefix}{close[0]}`?" if close else ""
