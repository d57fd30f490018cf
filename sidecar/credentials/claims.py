"""Declared claims: typed, never absent. Reads them out of whatever a method has, a token's payload or a key's own values.

Its counterpart is `Identity.spec.claims`. A value of the wrong type is refused, not converted: a condition that compares it
would otherwise see something else than what the issuer said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING

from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from sidecar.config.documents import Claim

LONGEST = 512
"""Characters of a subject, team or group."""
MOST = 512
"""Groups of one caller."""
Path = tuple[str, tuple[str, ...]]
"""The claim's name as it is written, and the same taken as a dotted path."""


class WrongClaim(ValueError):
    """A claim has another type than declared. Holds the name, never the value."""


def path(text: str) -> Path:
    """`realm.roles` names the claim `realm.roles` where there is one, else `roles` in `realm`."""
    return text, tuple(text.split("."))


def find(source: Mapping[str, object], where: Path) -> object:
    """The value there; None where there is none. JSON null is as good as absent."""
    name, steps = where
    if name in source:
        return source[name]
    value: object = source
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def text(name: str, value: object) -> str:
    """One name: a string that can be printed and is not endless. Raises WrongClaim."""
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise WrongClaim(name)
    return value


def texts(name: str, value: object) -> tuple[str, ...]:
    """A list of names, or one name that stands for a list of it. Raises WrongClaim."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > MOST:
        raise WrongClaim(name)
    return tuple(text(name, item) for item in items)


def _int(value: object) -> bool:
    # bool is an int in Python, and CEL's int has 64 bits
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _double(value: object) -> bool:
    return (isinstance(value, float) and isfinite(value)) or _int(value)


def _list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


_TYPES: Mapping[str, tuple[Callable[[object], bool], Callable[..., object], object]] = {
    "bool": (lambda value: isinstance(value, bool), bool, False),
    "int": (_int, int, 0),
    "double": (_double, float, 0.0),
    "string": (lambda value: isinstance(value, str), str, ""),
    "list": (_list, list, []),
}
"""Type to: is it one, make it plain, what an absent one is."""


class Claims:
    """The declared claims of an Identity. Raises ConfigError where a default has the wrong type."""

    def __init__(self, declared: Mapping[str, Claim]) -> None:
        self._declared = dict(declared)
        self.defaults: dict[str, object] = {}
        for name, claim in self._declared.items():
            value = _TYPES[claim.type][2] if claim.default is None else claim.default
            try:
                self.defaults[name] = self._typed(name, value)
            except WrongClaim:
                raise ConfigError(f"claim `{name}`: the default is no {claim.type}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._declared

    def read(self, source: Mapping[str, object], where: Mapping[str, Path]) -> dict[str, object]:
        """Every declared claim, from the places in `where` (by default its own name). Raises WrongClaim."""
        found = dict(self.defaults)
        for name in self._declared:
            value = find(source, where.get(name) or path(name))
            if value is not None:
                found[name] = self._typed(name, value)
        return found

    def _typed(self, name: str, value: object) -> object:
        is_one, plain, _ = _TYPES[self._declared[name].type]
        if not is_one(value):
            raise WrongClaim(name)
        return plain(value)
