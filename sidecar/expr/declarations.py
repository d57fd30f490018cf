"""What a condition may name: variables with their types, in one phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.expr.overload import Overload
    from sidecar.expr.types import Type


@dataclass(frozen=True, slots=True)
class Declarations:
    """`variables` are the names in scope. `phase` is where the expression runs; a field that lists other phases is an error there.

    `elsewhere` names variables of other phases (name to phase), so that the error can say where they belong. `uniform`: the
    items of a list literal must be of one type, or be marked with `dyn(…)`.

    The documents need no more. What else CEL has: names with dots in `variables` (`a.b.c` is the longest that is declared),
    the `container` in which names are looked up first, and `functions` beside the table (`overload.declared` makes a
    signature).
    """

    variables: Mapping[str, Type]
    phase: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    uniform: bool = False
    container: str = ""
    functions: Mapping[str, tuple[Overload, ...]] = field(default_factory=dict)

    @property
    def dotted(self) -> bool:
        """Whether a chain of fields may be one name."""
        return bool(self.container) or any("." in name for name in self.variables)

    def candidates(self, name: str, *, rooted: bool = False) -> Iterator[str]:
        """What the name may mean, the innermost container first; a rooted one (`.name`) means itself alone."""
        container = "" if rooted else self.container
        while container:
            yield f"{container}.{name}"
            container = container.rpartition(".")[0]
        yield name
