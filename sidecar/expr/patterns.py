"""Patterns of `matches`: compiled at load by RE2, in linear time; the simple ones become plain string operations.

RE2's wrapper costs about 1 µs for one search (of bytes, without groups; with them 3 to 4), a plain operation 0.1 µs, and most
patterns in policies are a prefix, a word or a choice of words, or a prefix and characters of one kind. What a fast path does is
what RE2 would do, or there is none; where only the words before the rest are plain, they are asked first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import re2

from sidecar.expr import patternset

if TYPE_CHECKING:
    from collections.abc import Callable

    Test = Callable[[str], bool]

_CHARACTER: Final = r"(?:[^\\^$.|?*+()\[\]{}]|\\[^a-zA-Z0-9\s])"
_LITERAL: Final = re.compile(rf"(?:({_CHARACTER})|\((?:\?:)?({_CHARACTER}*(?:\|{_CHARACTER}*)*)\))(?![*+?{{])")
"""A character or a choice of words, not repeated."""
_CHOICE: Final = re.compile(rf"(?:^|\|)({_CHARACTER}*)")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_RUN: Final = re.compile(r"(\.|\\[dw]|\[(?:[^\\\]\[]|\\.)+\])([*+])(\$?)", re.DOTALL)
_FLAGS: Final = re.compile(r"\(\?[^:]")
"""RE2 lets `a(?i)*` repeat the `a`."""
_WORDS: Final = 64
"""How many words a plan may have."""


def compile_pattern(pattern: str) -> Test:
    """A test of texts for the pattern, found anywhere in them. Raises ValueError for what RE2 does not take."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        search = re2.compile(pattern.encode(), options).search
    except re2.error as error:
        detail = error.args[0] if error.args else b""
        raise ValueError(f"bad pattern: {detail.decode(errors='replace') if isinstance(detail, bytes) else detail}") from None

    def engine(text: str) -> bool:
        return search(text.encode()) is not None

    plan = _plan(pattern)
    if plan is None:
        return engine
    return _simple(plan) or _screened(plan, engine)


class _Plan(NamedTuple):
    """A pattern as the words it must begin with and what follows them. `anchored`: they stand at the beginning of the text."""

    anchored: bool
    words: tuple[str, ...]
    rest: str


def _plan(pattern: str) -> _Plan | None:
    """None where a choice or a flag stands over the whole, so that nothing is sure to be at its beginning."""
    anchored = pattern.startswith("^")
    words: tuple[str, ...] = ("",)
    position = int(anchored)
    while (match := _LITERAL.match(pattern, position)) and len(words) <= _WORDS:
        choices = [_ESCAPED.sub(r"\1", choice) for choice in _choices(match)]
        words = tuple(dict.fromkeys(word + choice for word in words for choice in choices))
        position = match.end()
    rest = pattern[position:]
    unsure = len(words) > _WORDS or _FLAGS.match(rest) or patternset.has_choice(rest)
    return None if unsure else _Plan(anchored, words, rest)


def _choices(match: re.Match[str]) -> list[str]:
    return _CHOICE.findall(match[2]) if match[1] is None else [match[1]]


def _simple(plan: _Plan) -> Test | None:
    """A plain operation that does the same, where there is one."""
    anchored, words, rest = plan
    if rest in ("", ".*"):
        return _begins(words) if anchored else _holds(words)
    if rest == "$":
        return _equals(frozenset(words)) if anchored else _ends(words)
    run = _RUN.fullmatch(rest)
    kind = patternset.members(run[1]) if run is not None and anchored else None
    if run is None or kind is None:
        return None
    if run[3]:
        return _all_of(words, kind, least=int(run[2] == "+"))
    return _begins(words) if run[2] == "*" else _one_of(words, kind)


def _screened(plan: _Plan, engine: Test) -> Test:
    """The engine, asked where the words before the rest are there."""
    words = plan.words
    if "" in words:
        return engine
    if plan.anchored:
        return lambda text: text.startswith(words) and engine(text)
    if len(words) == 1:
        word = words[0]
        return lambda text: word in _text(text) and engine(text)
    return engine


def _begins(words: tuple[str, ...]) -> Test:
    return lambda text: text.startswith(words)


def _ends(words: tuple[str, ...]) -> Test:
    return lambda text: text.endswith(words)


def _equals(words: frozenset[str]) -> Test:
    return lambda text: _text(text) in words


def _holds(words: tuple[str, ...]) -> Test:
    if len(words) == 1:
        word = words[0]
        return lambda text: word in _text(text)
    return lambda text: any(word in _text(text) for word in words)


def _all_of(words: tuple[str, ...], kind: patternset.Members, least: int) -> Test:
    """One of the words, then nothing but these characters."""
    ends = tuple((word, len(word), len(word) + least) for word in words)
    all_in = kind.all_in()

    def test(text: str) -> bool:
        for word, size, shortest in ends:  # noqa: SIM110  a generator would cost as much as the rest
            if text.startswith(word) and len(text) >= shortest and all_in(text[size:]):
                return True
        return False

    return test


def _one_of(words: tuple[str, ...], kind: patternset.Members) -> Test:
    """One of the words, then one of these characters."""
    ends = tuple((word, len(word)) for word in words)
    all_in = kind.all_in()

    def test(text: str) -> bool:
        return any(text.startswith(word) and len(text) > size and all_in(text[size]) for word, size in ends)

    return test


def _text(value: Any) -> str:
    """Patterns search text: `in` on a list would mean something else, where a binding is not what it was declared."""
    if type(value) is str:
        return value
    raise TypeError("a text was declared")
