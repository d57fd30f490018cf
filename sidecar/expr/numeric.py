"""Numbers: arithmetic that overflows into an error, order, conversions, and the `math` extension (cel-go `ext/math.go`)."""

from __future__ import annotations

import math
import operator
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.overload import Overload, function
from sidecar.expr.types import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, UINT, Type, list_of
from sidecar.expr.values import INT_MAX, INT_MIN, NUMBERS, SECOND, UINT_MAX, EvalError, Uint, no_overload, order

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMERIC: Final = (INT, UINT, DOUBLE)
_SHIFT_LIMIT: Final = 64


def to_int(value: int) -> int:
    """The value as an `int`. Raises EvalError out of range."""
    if INT_MIN <= value <= INT_MAX:
        return int(value)
    raise EvalError("integer overflow")


def to_uint(value: int) -> Uint:
    """The value as a `uint`. Raises EvalError out of range."""
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise EvalError("unsigned integer overflow")


def _divide(a: int, b: int) -> int:
    if b == 0:
        raise EvalError("division by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) is (b < 0) else -quotient


def _modulus(a: int, b: int) -> int:
    if b == 0:
        raise EvalError("modulus by zero")
    if a == INT_MIN and b == -1:
        raise EvalError("integer overflow")  # as the division that it belongs to
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


def _divide_double(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _checked(operation: Callable[[Any, Any], int], convert: Callable[[int], int]) -> Callable[[Any, Any], int]:
    return lambda a, b: convert(operation(a, b))


def _from_double(convert: Callable[[int], int]) -> Callable[[float], int]:
    def run(value: float) -> int:
        # 2**63 as a double is one too many, and so is what rounds to it
        if math.isfinite(value) and -(2.0**63) < value < (2.0**63 if convert is to_int else 2.0**64):
            return convert(int(value))
        raise EvalError("the `double` is out of range")

    return run


def _from_text(convert: Callable[[int], int]) -> Callable[[str], int]:
    def run(text: str) -> int:
        digits = text[1:] if text[:1] in ("+", "-") else text
        if digits.isascii() and digits.isdigit() and len(digits) <= 64:
            return convert(int(text))
        raise EvalError("the `string` is no integer")

    return run


def _double_of_text(text: str) -> float:
    if "_" in text or not text.isascii() or text != text.strip():
        raise EvalError("the `string` is no number")
    try:
        return float(text)
    except ValueError:
        raise EvalError("the `string` is no number") from None


def text_of_double(value: float) -> str:
    """A double as CEL's `string()` writes it: the shortest that reads back, no `.0`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    return text.removesuffix(".0")


def _orderings() -> tuple[Overload, ...]:
    signs: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (("<", operator.lt), ("<=", operator.le), (">", operator.gt), (">=", operator.ge))
    pairs = [(a, b) for a in _NUMERIC for b in _NUMERIC] + [(t, t) for t in (STRING, BYTES, BOOL, TIMESTAMP, DURATION)]

    def ordered(sign: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
        return lambda a, b: compare(*order(a, b, sign))

    return tuple(function(f"_{sign}_", a, b, result=BOOL, apply=ordered(sign, compare)) for sign, compare in signs for a, b in pairs)


def _arithmetic() -> tuple[Overload, ...]:
    whole = (("+", operator.add), ("-", operator.sub), ("*", operator.mul), ("/", _divide), ("%", _modulus))
    real = (("+", operator.add), ("-", operator.sub), ("*", operator.mul), ("/", _divide_double))
    return (
        *(function(f"_{sign}_", INT, INT, result=INT, apply=_checked(op, to_int)) for sign, op in whole),
        *(function(f"_{sign}_", UINT, UINT, result=UINT, apply=_checked(op, to_uint)) for sign, op in whole),
        *(function(f"_{sign}_", DOUBLE, DOUBLE, result=DOUBLE, apply=op) for sign, op in real),
        function("-_", INT, result=INT, apply=lambda a: to_int(-a)),
        function("-_", DOUBLE, result=DOUBLE, apply=operator.neg),
    )


def _conversions() -> tuple[Overload, ...]:
    return (
        function("int", INT, result=INT, apply=lambda v: v),
        function("int", UINT, result=INT, apply=to_int),
        function("int", DOUBLE, result=INT, apply=_from_double(to_int)),
        function("int", STRING, result=INT, apply=_from_text(to_int)),
        function("int", TIMESTAMP, result=INT, apply=lambda v: v // SECOND),
        function("int", DURATION, result=INT, apply=lambda v: _divide(v, SECOND)),
        function("uint", UINT, result=UINT, apply=lambda v: v),
        function("uint", INT, result=UINT, apply=to_uint),
        function("uint", DOUBLE, result=UINT, apply=_from_double(to_uint)),
        function("uint", STRING, result=UINT, apply=_from_text(to_uint)),
        *(function("double", t, result=DOUBLE, apply=float) for t in _NUMERIC),
        function("double", STRING, result=DOUBLE, apply=_double_of_text),
    )


# ---------------------------------------------------------------- math.*


def _extreme(name: str, better: Callable[[Any, Any], bool]) -> tuple[Overload, ...]:
    def pick(*values: Any) -> Any:
        best = values[0]
        for value in values:
            if type(value) not in NUMBERS:
                raise no_overload(name, value)
            best = value if better(value, best) else best
        return best

    def pick_list(values: list[Any]) -> Any:
        if not values:
            raise EvalError(f"`{name}` of an empty list")
        return pick(*values)

    same = tuple(Overload(name, (t,), t, pick, variadic=True) for t in _NUMERIC)
    lists = tuple(function(name, list_of(t), result=t, apply=pick_list) for t in _NUMERIC)
    mixed = tuple(Overload(name, (a, b, DYN), DYN, pick, variadic=True) for a in _NUMERIC for b in _NUMERIC)
    pairs = tuple(function(name, a, b, result=DYN, apply=pick) for a in _NUMERIC for b in _NUMERIC if a is not b)
    return (*same, *pairs, *lists, *mixed)


def _absolute(value: Any) -> Any:
    return to_int(abs(value)) if type(value) is int else value if type(value) is Uint else abs(value)


def _sign(value: Any) -> Any:
    if type(value) is float:
        return value if math.isnan(value) else float((value > 0) - (value < 0))
    return type(value)((value > 0) - (value < 0))


def _round(value: float) -> float:
    """Half away from zero, which Python's `round` is not."""
    if not math.isfinite(value):
        return value
    part, whole = math.modf(value)
    return whole + math.copysign(1.0, value) if abs(part) >= 0.5 else whole


def _rounding(operation: Callable[[float], int]) -> Callable[[float], float]:
    """Keeps the sign of a zero, which Python's do not."""
    return lambda value: math.copysign(float(operation(value)), value) if math.isfinite(value) else value


def _shift(name: str, value: Any, by: int) -> Any:
    if by < 0:
        raise EvalError(f"`{name}` by a negative offset")
    if by >= _SHIFT_LIMIT:
        return type(value)(0)
    bits = value & UINT_MAX
    return _wrap(type(value), bits << by if name == "math.bitShiftLeft" else bits >> by)


def _wrap(cls: type[int], bits: int) -> int:
    bits &= UINT_MAX
    return cls(bits - 2**64 if cls is int and bits > INT_MAX else bits)


def _square_root(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


def _bits() -> tuple[Overload, ...]:
    pairs = (("math.bitAnd", operator.and_), ("math.bitOr", operator.or_), ("math.bitXor", operator.xor))

    def fold(op: Callable[[Any, Any], int]) -> Callable[..., int]:
        return lambda *values: _wrap(type(values[0]), reduce(op, values))

    def shift(name: str) -> Callable[[Any, int], Any]:
        return lambda value, by: _shift(name, value, by)

    shifts = ("math.bitShiftLeft", "math.bitShiftRight")
    return (
        *(Overload(name, (t,), t, fold(op), variadic=True) for name, op in pairs for t in (INT, UINT)),
        *(function("math.bitNot", t, result=t, apply=lambda v: _wrap(type(v), ~v)) for t in (INT, UINT)),
        *(function(name, t, INT, result=t, apply=shift(name)) for name in shifts for t in (INT, UINT)),
    )


def _each(name: str, apply: Callable[[Any], Any], types: tuple[Type, ...] = (DOUBLE,), result: Type | None = None) -> tuple[Overload, ...]:
    return tuple(function(name, t, result=result or t, apply=apply) for t in types)


NUMBER_FUNCTIONS: Final = (
    *_orderings(),
    *_arithmetic(),
    *_conversions(),
    *_extreme("math.greatest", operator.gt),
    *_extreme("math.least", operator.lt),
    *_bits(),
    *_each("math.abs", _absolute, _NUMERIC),
    *_each("math.sign", _sign, _NUMERIC),
    *_each("math.ceil", _rounding(math.ceil)),
    *_each("math.floor", _rounding(math.floor)),
    *_each("math.trunc", _rounding(math.trunc)),
    *_each("math.round", _round),
    *_each("math.sqrt", _square_root, _NUMERIC, DOUBLE),
    *_each("math.isNaN", math.isnan, result=BOOL),
    *_each("math.isInf", math.isinf, result=BOOL),
    *_each("math.isFinite", math.isfinite, result=BOOL),
)
