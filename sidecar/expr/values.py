"""Values of conditions at run time, their kinds, equality and order; and the errors that evaluation knows.

Plain Python values stand for CEL's: bool, int, float, str, bytes, None, list or tuple, mapping; `ipaddress` has `net.IP` and
`net.CIDR` (an interface: a network that remembers its address). What Python lacks is here: `Uint`, `Timestamp` and `Duration`
(nanoseconds), `Maybe` (optionals), `TypeValue`, `Pairs`. Knows nothing of syntax or static types.

Messages of errors name types and names, never values: a condition reads prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from itertools import repeat
from typing import Any, Final, NoReturn, Protocol

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
SECOND: Final = 1_000_000_000
TIMESTAMP_MIN: Final = -62_135_596_800 * SECOND
TIMESTAMP_MAX: Final = 253_402_300_800 * SECOND - 1
DURATION_MAX: Final = 315_576_000_000 * SECOND
SIZE_LIMIT: Final = 2**26
"""Characters that one step may build. Above the largest body; stops doubling."""
LIST_LIMIT: Final = 2**20
"""Elements that one step may build."""
STEPS: Final = 2**16
"""Elements that one comparison of lists or maps may look at: a list may hold another twice, and that one another twice."""
PAIRS: Final = 2**18
"""Elements that one operation on sets may look at."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EvalError(Exception):
    """An error that CEL knows: `&&` and `||` may absorb it, else it becomes a `Fault`."""


class UnknownReached(EvalError):
    """The value asked for is not known (yet). Beats every other error."""


class Exhausted(Exception):
    """The evaluation's budget is spent. Nothing absorbs it: what is over must not go on in the next term of `||`."""


FAILURES: Final = (EvalError, TypeError, AttributeError, LookupError, ValueError, ArithmeticError, RecursionError)
"""What a closure may raise. All but `EvalError` mean that a binding is not of its declared type (typed closures do not look)."""


def told(error: Exception) -> str:
    """One of `FAILURES`, or `Exhausted`, in words for the author."""
    if isinstance(error, EvalError | Exhausted):
        return str(error)
    return "a value is nested too deep" if isinstance(error, RecursionError) else "a value is not of its declared type"


class Fault:
    """The condition could not be evaluated; `message` says why. Never true or false: testing it is a bug that raises."""

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"Fault({self.message!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is Fault and other.message == self.message

    def __hash__(self) -> int:
        return hash(self.message)

    def __bool__(self) -> NoReturn:
        raise TypeError("a Fault is neither true nor false: compare with `is True`")


def _unknown(*_: object) -> NoReturn:
    raise UnknownReached("the value is not known")


class Unknown:
    """The type of `UNKNOWN`. Selecting from it gives it again; any other use of it ends the evaluation as unknown."""

    __slots__ = ()

    def __getitem__(self, key: object) -> Unknown:
        return self

    def __repr__(self) -> str:
        return "UNKNOWN"

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _unknown
    __bool__ = __len__ = __iter__ = __contains__ = _unknown
    __hash__ = object.__hash__


UNKNOWN: Final = Unknown()


class Uint(int):
    """An unsigned 64-bit integer (`1u`)."""

    __slots__ = ()


class Timestamp(int):
    """Nanoseconds since the Unix epoch."""

    __slots__ = ()


class Duration(int):
    """Nanoseconds."""

    __slots__ = ()


class Missing:
    """The type of `MISSING`, which stands for a key that is not there."""

    __slots__ = ()


MISSING: Final = Missing()


