"""What every dialect does to read a request: typed access to parsed fields, allow-lists for headers and query, the token estimate.

Every refusal names the JSON pointer and never the value. Knows no dialect: names and tables come from the codec that calls.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from sidecar.errors import CannotCarry, MalformedCall, WrongMediaType
from sidecar.segment import Segment
from sidecar.wire import jsonguard
from sidecar.wire.pointer import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sidecar.wire.base import WireRequest

MEDIA_TOKENS = 1_600
"""What one image, sound or file is counted as: the largest single image of the providers' tables. Long files cost more."""

_JSON = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?\s*;?", re.IGNORECASE)
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_SCALARS = frozenset({str, int, float, bool})


def body_of(request: WireRequest) -> dict[str, Any]:
    """The JSON object of a request. Raises WrongMediaType, MalformedCall."""
    kind = ""
    for name, value in request.headers:
        if name == "content-type":
            kind = value
            break
    if kind != "application/json" and not _JSON.fullmatch(kind.strip()):
        raise WrongMediaType("this endpoint takes `application/json` in UTF-8")
    return jsonguard.parse_object(request.body)


def mapping(value: Any, pointer: str) -> dict[str, Any]:
    """`value`, which must be an object."""
    if type(value) is not dict:
        raise MalformedCall(f"`{pointer}` must be an object")
    return value


def array(value: Any, pointer: str) -> list[Any]:
    """`value`, which must be an array."""
    if type(value) is not list:
        raise MalformedCall(f"`{pointer}` must be an array")
    return value


def text(value: Any, pointer: str) -> str:
    """`value`, which must be a string."""
    if type(value) is not str:
        raise MalformedCall(f"`{pointer}` must be a string")
    return value


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A boolean field; false where it is absent or null."""
    value = body.get(name)
    if value is None:
        return False
    if type(value) is not bool:
        raise MalformedCall(f"`/{name}` must be true or false")
    return value


def count(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number that is not negative; None where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise MalformedCall(f"`/{name}` must be a whole number")
    return value


def target(value: Any, pointer: str = "/model") -> str:
    """A model's name, normalised for matching: NFC, trimmed, case-folded. Raises MalformedCall on an empty one or hidden characters."""
    name = text(value, pointer)
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    name = name.strip().casefold()
    if not name or (not name.isalnum() and _HIDDEN.search(name)) or len(name) > 256:
        raise MalformedCall(f"`{pointer}` is not a name")
    return name


def as_text(value: Any) -> str:
    """A value of any shape as the text that is screened: strings as they are, the rest as JSON."""
    return value if type(value) is str else jsonguard.dump(value).decode()


def params(body: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, object]:
    """What conditions read as `call.params`: for each (wire name, canonical name) that is there, its scalar value or list of strings."""
    found: dict[str, object] = {}
    for wire in names.keys() & body.keys():
        value = body[wire]
        if type(value) in _SCALARS or (type(value) is list and all(type(item) is str for item in value)):
            found[names[wire]] = value
    return found


def unknown(body: Mapping[str, Any], known: frozenset[str], base: str = "") -> list[Segment]:
    """Fields this dialect does not know: they pass, and are screened and counted whole."""
    if body.keys() <= known:
        return []
    return [Segment(f"{base}/{escape(name)}", "", "unknown", as_text(value)) for name, value in body.items() if name not in known]


def carried(headers: Sequence[tuple[str, str]], allowed: Mapping[str, re.Pattern[str]]) -> tuple[tuple[str, str], ...]:
    """The request headers that may travel: listed, with a value that matches whole. Said twice means not at all."""
    found: dict[str, str] = {}
    twice = set()
    for name, value in headers:
        if name in allowed:
            if name in found:
                twice.add(name)
            found[name] = value
    return tuple((name, value) for name, value in found.items() if name not in twice and allowed[name].fullmatch(value)) if found else ()


def queried(query: Sequence[tuple[str, str]], allowed: Mapping[str, re.Pattern[str]], repeated: frozenset[str] = frozenset()) -> tuple[tuple[str, str], ...]:
    """The query parameters that may travel; others are dropped. Raises MalformedCall where a listed one is said twice or has a value it can't have."""
    if not query:
        return ()
    kept = tuple(pair for pair in query if pair[0] in allowed)
    names = [name for name, _ in kept if name not in repeated]
    if len(set(names)) != len(names):
        raise MalformedCall("a query parameter is said twice")
    for name, value in kept:
        if not allowed[name].fullmatch(value):
            raise MalformedCall(f"the query parameter `{name}` has a value it can't have")
    return kept


def estimate(segments: Iterable[Segment], messages: int = 0) -> int:
    """Input tokens, estimated from above: ASCII bytes / 3, other UTF-8 bytes / 2, 4 per message, MEDIA_TOKENS per media part.

    Its stated error, against the providers' byte-pair encodings (cl100k, o200k, Claude's, Gemini's): English prose is 4 to 5 bytes a
    token, so 30 to 65 % too high; code, JSON and most other scripts lie within 0 to 50 % too high. Too low only for text made to be
    dense (random characters reach 1 byte a token: 3 times too low) and for long files and sound. It grows with every character
    added. Settlement replaces it by the provider's own count.
    """
    plain = wide = media = 0
    for segment in segments:
        words = segment.text
        if segment.origin == "media":
            media += 1
        elif words.isascii():
            plain += len(words)
        else:
            ascii_ = len(words.encode("ascii", "ignore"))
            plain += ascii_
            wide += len(words.encode()) - ascii_
    return (plain + 2) // 3 + (wide + 1) // 2 + 4 * messages + MEDIA_TOKENS * media


def number(value: object, name: str) -> float:
    """A number that a cap can be compared with. Raises CannotCarry on anything else (the caller sent a text, say)."""
    if type(value) is not int and type(value) is not float:
        raise CannotCarry(f"`{name}` is no number here")
    return value


def whole(value: float) -> int | float:
    """A cap as the wire spells it: `2000`, not `2000.0`."""
    return int(value) if value == int(value) else value
