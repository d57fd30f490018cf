"""What is wrong with a configuration, where, and what to write instead; as text, JSON or SARIF.

A message is lower case without a full stop, and names what the author wrote in backticks. Everything that reads documents
(`source`, `validate`, `references`, `sidecar.compiler`) makes `Diagnostic` values and goes on, so that an author sees all
mistakes at once. Knows nothing of YAML and nothing of terminals but the colours.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from sidecar import __version__
from sidecar.config.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Severity = Literal["error", "warning", "note"]


class Position(NamedTuple):
    """A place in a file. Lines and columns count from 1, in characters; 0 means the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join(str(part) for part in self if part)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` is a stable slug; `end_column` is exclusive, 0 where only the start is known."""

    severity: Severity
    code: str
    message: str
    position: Position
    hint: str = ""
    source_line: str = ""
    end_column: int = 0


def in_reading_order(diagnostics: Iterable[Diagnostic], files: Sequence[str] = ()) -> tuple[Diagnostic, ...]:
    """Sorted by file (in the order of `files`, then by name), line and column; what is said twice is kept once."""
    order = {name: index for index, name in enumerate(files)}
    last = len(order)
    unique = dict.fromkeys(diagnostics)
    return tuple(sorted(unique, key=lambda item: (order.get(item.position.file, last), item.position, item.severity, item.message)))


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """True where one of them keeps the configuration from loading."""
    return any(item.severity == "error" for item in diagnostics)


# ---------------------------------------------------------------- text

COLORS: Mapping[str, str] = {"error": "\033[1;31m", "warning": "\033[1;33m", "note": "\033[1;36m", "bold": "\033[1m", "dim": "\033[2m", "off": "\033[0m"}


def render_text(diagnostics: Sequence[Diagnostic], color: bool = False) -> str:
    """`file:line:column: error: message [code]`, the source line, a caret line and `hint: …`; each ends with a newline."""
    paint = _painted if color else _plain
    return "".join(_entry(item, paint) for item in diagnostics)


def _plain(_style: str, text: str) -> str:
    return text


def _painted(style: str, text: str) -> str:
    return f"{COLORS[style]}{text}{COLORS['off']}"


def _entry(item: Diagnostic, paint: Callable[[str, str], str]) -> str:
    lines = [
        f"{paint('bold', printable(str(item.position)))}: {paint(item.severity, item.severity)}: {printable(item.message)} {paint('dim', f'[{item.code}]')}"
    ]
    if item.source_line.strip():
        lines += [f"    {printable(item.source_line)}", f"    {paint(item.severity, _carets(item))}"]
    if item.hint:
        lines.append(f"    hint: {printable(item.hint)}")
    return "\n".join(lines) + "\n"


def _carets(item: Diagnostic) -> str:
    start = max(item.position.column - 1, 0)
    end = min(max(item.end_column - 1, start + 1), max(len(item.source_line), start + 1))
    lead = "".join("\t" if character == "\t" else " " for character in item.source_line[:start])
    return lead.ljust(start) + "^" * (end - start)


def printable(text: str) -> str:
    """Control and bidirectional characters spelt out, so that a document cannot write to a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in "\t " else f"\\u{ord(character):04x}" for character in text)


# ---------------------------------------------------------------- for machines


def as_dict(item: Diagnostic) -> dict[str, object]:
    """One diagnostic as plain JSON values, camelCase."""
    return {
        "severity": item.severity,
        "code": item.code,
        "message": item.message,
        "file": item.position.file,
        "line": item.position.line,
        "column": item.position.column,
        "endColumn": item.end_column,
        "hint": item.hint,
    }


def render_json(diagnostics: Sequence[Diagnostic], _color: bool = False) -> str:
    """A JSON object with `diagnostics`, in reading order."""
    return json.dumps({"diagnostics": [as_dict(item) for item in diagnostics]}, indent=2, ensure_ascii=False) + "\n"


def render_sarif(diagnostics: Sequence[Diagnostic], _color: bool = False) -> str:
    """SARIF 2.1.0 (OASIS), one run, for code review tools: rules with help, places relative to where `check` ran, fingerprints that outlive moved lines."""
    codes = sorted({item.code for item in diagnostics})
    driver = {"name": "sidecar", "version": __version__, "semanticVersion": __version__, "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {BASE: {"description": {"text": "the directory in which `sidecar check` ran"}}},
        "results": list(_results(diagnostics, codes)),
    }
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


BASE = "SRCROOT"
"""What relative places are relative to."""


def _rule(code: str) -> dict[str, object]:
    words = CODES.get(code, code)
    name = "".join(part.capitalize() for part in code.split("-"))
    return {"id": code, "name": name, "shortDescription": {"text": words}, "help": {"text": f"{words}; the message of each finding says what would be right"}}


def _results(diagnostics: Sequence[Diagnostic], codes: Sequence[str]) -> Iterator[dict[str, object]]:
    seen: dict[str, int] = {}
    for item in diagnostics:
        same = (item.code, item.position.file, item.message, item.source_line.strip())  # what a moved line keeps
        digest = hashlib.sha256(json.dumps(same).encode()).hexdigest()
        seen[digest] = again = seen.get(digest, 0) + 1
        text = f"{item.message}; {item.hint}" if item.hint else item.message
        yield {
            "ruleId": item.code,
            "ruleIndex": codes.index(item.code),
            "level": item.severity,
            "message": {"text": text},
            "locations": [{"physicalLocation": _place(item)}],
            "partialFingerprints": {"sidecarFinding/v1": f"{digest}:{again}"},
        }


def _place(item: Diagnostic) -> dict[str, Any]:
    path = item.position.file.removeprefix("./") or "."
    artifact = {"uri": "file://" + quote(path)} if path.startswith("/") else {"uri": quote(path), "uriBaseId": BASE}
    region: dict[str, int] = {}
    if item.position.line:
        region = {"startLine": item.position.line, "startColumn": max(item.position.column, 1)}
        if item.end_column > item.position.column:
            region["endColumn"] = item.end_column
    return {"artifactLocation": artifact} | ({"region": region} if region else {})


FORMATS: Mapping[str, Callable[[Sequence[Diagnostic], bool], str]] = {"text": render_text, "json": render_json, "sarif": render_sarif}
"""The visible table of what `check --format` may say."""
