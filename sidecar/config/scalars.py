"""One reader per type of single value: text in, value out, or a complaint with a hint. The types come from the schema.

A reader takes a node and a `Scope` and gives the value, or `BROKEN` after it complained. Units, times and pattern syntax are
those of the annotations in `documents`. Counterparts: `validate` composes these for lists, mappings and dataclasses;
`traps` has the words for the usual mistakes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sidecar.config import letters, traps
from sidecar.config.source import BAD, ListNode, MapNode, Node, ScalarNode, Source

BROKEN: Final = object()
"""Stands for a value that was complained of."""

QUOTES = ("'", '"')
DIGITS: Final = 20
"""A number of so many digits has more than 64 bits; Python itself refuses to read thousands of them."""
LONGEST: Final = 512
"""Characters of a pattern or a subject; of names on the wire 256 are read."""
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"-?(0|[1-9]\d*)\Z", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d{1,3})?\Z", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z", re.ASCII)
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)?\Z", re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%\Z", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[-+]\d{2}:\d{2})\Z", re.ASCII)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}", re.ASCII)
SECONDS: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES: Mapping[str, int] = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SUBJECTS = ("user", "key", "spiffe", "sa", "group", "team")
"""What a subject may begin with, beside the whole word `anonymous`."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What readers need beside the node: the file to complain in, and the environment for `${NAME}`."""

    source: Source
    environ: Mapping[str, str]


Reader = Callable[[Node, Scope], Any]


def complain(node: Node, scope: Scope, code: str, message: str, hint: str = "") -> object:
    """Add an error at the node and give `BROKEN`."""
    scope.source.complain_at(node, code, message, hint=hint)
    return BROKEN


def expected(node: Node, scope: Scope, what: str, hint: str = "") -> object:
    """Complain that something else is due here."""
    if isinstance(node, ScalarNode):
        if node.null:
            return complain(node, scope, "no-value", f"{what} is missing here", traps.empty(scope.source, node))
        spelt = traps.in_quotes(node.text) if node.style in QUOTES else node.text
        return complain(node, scope, "type", f"{_shown(spelt)} is not {what}", hint)
    return complain(node, scope, "type", f"{what} is due here, not {node.noun}", hint)


def _shown(text: str) -> str:
    if not text:
        return '`""`'
    return f"`{text}`" if len(text) <= 60 else f"`{text[:60]}…`"


# ---------------------------------------------------------------- text


def raw(node: Node, scope: Scope, what: str = "text") -> Any:
    """Any text, `""` in quotes included; null is none."""
    if type(node) is ScalarNode:
        value = node.text
        if value and (node.style or value not in NULL_WORDS):
            if scope.source.hashes and not node.style:
                traps.comment(scope.source, node)
            return value
        if node.style:
            return BROKEN if node.style == BAD else value
    hint = ""
    if not isinstance(node, ScalarNode):
        hint = traps.quoted(scope.source.line(node.line))
    return expected(node, scope, what, hint)


NULL_WORDS = frozenset({"~", "null", "Null", "NULL"})


def text(node: Node, scope: Scope) -> Any:
    """Text in which `${NAME}` is a mistake: it would look replaced and stay as it is."""
    value = raw(node, scope)
    if type(value) is str and "${" in value and (found := _VARIABLE.search(value)):
        return complain(
            node,
            scope,
            "environ",
            f"`{found[0]}` is not replaced in this field",
            "only fields that say so take values from the environment; write the value out",
        )
    return value


def environ(node: Node, scope: Scope) -> Any:
    """Text with `${NAME}` and `${NAME:-default}` replaced from the environment."""
    value = raw(node, scope)
    if type(value) is not str or "${" not in value:
        return value
    missing = [found[1] for found in _VARIABLE.finditer(value) if found[2] is None and found[1] not in scope.environ]
    if missing:
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(missing))
        return complain(node, scope, "environ", f"the environment has no {names}", f"set it, or give a default: `${{{missing[0]}:-value}}`")
    if "${" in _VARIABLE.sub("", value):
        return complain(node, scope, "environ", "`${` begins the name of a variable that does not end", "write `${NAME}` or `${NAME:-default}`")
    return _VARIABLE.sub(lambda found: scope.environ.get(found[1]) or (found[2] or "") if found[2] is not None else scope.environ[found[1]], value)


def expression(node: Node, scope: Scope) -> Any:
    """A condition, as text; what it means is the compiler's to say. The line break at the end of a block is none of it."""
    value = raw(node, scope, "a condition")
    if type(value) is not str:
        return value
    return value.rstrip() or complain(node, scope, "no-value", "an empty condition", "take the line out: what has no condition always applies")


def named(node: Node, scope: Scope) -> Any:
    """A name that comes from outside: of an alias, a team, a group."""
    value = text(node, scope)
    return lettered(node, scope, value) if type(value) is str else value


