"""Names against patterns: exact, `*` within a `/` segment, `**` across. For models, tools and subjects alike.

Each pattern tells the literal it begins or ends with, which is what `index.py` files it under. Matching is linear in the
name (re2), and most patterns need no expression at all. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import re2

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One compiled pattern. `prefix` and `suffix` are its literal ends; both are the whole text where it is `exact`."""

    text: str
    exact: bool
    prefix: str
    suffix: str
    test: Test


def compile_pattern(text: str, *, fold: bool) -> Pattern:
    """Compile one. `fold` case-folds it, as codecs do with names. Raises ValueError on an empty one, `***` or a space."""
    if not text.strip() or text != text.strip():
        raise ValueError("a pattern is a name, with `*` or `**` where anything may stand")
    if "***" in text:
        raise ValueError("`*` is within a segment, `**` across segments; there is no `***`")
    words = text.casefold() if fold else text
    if "*" not in words:
        return Pattern(text, True, words, words, words.__eq__)
    prefix, suffix = words[: words.index("*")], words[words.rindex("*") + 1 :]
    return Pattern(text, False, prefix, suffix, _test(words, prefix))


def _test(words: str, prefix: str) -> Test:
    rest = words[len(prefix) :]
    if rest == "**":
        return lambda name: name.startswith(prefix)
    if rest == "*":
        return lambda name: name.startswith(prefix) and "/" not in name[len(prefix) :]
    return _expression(words)


def _expression(words: str) -> Test:
    parts = [_segment(piece) for piece in words.split("**")]
    match = re2.compile("(?s)" + ".*".join(parts)).fullmatch
    return lambda name: match(name) is not None


def _segment(piece: str) -> str:
    return "[^/]*".join(re2.escape(literal) for literal in piece.split("*"))


def hits(patterns: Iterable[Pattern], names: Iterable[str]) -> bool:
    """Whether any pattern matches any name."""
    return any(pattern.test(name) for pattern in patterns for name in names)