class Maybe:
    """An optional value; `MISSING` inside is `optional.none()`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "optional.none()" if self.value is MISSING else f"optional.of({self.value!r})"


NONE: Final = Maybe(MISSING)


class TypeValue(str):
    """A type as a value (`type(x) == int`), by its CEL name."""

    __slots__ = ()


class Pairs(Mapping[Any, Any]):
    """A map with keys that a dict takes for one another: `true` and `1`. Only such a map is one of these."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[Any, Any]) -> None:
        self._entries = {(type(key) is bool, key): value for key, value in entries.items()}

    def __getitem__(self, key: Any) -> Any:
        return self._entries[type(key) is bool, key]

    def __iter__(self) -> Iterator[Any]:
        return (key for _, key in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def adding(self, key: Any, value: Any) -> None:
        """Put an entry in while the map is being made."""
        self._entries[type(key) is bool, key] = value


KINDS: dict[type, str] = {
    bool: "bool", int: "int", Uint: "uint", float: "double", str: "string", bytes: "bytes", list: "list", tuple: "list",
    dict: "map", type(None): "null", Timestamp: "timestamp", Duration: "duration", Maybe: "optional", TypeValue: "type",
    IPv4Address: "net.IP", IPv6Address: "net.IP", IPv4Interface: "net.CIDR", IPv6Interface: "net.CIDR",
}  # fmt: skip
NUMBERS: Final = frozenset({int, float, Uint})
_SAME: Final = frozenset({str, int, float, bool, bytes, Uint, Timestamp, Duration, TypeValue, type(None)})
_ORDERED: Final = frozenset({str, int, float, bool, bytes, Uint, Timestamp, Duration})


def _kind_of_class(cls: type) -> str:
    if issubclass(cls, dict) or issubclass(cls, Mapping):
        return "map"
    if issubclass(cls, datetime):
        return "timestamp"
    return "unsupported"


def kind(value: object) -> str:
    """The CEL kind of a value. Raises UnknownReached for UNKNOWN."""
    found = KINDS.get(type(value))
    if found is None:
        if value is UNKNOWN:
            _unknown()
        found = _kind_of_class(type(value))
    return found


def no_overload(name: str, *values: object) -> EvalError:
    """The error for a function that does not take values of these kinds."""
    return EvalError(f"`{name}` is not defined for {', '.join(f'`{kind(v)}`' for v in values)}")


class Fuel(Protocol):
    """What pays for the elements that are looked at."""

    def burn(self, size: int) -> None:
        """Pay for `size` elements. Raises EvalError when nothing is left."""


class Tank:
    """The fuel of one comparison where no evaluation keeps count."""

    __slots__ = ("left",)

    def __init__(self, left: int = STEPS) -> None:
        self.left = left

    def burn(self, size: int) -> None:
        """As `Fuel`."""
        self.left -= size
        if self.left < 0:
            raise EvalError("the lists or maps are too large to be compared")


def equals(left: Any, right: Any, fuel: Fuel | None = None) -> bool:
    """CEL equality: numbers by value, different kinds unequal, lists and maps by content. Raises EvalError, UnknownReached."""
    a, b = type(left), type(right)
    if a is b and a in _SAME:
        return bool(left == right)
    if a in NUMBERS and b in NUMBERS:
        return bool(float(left) == float(right) if float in (a, b) else left == right)
    what = kind(left)
    if what != kind(right):
        return False
    if what in ("list", "map"):
        return len(left) == len(right) and _content_equals(left, right, what, fuel or Tank())
    if what == "optional":
        return (left is right) if NONE in (left, right) else equals(left.value, right.value, fuel)
    if what == "timestamp":
        return to_timestamp(left) == to_timestamp(right)
    if what in ("net.IP", "net.CIDR"):
        return bool(left == right)
    raise no_overload("==", left, right)


def _content_equals(left: Any, right: Any, what: str, fuel: Fuel) -> bool:
    fuel.burn(len(left))
    if what == "list":
        return all(map(equals, left, right, repeat(fuel)))
    others = ((value, find(right, key)) for key, value in left.items())
    return all(other is not MISSING and equals(value, other, fuel) for value, other in others)


def order(left: Any, right: Any, name: str) -> tuple[Any, Any]:
    """The two values made comparable by Python; an int beside a double is rounded to one. Raises EvalError where CEL has no order between them."""
    a, b = type(left), type(right)
    if a is b and a in _ORDERED:
        return left, right
    if a in NUMBERS and b in NUMBERS:
        return (float(left), float(right)) if float in (a, b) else (left, right)
    if kind(left) == kind(right) == "timestamp":
        return to_timestamp(left), to_timestamp(right)
    raise no_overload(name, left, right)


def sortable(items: Any, name: str) -> list[Any]:
    """The items as Python sorts them: all of one kind that has an order. Raises EvalError for others, UnknownReached."""
    kinds = {kind(item) for item in items}
    if len(kinds) > 1:
        raise EvalError(f"`{name}` takes values of one type")
    if kinds == {"timestamp"}:
        return [to_timestamp(item) for item in items]
    if items and type(items[0]) not in _ORDERED:
        raise EvalError(f"`{name}` cannot order values of type `{kind(items[0])}`")
    return list(items)


def find(mapping: Mapping[Any, Any], key: Any) -> Any:
    """The value at `key`, or MISSING. Python takes True for 1 in a dict and CEL does not, hence the scan. Raises EvalError."""
    cls = type(key)
    if cls is str:
        return mapping.get(key, MISSING)
    if cls is not bool and cls not in NUMBERS:
        raise EvalError(f"a `{kind(key)}` cannot be a map key")
    value = mapping.get(key, MISSING)
    if value is not MISSING and key in (0, 1) and not any(k == key and (type(k) is bool) is (cls is bool) for k in mapping):
        return MISSING
    return value


def contains(items: Any, value: Any, fuel: Fuel | None = None) -> bool:
    """`value in items` for a list or the keys of a map. Raises EvalError, UnknownReached."""
    what = kind(items)
    if what == "map":
        found = find(items, value)
        return found is not MISSING if found is not UNKNOWN else _unknown()
    if what != "list":
        raise no_overload("in", value, items)
    if fuel is None:
        fuel = Tank()  # one walk over the list is what anyone may ask for; what its elements hold is what must be bounded
    else:
        fuel.burn(len(items))
    unknown = False
    for item in items:
        if item is UNKNOWN:
            unknown = True
        elif equals(item, value, fuel):
            return True
    return False if not unknown else _unknown()


def to_timestamp(value: Any) -> Timestamp:
    """A `Timestamp` from what a binding may hold: one already, a datetime (naive is UTC) or Unix seconds as a number."""
    if type(value) is Timestamp:
        return value
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return Timestamp((aware - EPOCH) // timedelta(microseconds=1) * 1000)
    if type(value) in NUMBERS:
        return Timestamp(int(value * SECOND))
    raise EvalError(f"a `{kind(value)}` stands where a timestamp was declared")


def known(value: Any, fuel: Fuel | None = None) -> bool:
    """Whether there is no UNKNOWN anywhere in this result. Raises EvalError for one that is too large to tell."""
    if value is UNKNOWN or value is NONE:
        return value is NONE
    what = kind(value)
    if what == "optional":
        return known(value.value, fuel)
    if what not in ("list", "map"):
        return True
    fuel = fuel or Tank()
    fuel.burn(len(value))
    return all(known(v, fuel) for v in (value if what == "list" else value.values()))
