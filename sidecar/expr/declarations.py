"""What a condition may name: variables with their types, in one phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.expr.types import Type


@dataclass(frozen=True, slots=True)
class Declarations:
    """`variables` are the names in scope. `phase` is where the expression runs; a field that lists other phases is an error there.

    `elsewhere` names variables of other phases (name to phase), so that the error can say where they belong.
    """

    variables: Mapping[str, Type]
    phase: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
