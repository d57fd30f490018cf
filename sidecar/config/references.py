"""What one field's type cannot say: between the fields of a document, and between documents. One function, one rule.

Two visible tables: `WITHIN` looks at one document, `ACROSS` at all layers together. A document that did not load is known by
its name alone and is not complained of twice. Needs no compile; counterparts: `validate` (types), `sidecar.compiler`
(conditions, coverage). The functions are in `within` and `across`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.config.across import ACROSS, Layer, World
from sidecar.config.diagnostics import Diagnostic
from sidecar.config.within import WITHIN

__all__ = ["Layer", "check"]


def check(layers: Sequence[Layer], now: float) -> list[Diagnostic]:
    """Everything that is wrong, in no order. `now` is Unix seconds."""
    found: list[Diagnostic] = []
    for layer in layers:
        for document in layer.documents:
            for kinds, rule in WITHIN:
                if document.kind in kinds:
                    found += rule(document, now)
    world = World(tuple(layers), now)
    for across in ACROSS:
        found += across(world)
    return found
