"""The table of all functions, by name. A name with a dot belongs to a namespace; operators are `_+_`, `!_`, `@in`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.expr.aggregates import COLLECTION_FUNCTIONS
from sidecar.expr.network import NETWORK_FUNCTIONS
from sidecar.expr.numeric import NUMBER_FUNCTIONS
from sidecar.expr.ours import OUR_FUNCTIONS
from sidecar.expr.strings import TEXT_FUNCTIONS
from sidecar.expr.times import TIME_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.expr.overload import Overload


def _by_name(*groups: tuple[Overload, ...]) -> Mapping[str, tuple[Overload, ...]]:
    table: dict[str, tuple[Overload, ...]] = {}
    for group in groups:
        for overload in group:
            table[overload.name] = (*table.get(overload.name, ()), overload)
    return table


FUNCTIONS: Final = _by_name(COLLECTION_FUNCTIONS, NUMBER_FUNCTIONS, TEXT_FUNCTIONS, TIME_FUNCTIONS, NETWORK_FUNCTIONS, OUR_FUNCTIONS)
NAMESPACES: Final = frozenset(name.split(".")[0] for name in FUNCTIONS if "." in name)
