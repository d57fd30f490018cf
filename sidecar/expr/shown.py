"""Results and traces as short text for people: a value as an author would write it, a tree as one line for each part.

Counterpart: `trace`, which makes the trees. Unlike the messages of faults these lines hold values: they are for whoever may read
the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.numeric import text_of_double
from sidecar.expr.times import text_of_duration, text_of_timestamp
from sidecar.expr.trace import UNREAD, Trace
from sidecar.expr.values import MISSING, EvalError, Fault, Unknown, kind, to_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH: Final = 60
"""Characters of a value."""
_WIDTH: Final = 100
"""Characters of a sub-expression; what is longer is cut in its middle."""
_COLUMN: Final = 72
"""How far right the values may stand for the sake of a long neighbour."""
_ITEMS: Final = 8
_LEAST: Final = 4
"""Room in which nothing of a list or map can be told."""


def lines(trace: Trace) -> list[str]:
    """The tree, one line for each part: its text, which turn of a macro, its value; parts are indented under their whole."""
    rows = [(f"{'  ' * depth}{_text(part)}", _value(part)) for depth, part in _flat(trace, 0)]
    column = min(max(len(left) for left, _ in rows), _COLUMN)
    return [f"{left:<{column}}   {value}" for left, value in rows]


def _flat(trace: Trace, depth: int) -> Iterator[tuple[int, Trace]]:
    yield depth, trace
    for part in trace.children:
        yield from _flat(part, depth + 1)


def _text(part: Trace) -> str:
    text = " ".join(part.text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH // 2]} … {text[3 - _WIDTH // 2 :]}"


def _value(part: Trace) -> str:
    return shown(part.result) + (f"   (turn {part.turn})" if part.turn else "")


def shown(value: Any, length: int = LENGTH) -> str:
    """A result in the words of the language, cut to `length`; `unknown`, `not read` and `error: …` where there is none."""
    if value is UNREAD:
        return "not read"
    if isinstance(value, Fault):
        return f"error: {value.message}"
    try:
        text = _written(value, length)
    except (EvalError, ValueError, OverflowError):  # a binding that is no value: a year out of range, a type of Python's
        text = f"a `{type(value).__name__}`"
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _written(value: Any, room: int) -> str:
    if isinstance(value, Unknown):
        return "unknown"
    match kind(value):
        case "bool":
            return "true" if value else "false"
        case "null":
            return "null"
        case "int":
            return int.__repr__(value)
        case "uint":
            return f"{int.__repr__(value)}u"
        case "double":
            text = text_of_double(value)
            return text if set(text) & set(".enN") else f"{text}.0"
        case "string":
            return _quoted(value, room)
        case "bytes":
            return f"b{_quoted(value[:room].decode('latin-1'), room)}"
        case "timestamp":
            return f"timestamp({_quoted(text_of_timestamp(to_timestamp(value)), room)})"
        case "duration":
            return f"duration({_quoted(text_of_duration(value), room)})"
        case "optional":
            return "optional.none()" if value.value is MISSING else f"optional.of({_written(value.value, room)})"
        case "list" | "map" if room < _LEAST:
            return "…"
        case "list":
            return f"[{_joined([_written(item, room // 2) for item in value[:_ITEMS]], len(value))}]"
        case "map":
            items = [(key, value[key]) for key, _ in zip(value, range(_ITEMS), strict=False)]
            return f"{{{_joined([f'{_written(key, room)}: {_written(item, room // 2)}' for key, item in items], len(value))}}}"
        case "type":
            return str(value)
    return f"a `{type(value).__name__}`"


def _joined(parts: list[str], size: int) -> str:
    return ", ".join(parts) + (f", … {size} in all" if size > len(parts) else "")


def _quoted(text: str, room: int) -> str:
    """In single quotes, with what is not printable escaped; the end is marked where it is cut."""
    kept = text[: max(room - 2, 1)]
    written = "".join(c if c.isprintable() and c not in "'\\" else repr(c)[1:-1] if c != "'" else "\\'" for c in kept)
    return f"'{written}{'…' if len(kept) < len(text) else ''}'"
