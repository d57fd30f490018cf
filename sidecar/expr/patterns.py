"""Patterns of `matches`: compiled at load by RE2, in linear time; the simple ones become plain string operations.

RE2's Python wrapper costs about 4 µs for one search, a plain operation 0.1 µs, and most patterns in policies are a prefix, a
word or a choice of words. What a fast path does is what RE2 would do, or there is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import re2

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN: Final = re.compile(r"(?:[^\\^$.|?*+()\[\]{}]|\\[^a-zA-Z0-9\s])*")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test of texts for the pattern, found anywhere in them. Raises ValueError for what RE2 does not take."""
    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        detail = error.args[0] if error.args else b""
        raise ValueError(f"bad pattern: {detail.decode(errors='replace') if isinstance(detail, bytes) else detail}") from None
    return _simple(pattern) or (lambda text: search(text) is not None)


def _simple(pattern: str) -> Callable[[str], bool] | None:
    """A plain operation that does the same, where there is one."""
    anchored = pattern.startswith("^")
    body = pattern[anchored:]
    closed = body.endswith("$") and not body.endswith("\\$")
    words = _words(body[:-1] if closed else body.removesuffix(".*"))
    if words is None:
        return None
    if anchored and closed:
        exact = frozenset(words)
        return lambda text: _text(text) in exact
    if anchored:
        return lambda text: text.startswith(words)
    if closed:
        return lambda text: text.endswith(words)
    if len(words) == 1:
        word = words[0]
        return lambda text: word in _text(text)
    return lambda text: any(word in _text(text) for word in words)


def _words(body: str) -> tuple[str, ...] | None:
    """The plain words of `word`, `(word|word)` or `(?:word|word)`; None for anything else."""
    grouped = body.startswith("(") and body.endswith(")") and not body.endswith("\\)")
    choices = body[1:-1].removeprefix("?:").split("|") if grouped else [body]
    if not all(_PLAIN.fullmatch(choice) for choice in choices):
        return None
    return tuple(_ESCAPED.sub(r"\1", choice) for choice in choices)


def _text(value: Any) -> str:
    """Patterns search text: `in` on a list would mean something else, where a binding is not what it was declared."""
    if type(value) is str:
        return value
    raise TypeError("a text was declared")
