"""What YAML makes of things that authors write, and what to write instead. Hints only; nothing here decides anything.

The traps are those of DOCUMENTS.md: `when: "a" in x`, `when: !has(x)`, `when: [1].exists(…)`, `target: [**]`,
`message: Use: x`, an unquoted hash or time, YAML 1.1's `no` and `017`. Counterparts: `source` (what libyaml refuses)
and `scalars` (what it lets through).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    import yaml

    from sidecar.config.source import ScalarNode, Source

STARS = 'a pattern that begins with `*` needs quotes: `target: ["**"]`'

_FIELD = re.compile(r"^\s*(?:- +)*(?P<key>[A-Za-z_][\w.-]*):\s+(?P<value>\S.*?)\s*$")
_ITEM = re.compile(r"^\s*- +(?P<value>\S.*?)\s*$")
_STAR = re.compile(r"""(?<=[\[,\s])(\*[^\s,\]"'}]*)""")
_LONE_HASH = re.compile(r"\s+#[^\s#]")
_SEXAGESIMAL = re.compile(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?$")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?([Tt ].*)?$")
_OCTAL = re.compile(r"[-+]?0[\d_]+$|0[xob][\da-fA-F_]+$")
_YES = frozenset({"yes", "on", "y"})
_NO = frozenset({"no", "off", "n"})


# ---------------------------------------------------------------- what libyaml refuses


class _Trap(NamedTuple):
    """`problem` is a part of libyaml's words, `line` what the line must look like. `at_start`: the cause is where the construct began."""

    problem: str
    line: re.Pattern[str]
    message: str
    hint: str = ""
    at_start: bool = False


_ANY = re.compile("")
_TRAPS: tuple[_Trap, ...] = (
    _Trap("scanning an alias", _ANY, "a plain value that begins with `*` is an alias in YAML", STARS),
    _Trap("", re.compile(r":\s+!"), "a plain value that begins with `!` is a tag in YAML"),
    _Trap("mapping values are not allowed", re.compile(r":\s+\S.*:(\s|$)"), "a plain value holds `: `, which begins a mapping in YAML"),
    _Trap("mapping values are not allowed", _ANY, "this key is indented deeper than its neighbours", "align it with the keys above"),
    _Trap("violates indentation", _ANY, "a tab cannot indent", "use spaces"),
    _Trap("cannot start any token", re.compile(r"^\s*\t"), "a tab cannot indent", "use spaces"),
    _Trap("cannot start any token", _ANY, "a plain value cannot begin with this character"),
    _Trap("scanning an anchor", _ANY, "`&` before a word is an anchor in YAML"),
    _Trap("scanning a block scalar", _ANY, "a plain value that begins with `|` or `>` is a block of text in YAML"),
    _Trap("unexpected end of stream", _ANY, "a quote is opened here and never closed", "close it, on the same line if it is a short text", at_start=True),
    _Trap("unknown escape", _ANY, "a backslash sequence that double quotes do not know", "use single quotes, where a backslash is a backslash"),
    _Trap("flow sequence", _ANY, "a `[` is opened here and never closed", "close it with `]`", at_start=True),
    _Trap("flow mapping", _ANY, "a `{` is opened here and never closed", "close it with `}`", at_start=True),
    _Trap("flow node", _ANY, "a `[` or `{` before this is never closed", "close it"),
    _Trap("expected key", _ANY, "this is neither a key of the mapping above nor the end of it", "check the indentation and the quotes of the line before"),
)
_CLOSED = {
    '"': "text goes on after a closing quote",
    "'": "text goes on after a closing quote",
    "]": "text goes on after a list",
    "}": "text goes on after a mapping",
}


def syntax(source: Source, error: yaml.MarkedYAMLError) -> int:
    """Tell what libyaml refused. The index (from 0) of the line to go on from."""
    words = f"{error.context or ''}: {error.problem or ''}"
    found = cast("yaml.Mark", error.problem_mark or error.context_mark)
    line = source.line(found.line + 1)
    trap = _goes_on(words, line, found.column) or next((trap for trap in _TRAPS if trap.problem in words and trap.line.search(line)), None)
    trap = trap or _Trap("", _ANY, words.strip(": "))
    mark = error.context_mark if trap.at_start and error.context_mark is not None else found
    source.complain("yaml", trap.message, mark.line + 1, mark.column + 1, hint=trap.hint or quoted(line))
    return found.line


def _goes_on(words: str, line: str, column: int) -> _Trap | None:
    """`"a" in x`, `[1].exists(…)`: a value in YAML's eyes, and then something that is no comma and no end."""
    closed = line[:column].rstrip()[-1:]
    if "did not find expected" in words and closed in _CLOSED and line[column : column + 1] not in ("", ",", "]", "}", ":"):
        return _Trap("", _ANY, _CLOSED[closed])
    return None


def spelt(tag: str) -> str:
    """A tag as its author wrote it."""
    return tag.replace("tag:yaml.org,2002:", "!!")


def quoted(line: str) -> str:
    """The line with its value in quotes, as a hint; in general words where the line is not of the plain shape."""
    found = _FIELD.match(line) or _ITEM.match(line)
    if found is None or (found["value"][0], found["value"][-1]) == ("{", "}"):
        return "quote the whole value"
    lead = f"{found['key']}: " if "key" in found.groupdict() else "- "
    return f"quote the whole value: `{lead}{in_quotes(found['value'])}`"


def in_quotes(text: str) -> str:
    """The text as a quoted YAML scalar."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


# ---------------------------------------------------------------- what it lets through


def comment(source: Source, node: ScalarNode) -> None:
    """Warn where a plain text is cut short by `#` that hardly was meant as a comment (`message: see #4711`)."""
    rest = source.line(node.end_line)[node.end_column - 1 :]
    if _LONE_HASH.match(rest):
        source.complain_at(
            node,
            "hash",
            f"the text ends before `{rest.strip()[:20]}`: ` #` begins a comment",
            hint="quote the whole value, or put a space after `#`",
            severity="warning",
        )


def empty(source: Source, node: ScalarNode) -> str:
    """A hint for a value that is not there."""
    rest = source.line(node.line)[node.column - 1 :].strip().removeprefix(":").strip()
    if rest.startswith("#"):
        return f"` #` begins a comment; quote the value: `{in_quotes(rest)}`"
    if node.text:
        return f"`{node.text}` is nothing in YAML; quote it where the word is meant: `{in_quotes(node.text)}`"
    return "write a value after the colon, or take the line out"


def boolean(text: str) -> str:
    """A hint for what is no bool."""
    if text.lower() in _YES:
        return "write `true`"
    return "write `false`" if text.lower() in _NO else "write `true` or `false`, without quotes"


def number(text: str) -> str:
    """A hint for what is no number; "" where there is nothing to say."""
    if _SEXAGESIMAL.match(text):
        return "a time is no number; durations are written `90s`, `15m`, `1h`"
    if _OCTAL.match(text):
        return f"write it in decimal, without leading zeros: `{text.lstrip('+-0_') or '0'}`" if text.lstrip("+-0_").isdigit() else "write it in decimal"
    return "write it without `_`" if "_" in text else ""


def ambiguous(text: str) -> str:
    """Why a plain scalar without a declared type may be read in two ways; "" where it is read in one."""
    if text.lower() in (_YES | _NO) - {"y", "n"}:
        return "a bool in YAML 1.1 and text in YAML 1.2"
    if _SEXAGESIMAL.match(text):
        return "a number in YAML 1.1 and a time to people"
    if _OCTAL.match(text):
        return "not the same number in YAML 1.1 and YAML 1.2"
    return "a date in YAML 1.1 and text in YAML 1.2" if _DATE.match(text) else ""
