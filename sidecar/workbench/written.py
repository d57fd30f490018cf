"""A Test document as YAML text, for tests that are made from recorded decisions and suggested rules. Pure; what is written loads back as it was.

One row to a line, as people write them; what has its default is left out; whatever YAML could read otherwise is quoted. Counterpart:
`config/`, which reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sidecar.config.documents import API_VERSION
from sidecar.config.traps import ambiguous
from sidecar.config.validate import camel

if TYPE_CHECKING:
    from sidecar.config.documents import Test

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*\Z")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def document(name: str, spec: Test) -> str:
    """The whole document. `name` is a name as documents have them."""
    lines = [f"apiVersion: {API_VERSION}", "kind: Test", f"metadata: {{name: {text(name)}}}", "spec:"]
    if spec.now is not None:
        lines.append(f"  now: {instant(spec.now)}")
    for title, held in (("principals", spec.principals), ("calls", spec.calls)):
        if held:
            lines += [f"  {title}:", *(f"    {text(key)}: {flow(value)}" for key, value in held.items())]
    lines += ["  expect:", *(f"    - {flow(row)}" for row in spec.expect)]
    return "\n".join(lines) + "\n"


def flow(value: Any) -> str:
    """A value in flow style, on one line."""
    if is_dataclass(value):
        return flow(_said(value))
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{text(str(key))}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(flow(item) for item in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return number(value)
    return text(str(value))


def _said(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by their YAML names, without those that say nothing. One value stands for a list of one."""
    found = {}
    for field in fields(value):
        held = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if default is MISSING or held != default:
            found[camel(field.name)] = held[0] if isinstance(held, tuple) and len(held) == 1 else held
    return found


def number(value: float) -> str:
    """In decimal, without an exponent where there is a way."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e18:
        return f"{value:.1f}"
    short = repr(value)
    return short if "e" not in short else f"{value:.20f}".rstrip("0")


def text(words: str) -> str:
    """Plain where nobody could read anything else, else in double quotes."""
    if _PLAIN.match(words) and words.lower() not in _WORDS and not ambiguous(words):
        return words
    return f'"{"".join(_escaped(character) for character in words)}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def instant(seconds: float) -> str:
    """RFC 3339 in UTC, to the microsecond where it must be."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