def pattern(node: Node, scope: Scope) -> Any:
    """A target: exact, `*` within a segment, `**` across segments."""
    value = text(node, scope)
    if type(value) is not str:
        return value
    if lettered(node, scope, value) is BROKEN:
        return BROKEN
    joined = unicodedata.normalize("NFC", value)
    if joined != value:
        message = "letters and their accents stand apart, and names come joined (NFC): this matches nothing"
        return complain(node, scope, "letters", f"{_shown(value)}: {message}", f"`{joined}`")
    problem = pattern_problem(value)
    return complain(node, scope, "pattern", f"{_shown(value)}: {problem[0]}", problem[1]) if problem else value


def pattern_problem(value: str) -> tuple[str, str] | None:
    """What is wrong with a pattern, and a hint."""
    if not value:
        return "an empty pattern matches nothing", 'leave the field out for all, or write `"**"`'
    if len(value) > LONGEST:
        return f"a pattern has at most {LONGEST} characters", ""
    if value != value.strip() or any(character.isspace() for character in value):
        return "a pattern holds no white space", ""
    if "" in value.split("/"):
        return "an empty segment matches nothing", "take the extra `/` out"
    return ("there is no `***`", "`*` stands within a segment, `**` across segments") if "***" in value else None


def subject(node: Node, scope: Scope) -> Any:
    """Who: a prefix of the table and a name, or `anonymous`."""
    value = text(node, scope)
    if type(value) is not str:
        return value
    if lettered(node, scope, value) is BROKEN:
        return BROKEN
    problem = subject_problem(value)
    return complain(node, scope, "subject", f"{_shown(value)}: {problem[0]}", problem[1]) if problem else value


def lettered(node: Node, scope: Scope, value: str) -> Any:
    """The name, after a complaint of letters that are not what they look like."""
    if value.isascii() and value.isprintable():
        return value
    found = letters.strange(value)
    if found is None:
        return value
    scope.source.complain_at(node, "letters", f"{_shown(value)} {found.message}", hint=found.hint, severity=found.severity)
    return BROKEN if found.severity == "error" else value


def subject_problem(value: str) -> tuple[str, str] | None:
    """What is wrong with a subject, and a hint."""
    kinds = ", ".join(f"`{kind}:`" for kind in SUBJECTS)
    if value == "anonymous":
        return None
    kind, colon, name = value.partition(":")
    if not colon:
        hint = "leave `subjects` out for anyone" if value in ("*", "**") else f"write `group:{value}` or `user:{value}`"
        return f"a subject begins with one of {kinds} or is `anonymous`", hint
    if kind not in SUBJECTS:
        return f"no subject begins with `{kind}:`", f"one of {kinds}"
    if not name or any(character.isspace() for character in name):
        return "the name after the colon is empty or holds white space", ""
    if "***" in name:
        return "there is no `***`", "`*` stands within a segment, `**` across segments"
    if len(value) > LONGEST:
        return f"a subject has at most {LONGEST} characters", ""
    if kind == "sa" and name.count("/") != 1:
        return "a service account is `sa:namespace/name`", ""
    if kind == "spiffe" and not name.startswith("//"):
        return "a SPIFFE id is written whole", f"`spiffe://{name.lstrip('/')}`"
    return None


# ---------------------------------------------------------------- bools and numbers


def _plain(node: Node) -> str | None:
    return node.text if type(node) is ScalarNode and not node.style else None


def boolean(node: Node, scope: Scope) -> Any:
    """`true` or `false`, plain."""
    value = _plain(node)
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    return expected(node, scope, "a bool", traps.boolean(node.text if isinstance(node, ScalarNode) else ""))


def integer(node: Node, scope: Scope) -> Any:
    """A whole number in decimal, plain, within 64 bits, not negative."""
    value = _plain(node)
    if value is not None and _INT.match(value) and len(value) < DIGITS and 0 <= int(value) < 2**63:
        return int(value)
    return expected(node, scope, "a whole number", _number_hint(node))


def number(node: Node, scope: Scope) -> Any:
    """A number in decimal, plain; whole ones stay ints."""
    value = _plain(node)
    if value is not None and _NUMBER.match(value) and len(value) < 40 and abs(float(value)) < 1e18:
        return int(value) if _INT.match(value) else float(value)
    return expected(node, scope, "a number", _number_hint(node))


def money(node: Node, scope: Scope) -> Any:
    """A number that is not negative, as a float."""
    value = number(node, scope)
    if value is not BROKEN and value < 0:
        return complain(node, scope, "type", f"{_shown(str(value))} is negative")
    return value if value is BROKEN else float(value)


