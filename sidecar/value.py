"""`@value`: a frozen, slotted dataclass as the type checker sees it, at a fraction of the cost of one.

A `dataclass(frozen=True)` sets each field through `object.__setattr__`, which made a `Call` cost 2 µs three times per call. What
forbids a change of a noun is mypy (PEP 681 `frozen_default`) in CI, so at run time the fields are plain slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a class a value: compared and hashed by its fields, never changed after it is made."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
