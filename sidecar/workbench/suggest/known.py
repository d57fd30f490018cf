"""What the platform's documents say of models, so that suggestions may use short names and hold nothing that was not seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.compiler.patterns import Pattern, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.compiler.snapshot import Snapshot

FAMILIES = ("openai", "anthropic", "gemini")


@dataclass(frozen=True, slots=True)
class Known:
    """Declared models by upstream. Empty where no documents were given: then every name is written with its upstream."""

    declared: Mapping[str, tuple[Pattern, ...]] = field(default_factory=dict)
    reach: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By the name that is asked for, each `upstream/model` that may serve."""

    def serving(self, model: str) -> frozenset[str]:
        """Every `upstream/model` that could ever serve this model."""
        return frozenset(f"{upstream}/{model}" for upstream, patterns in self.declared.items() if any(pattern.test(model) for pattern in patterns))

    def pairs(self) -> frozenset[str]:
        """Every `upstream/model` with a name of its own."""
        return frozenset(f"{upstream}/{each.prefix}" for upstream, patterns in self.declared.items() for each in patterns if each.exact)


def of(snapshot: Snapshot) -> Known:
    """From the documents of a platform."""
    declared = {
        name.casefold(): tuple(compile_pattern(model.name, fold=True) for model in upstream.models) for name, upstream in sorted(snapshot.upstreams.items())
    }
    models = sorted({pattern.prefix for patterns in declared.values() for pattern in patterns if pattern.exact})
    return Known(declared, {model: _reached(snapshot, model) for model in models})


def _reached(snapshot: Snapshot, model: str) -> frozenset[str]:
    return frozenset(member.name.casefold() for family in FAMILIES for member in snapshot.members(family, model))