def _number_hint(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return ""
    if node.style and _NUMBER.match(node.text):
        return "take the quotes off"
    return "too large" if _INT.match(node.text) and len(node.text) >= DIGITS - 1 else traps.number(node.text)


# ---------------------------------------------------------------- units


def duration(node: Node, scope: Scope) -> Any:
    """Seconds from `50ms`, `15s`, `15m`, `1h`, `1d`; `0` needs no unit."""
    value = raw(node, scope, "a duration")
    if type(value) is not str:
        return value
    if (seconds := seconds_of(value)) is not None:
        return seconds
    hint = f"with a unit: `{value}s`" if value.isdecimal() else traps.number(value) or "written `50ms`, `15s`, `15m`, `1h`, `1d`"
    return expected(node, scope, "a duration", hint)


def seconds_of(value: str) -> float | None:
    """A duration's seconds; None for what is none."""
    if value == "0":
        return 0.0
    found = _DURATION.match(value) if len(value) < DIGITS else None
    return float(found[1]) * SECONDS[found[2]] if found else None


def size(node: Node, scope: Scope) -> Any:
    """Bytes from `64KiB`, `32MiB`, `1GiB` or a plain number."""
    value = raw(node, scope, "a size")
    if type(value) is not str:
        return value
    if len(value) < DIGITS and (found := _SIZE.match(value)):
        return int(found[1]) * BYTES[found[2] or ""]
    near = re.match(r"(\d+) ?([KkMmGg])[Ii]?[Bb]?\Z", value)
    return expected(node, scope, "a size", f"did you mean `{near[1]}{near[2].upper()}iB`?" if near else "written `64KiB`, `32MiB`, `1GiB`")


def percent(node: Node, scope: Scope) -> Any:
    """A share from `80%`."""
    value = raw(node, scope, "a share")
    if type(value) is not str:
        return value
    found = _PERCENT.match(value)
    if found and float(found[1]) <= 100:
        return float(found[1]) / 100
    return expected(node, scope, "a share", "from `0%` to `100%`")


# ---------------------------------------------------------------- time


def instant(node: Node, scope: Scope) -> Any:
    """Unix seconds from RFC 3339."""
    value = raw(node, scope, "a time")
    if type(value) is not str:
        return value
    seconds = _rfc3339(value)
    hint = f"with a time and a zone: `{value}T00:00:00Z`" if _DAY.match(value) else "as RFC 3339 has it: `2027-01-31T00:00:00Z`"
    return expected(node, scope, "a time", hint) if seconds is None else seconds


def day(node: Node, scope: Scope) -> Any:
    """Unix seconds of the end of a day (UTC), or of an RFC 3339 time."""
    value = raw(node, scope, "a day")
    if type(value) is not str:
        return value
    seconds = _end_of_day(value) if _DAY.match(value) else _rfc3339(value)
    return expected(node, scope, "a day", "written `2027-06-30`, or a time as RFC 3339 has it") if seconds is None else seconds


def _rfc3339(value: str) -> float | None:
    if not _INSTANT.match(value):
        return None
    try:
        return datetime.fromisoformat(value.upper()).timestamp()
    except (ValueError, OverflowError):
        return None


def _end_of_day(value: str) -> float | None:
    try:
        return (datetime.fromisoformat(value).replace(tzinfo=UTC) + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError):
        return None


# ---------------------------------------------------------------- anything


def anything(node: Node, scope: Scope) -> Any:
    """A JSON value by the rules of YAML 1.2's core schema; what YAML 1.1 reads differently must be quoted."""
    if isinstance(node, ListNode):
        items = [anything(item, scope) for item in node.items]
        return BROKEN if any(item is BROKEN for item in items) else items
    if isinstance(node, MapNode):
        fields = {name: anything(value, scope) for name, (_, value) in node.entries.items()}
        return BROKEN if any(value is BROKEN for value in fields.values()) else fields
    return _core(node, scope)


def _core(node: ScalarNode, scope: Scope) -> Any:
    value = node.text
    if node.style:
        return BROKEN if node.style == BAD else value
    if node.null:
        return None
    if value in TRUE or value in FALSE:
        return value in TRUE
    if why := traps.ambiguous(value):
        return complain(node, scope, "ambiguous", f"`{value}` is {why}", f"say which: `{traps.in_quotes(value)}` for the text")
    if _NUMBER.match(value):
        return number(node, scope)
    return raw(node, scope)


MARKERS: Mapping[str, Reader] = {
    "duration": duration,
    "size": size,
    "expression": expression,
    "instant": instant,
    "day": day,
    "percent": percent,
    "pattern": pattern,
    "subject": subject,
    "named": named,
    "environ": environ,
    "number": money,
}
"""The visible table of annotations in `documents`."""

PLAIN: Mapping[object, Reader] = {str: text, bool: boolean, int: integer, float: number, object: anything}
"""And of bare types."""
