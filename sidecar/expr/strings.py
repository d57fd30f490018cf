"""Text and bytes: CEL's own functions, conversions, and the `strings` and `encoders` extensions (cel-go `ext/strings.go`).

Sizes and positions are in code points, which is what Python counts.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.numeric import text_of_double
from sidecar.expr.overload import Overload, function, method
from sidecar.expr.patterns import compile_pattern
from sidecar.expr.textformat import FORMAT
from sidecar.expr.times import text_of_duration, text_of_timestamp
from sidecar.expr.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, list_of
from sidecar.expr.values import LIST_LIMIT, SIZE_LIMIT, EvalError, no_overload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_UPPER: Final = {c: c - 32 for c in range(ord("a"), ord("z") + 1)}
_LOWER: Final = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_SHORT: Final = 16
_TRUE: Final = frozenset({"1", "t", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "false", "FALSE", "False"})
_QUOTES: Final = str.maketrans({"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\", '"': r"\""})


def _bounded(size: int) -> None:
    if size > SIZE_LIMIT:
        raise EvalError("the text grows too long")


def _concat(a: Any, b: Any) -> Any:
    _bounded(len(a) + len(b))
    return a + b


def _bool_of_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise no_overload("bool", value)


def _bool_of_text(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise EvalError("the `string` is no boolean")


def _text_of_bytes(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EvalError("the `bytes` are no UTF-8") from None


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise EvalError("the index is out of range")
    return text[index : index + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not 0 <= start <= len(text):
        raise EvalError("the offset is out of range")
    return text.find(part, start)


def _last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is not None and not 0 <= start <= len(text):
        raise EvalError("the offset is out of range")
    end = len(text) if start is None else start + len(part)
    if len(part) <= _SHORT:
        return text.rfind(part, 0, end)
    # Python searches backwards in quadratic time, forwards in linear time
    head = text[:end]
    found = head[::-1].find(part[::-1])
    return len(head) - len(part) - found if found >= 0 else -1


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise EvalError("the range is out of the text")
    return text[start:stop]


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    if len(new) > len(old):
        _bounded(len(text) + (text.count(old) if count < 0 else min(count, len(text) + 1)) * (len(new) - len(old)))
    return text.replace(old, new, count)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if (text.count(separator) if separator else len(text)) > LIST_LIMIT:
        raise EvalError("the list grows too long")
    if separator:
        return text.split(separator, count - 1 if count > 0 else -1)
    if 0 < count < len(text):
        return [*text[: count - 1], text[count - 1 :]]
    return list(text)


def _join(parts: Sequence[str], separator: str = "") -> str:
    _bounded(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _matches(text: str, pattern: str) -> bool:
    return compile_pattern(pattern)(text)


def _prepare_matches(pattern: str) -> Callable[[str], bool]:
    return compile_pattern(pattern)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise EvalError("the `string` is no base64") from None


def _contains(text: str, part: str) -> bool:
    return text.find(part) >= 0


_CONVERSIONS: Final = (
    function("string", STRING, result=STRING, apply=lambda v: v),
    function("string", BOOL, result=STRING, apply=lambda v: "true" if v else "false"),
    function("string", INT, result=STRING, apply=int.__repr__),
    function("string", UINT, result=STRING, apply=int.__repr__),
    function("string", DOUBLE, result=STRING, apply=text_of_double),
    function("string", BYTES, result=STRING, apply=_text_of_bytes),
    function("string", TIMESTAMP, result=STRING, apply=text_of_timestamp),
    function("string", DURATION, result=STRING, apply=text_of_duration),
    function("bytes", BYTES, result=BYTES, apply=lambda v: v),
    function("bytes", STRING, result=BYTES, apply=str.encode),
    function("bool", BOOL, result=BOOL, apply=_bool_of_bool),
    function("bool", STRING, result=BOOL, apply=_bool_of_text),
)

_STANDARD: Final = (
    function("_+_", STRING, STRING, result=STRING, apply=_concat),
    function("_+_", BYTES, BYTES, result=BYTES, apply=_concat),
    method("startsWith", STRING, STRING, result=BOOL, apply=str.startswith),
    method("endsWith", STRING, STRING, result=BOOL, apply=str.endswith),
    method("contains", STRING, STRING, result=BOOL, apply=_contains),
    Overload("matches", (STRING, STRING), BOOL, _matches, member=True, prepare=_prepare_matches, literal=True, cost=10),
    Overload("matches", (STRING, STRING), BOOL, _matches, prepare=_prepare_matches, literal=True, cost=10),
)

_EXTENSION: Final = (
    method("lowerAscii", STRING, result=STRING, apply=lambda v: v.translate(_LOWER)),
    method("upperAscii", STRING, result=STRING, apply=lambda v: v.translate(_UPPER)),
    method("trim", STRING, result=STRING, apply=lambda v: v.strip(_SPACE)),
    method("reverse", STRING, result=STRING, apply=lambda v: v[::-1]),
    method("charAt", STRING, INT, result=STRING, apply=_char_at),
    method("indexOf", STRING, STRING, result=INT, apply=_index_of),
    method("indexOf", STRING, STRING, INT, result=INT, apply=_index_of),
    method("lastIndexOf", STRING, STRING, result=INT, apply=_last_index_of),
    method("lastIndexOf", STRING, STRING, INT, result=INT, apply=_last_index_of),
    method("substring", STRING, INT, result=STRING, apply=_substring),
    method("substring", STRING, INT, INT, result=STRING, apply=_substring),
    method("replace", STRING, STRING, STRING, result=STRING, apply=_replace, cost=2),
    method("replace", STRING, STRING, STRING, INT, result=STRING, apply=_replace, cost=2),
    method("split", STRING, STRING, result=list_of(STRING), apply=_split, cost=2),
    method("split", STRING, STRING, INT, result=list_of(STRING), apply=_split, cost=2),
    method("join", list_of(STRING), result=STRING, apply=_join, cost=2),
    method("join", list_of(STRING), STRING, result=STRING, apply=_join, cost=2),
    FORMAT,
    function("strings.quote", STRING, result=STRING, apply=lambda v: f'"{v.translate(_QUOTES)}"'),
    function("base64.encode", BYTES, result=STRING, apply=lambda v: base64.b64encode(v).decode()),
    function("base64.decode", STRING, result=BYTES, apply=_decode),
)

TEXT_FUNCTIONS: Final = (*_CONVERSIONS, *_STANDARD, *_EXTENSION)
