"""`"…".format([…])` of the `strings` extension (cel-go `ext/formatting.go`): `%s %d %f %e %b %o %x %X %%`."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.numeric import text_of_double
from sidecar.expr.overload import Overload
from sidecar.expr.times import text_of_duration, text_of_timestamp
from sidecar.expr.types import DYN, STRING, list_of
from sidecar.expr.values import SIZE_LIMIT, EvalError, kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CLAUSE: Final = re.compile(r"%(?:\.(\d{1,4}))?(.?)", re.DOTALL)
_PRECISION: Final = 1000
_NESTED: Final = 2**18
"""Characters that a list or map may be written in."""
_SPECIAL: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_BASES: Final = {"b": "b", "o": "o", "x": "x", "X": "X"}


def format_text(template: str, arguments: Sequence[Any]) -> str:
    """The template with its clauses filled in order. Raises EvalError for a clause that is none or does not fit its argument."""
    rest, size = iter(arguments), len(template)

    def fill(match: re.Match[str]) -> str:
        text = clause(match)
        nonlocal size
        size += len(text)
        if size > SIZE_LIMIT:
            raise EvalError("the text grows too long")
        return text

    def clause(match: re.Match[str]) -> str:
        precision, verb = match.groups()
        if verb == "%" and precision is None:
            return "%"
        try:
            value = next(rest)
        except StopIteration:
            raise EvalError("`format` has more clauses than arguments") from None
        return _clause(verb, 6 if precision is None else int(precision), value)

    return _CLAUSE.sub(fill, template)


def _clause(verb: str, precision: int, value: Any) -> str:
    if precision > _PRECISION:
        raise EvalError("`format` takes at most 1000 digits")
    match verb:
        case "s":
            return _plain(value)
        case "d":
            return _decimal(value)
        case "f" | "e":
            return _float(verb, precision, value)
        case "b" | "o" | "x" | "X":
            return _based(verb, value)
    raise EvalError("`format` does not know this clause")


def _plain(value: Any) -> str:
    what = kind(value)
    match what:
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "int" | "uint":
            return int.__repr__(value)
        case "double":
            return _SPECIAL.get(str(value)) or text_of_double(value)
        case "bytes":
            return bytes(value).decode(errors="replace")
        case "null":
            return "null"
        case "type":
            return str(value)
        case "timestamp":
            return text_of_timestamp(value)
        case "duration":
            return text_of_duration(value)
        case "list":
            return f"[{_joined(map(_plain, value))}]"
        case "map":
            return f"{{{_joined(sorted(f'{_plain(k)}: {_plain(v)}' for k, v in value.items()))}}}"
    raise _unfit("s", what)


def _joined(parts: Iterable[str]) -> str:
    """A list may hold another twice, and that one another twice: what is written is bounded on the way."""
    text = ", ".join(parts)
    if len(text) > _NESTED:
        raise EvalError("the text grows too long")
    return text


def _unfit(verb: str, what: str) -> EvalError:
    return EvalError(f"`format` cannot write a `{what}` with `%{verb}`")


def _decimal(value: Any) -> str:
    what = kind(value)
    if what in ("int", "uint"):
        return int.__repr__(value)
    if what == "double":
        return _SPECIAL.get(str(value)) or f"{Decimal(repr(value)):f}".removesuffix(".0")
    raise _unfit("d", what)


def _float(verb: str, precision: int, value: Any) -> str:
    what = kind(value)
    if what not in ("double", "int", "uint"):
        raise _unfit(verb, what)
    if what == "double" and not math.isfinite(value):
        return _SPECIAL[str(value)]
    if verb == "e":
        return f"{float(value):.{precision}e}"
    if what == "double":
        return f"{value:.{precision}f}"
    return f"{int(value)}.{'0' * precision}" if precision else str(int(value))


def _based(verb: str, value: Any) -> str:
    what = kind(value)
    if what == "bool" and verb == "b":
        return "1" if value else "0"
    if what in ("int", "uint"):
        return f"{int(value):{_BASES[verb]}}"
    if verb in "xX" and what in ("string", "bytes"):
        text = (value.encode() if what == "string" else bytes(value)).hex()
        return text.upper() if verb == "X" else text
    raise _unfit(verb, what)


FORMAT: Final = Overload("format", (STRING, list_of(DYN)), STRING, format_text, member=True, cost=4)
