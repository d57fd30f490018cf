"""What a pattern says of single characters, as far as plain operations can follow it: classes as sets, and where a choice stands.

Used by `patterns` alone. What is not understood is None, and the engine decides.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMED: Final = {r"\d": digits, r"\w": f"{ascii_letters}{digits}_"}
"""RE2's classes are ASCII."""
_ITEM: Final = re.compile(r"(\\[dw])|(\\[^a-zA-Z0-9\s]|[^\\])(?:-(\\[^a-zA-Z0-9\s]|[^\\]))?", re.DOTALL)
_FEW: Final = 4
"""Characters that are looked for one by one."""
_CLASS: Final = re.compile(r"\[\^?\]?(?:[^\\\]\[]|\\[^pPQ])*\]", re.DOTALL)


class Members(NamedTuple):
    """The characters of a class, or with `negated` all but them."""

    characters: str
    negated: bool

    def all_in(self) -> Callable[[str], bool]:
        """A test of texts: whether every character is of this class."""
        characters = self.characters
        if not self.negated:
            return lambda text: not text.lstrip(characters)
        if len(characters) == 1:
            return lambda text: characters not in text
        return lambda text: not any(character in text for character in characters)


def members(told: str) -> Members | None:
    r"""Of `.`, `\d`, `\w` or a class in brackets without anything unusual."""
    if told == ".":
        return Members("\n", negated=True)
    if told in _NAMED:
        return Members(_NAMED[told], negated=False)
    inside = told[1:-1]
    negated = inside.startswith("^")
    characters = _characters(inside[negated:])
    if characters is None or (negated and len(characters) > _FEW):
        return None
    return Members(characters, negated)


def _characters(inside: str) -> str | None:
    found: set[str] = set()
    position = 0
    while match := _ITEM.match(inside, position):
        position = match.end()
        named, first, last = match.groups()
        if named is None and (not (first + (last or "")).isascii()):
            return None
        found |= set(_NAMED[named]) if named is not None else _span(first[-1], (last or first)[-1])
    return "".join(sorted(found)) if position == len(inside) and found else None


def _span(first: str, last: str) -> set[str]:
    return {chr(code) for code in range(ord(first), ord(last) + 1)}


def has_choice(rest: str) -> bool:
    """Whether `|` may stand outside of all groups, so that what is before it need not hold; true also where that is not clear."""
    depth = position = 0
    while position < len(rest):
        character = rest[position]
        inside = _CLASS.match(rest, position) if character == "[" else None
        if (character == "[" and inside is None) or (character == "|" and depth == 0) or rest.startswith("\\Q", position):
            return True
        depth += (character == "(") - (character == ")")
        position = inside.end() if inside is not None else position + 1 + (character == "\\")
    return False
