"""How the cells of a role are spelt: as few names and patterns as hold these and, of all that is known, no others.

A model goes by its name alone where every upstream that could serve it was seen, by `upstream/model` otherwise. Three names
or more that begin alike become `prefix*`, if nothing else that was seen or is declared begins so, and nothing that was denied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.patterns import compile_pattern
from sidecar.workbench.suggest.seen import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.workbench.suggest.cover import Cell
    from sidecar.workbench.suggest.known import Known
    from sidecar.workbench.suggest.seen import Seen

ALIKE = 3
"""Names that a pattern must stand for."""
SEPARATORS = "-_./:"


class Speller:
    """Knows all names of each operation: those that were seen, and those that are declared."""

    def __init__(self, seen: Seen, known: Known) -> None:
        self.known = known
        self.all: dict[str, set[str]] = {}
        self.denied: dict[str, set[str]] = {}
        for operation, name in seen.names():
            self.all.setdefault(operation, set(known.pairs() if operation != TOOLS else ())).add(name)
        for operation, name in seen.denied:
            self.denied.setdefault(operation, set()).add(name)

    def grants(self, cells: Iterable[Cell]) -> Iterator[str]:
        """`llm:operation:target`, sorted."""
        by_operation: dict[str, set[str]] = {}
        for operation, name in cells:
            by_operation.setdefault(operation, set()).add(name)
        for operation, names in sorted(by_operation.items()):
            short = names if operation in (TOOLS, "models") else _short(names, self.known)
            allowed = names - self.denied.get(operation, set())
            for target in _patterns(short, allowed=allowed, all_names=self.all[operation], tools=operation == TOOLS):
                yield f"llm:{operation}:{target}"


def _short(names: set[str], known: Known) -> set[str]:
    """Without the upstream, where the name alone says the same."""
    found = set()
    for name in names:
        model = name.partition("/")[2]
        serving = known.serving(model)
        found.add(model if serving and serving <= names else name)
    return found


def _patterns(names: set[str], *, allowed: set[str], all_names: set[str], tools: bool) -> Sequence[str]:
    """Names that begin alike as one pattern, the longest beginnings first."""
    left, found = set(names), []
    for prefix in _prefixes(names):
        pattern = compile_pattern(f"{prefix}*", fold=True)
        alike = {name for name in left if pattern.test(name)}
        held = {name for name in all_names if pattern.test(name) or (not tools and pattern.test(name.partition("/")[2]))}
        if len(alike) >= ALIKE and held <= allowed:
            found.append(f"{prefix}*")
            left -= alike
    return sorted([*left, *found])


def _prefixes(names: Iterable[str]) -> list[str]:
    """Beginnings up to a separator that enough names share; an upstream alone is none."""
    counted: dict[str, int] = {}
    for name in names:
        for end, character in enumerate(name):
            if end and character in SEPARATORS and "/" not in name[end:]:
                counted[name[: end + 1]] = counted.get(name[: end + 1], 0) + 1
    enough = [prefix for prefix, count in counted.items() if count >= ALIKE and not prefix.endswith("/")]
    return sorted(enough, key=lambda prefix: (-len(prefix), prefix))
